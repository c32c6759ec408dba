"""What is said of a filter that can be read: what cannot be right, and what is suspicious."""

from __future__ import annotations

from dataclasses import dataclass

from alerts.filters.errors import Span, pointed


@dataclass(frozen=True)
class Finding:
    """A sentence about a part of a filter's text."""

    message: str
    at: Span | None
    is_error: bool = False
    """Whether it cannot be what was meant; else it is a warning."""

    def told(self, name: str, text: str) -> str:
        """The sentence with the filter's name, line and column, and the part that is meant."""
        return pointed(f"{'error' if self.is_error else 'warning'}: {self.message}", self.at, name, text)
