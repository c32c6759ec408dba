"""What is wrong with a filter, and where in its text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Characters of a text, from the first to behind the last."""

    start: int
    end: int

    def line_and_column(self, text: str) -> tuple[int, int]:
        """Where it begins, both from 1."""
        before = text[: self.start]
        return before.count("\n") + 1, self.start - (before.rfind("\n") + 1) + 1


class FilterError(ValueError):
    """A text that is no filter. The message is a sentence; ``at`` says which part of the text is meant."""

    def __init__(self, message: str, at: Span | None = None) -> None:
        super().__init__(message)
        self.message, self.at = message, at

    def told(self, name: str, text: str) -> str:
        """The sentence with the filter's name, line and column, and below it the line with a caret under what is meant."""
        return pointed(self.message, self.at, name, text)


def pointed(message: str, at: Span | None, name: str, text: str) -> str:
    """A sentence about a part of a filter's text, and the part itself."""
    if at is None:
        return f"{name}: {message}"
    number, column = at.line_and_column(text)
    # What no terminal can show must not end in an error of its own.
    line = text.split("\n")[number - 1].rstrip("\r").encode("utf-8", "backslashreplace").decode()
    # Tabs stay tabs, so that the caret stands under the same character in every terminal.
    indent = "".join("\t" if character == "\t" else " " for character in line[: column - 1])
    carets = "^" * max(1, min(at.end - at.start, len(line) - column + 1))
    return f"{name}:{number}:{column}: {message}\n  {line}\n  {indent}{carets}"
