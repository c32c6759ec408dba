"""How large a filter may be: held before its text comes to a parser, which calls itself for everything that is nested."""

from __future__ import annotations

import re
from collections.abc import Iterator

from alerts.filters.errors import FilterError, Span

MOST_CHARACTERS = 10_000
MOST_NESTING = 40
"""Parentheses within each other."""
MOST_WORDS = 2_000
MOST_LETTERS = 100
"""Of a name or a number."""
MOST_NODES = 5_000
"""Of an expression, when all is written out: BETWEEN and CASE x repeat what they are about, and that may be another one."""
MOST_LEVELS = 64
"""Of an expression. What goes over a tree calls itself, several times a level."""
MOST_IN_A_ROW = 40
"""NOT, CASE, and signs: each calls the parser once more."""

_TOKENS = re.compile(
    r"(?P<comment>--[^\n]*|\#[^\n]*|/\*.*?\*/)"
    r"|(?P<text>'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|`[^`\n]*`)"
    r"|(?P<word>[^\W\d]\w*|\d[\w.]*)"
    r"|(?P<other>[^\s])",
    re.DOTALL,
)
_NO_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_OPENING, _CLOSING = "([{", ")]}"
_CALLING = ("NOT", "CASE", "SELECT", "-", "+", "~", "!")


def check_size(text: str) -> None:
    """Refuse a text that is too large, too deep, or no text. Raises ``FilterError``."""
    if len(text) > MOST_CHARACTERS:
        raise FilterError(f"the filter has {len(text):,} characters; {MOST_CHARACTERS:,} are the most")
    # A line of Windows ends in two characters, of which one is none of a text's.
    strange = _NO_TEXT.search(text.replace("\r\n", " \n"))
    if strange is not None:
        raise FilterError(f"the filter has the character {strange.group()!r}, which is no text", Span(*strange.span()))
    first = next((found for _, found, _ in _tokens(text)), "")
    if first.upper() != "SELECT":
        raise FilterError("a filter is one SELECT: SELECT columns FROM alerts WHERE condition")
    depth = calling = 0
    for words, (kind, found, at) in enumerate(_tokens(text), 1):
        if words > MOST_WORDS:
            raise FilterError(f"the filter has more than {MOST_WORDS:,} words and signs", at)
        if kind == "word" and len(found) > MOST_LETTERS:
            raise FilterError(f"a word has {len(found):,} letters; {MOST_LETTERS} are the most", at)
        if found in _OPENING:
            depth += 1
            if depth > MOST_NESTING:
                raise FilterError(f"parentheses are nested more than {MOST_NESTING} deep", at)
        elif found in _CLOSING:
            depth -= 1
        calling += kind in ("word", "other") and found.upper() in _CALLING
        if calling > 10 * MOST_IN_A_ROW:
            raise FilterError(f"the filter has more than {10 * MOST_IN_A_ROW} of NOT, CASE, SELECT and signs", at)
    _check_rows(text)


def _tokens(text: str) -> Iterator[tuple[str, str, Span]]:
    for match in _TOKENS.finditer(text):
        if match.lastgroup != "comment":
            yield str(match.lastgroup), match.group(), Span(match.start(), match.end())


def _check_rows(text: str) -> None:
    """Refuse long rows of what calls the parser anew with nothing between."""
    in_a_row = 0
    for kind, found, at in _tokens(text):
        in_a_row = in_a_row + 1 if kind in ("word", "other") and (found.upper() in _CALLING or found in _OPENING) else 0
        if in_a_row > MOST_IN_A_ROW:
            raise FilterError(f"more than {MOST_IN_A_ROW} of NOT, CASE, signs and parentheses follow each other", at)
