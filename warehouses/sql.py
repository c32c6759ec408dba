"""SQL that somebody gives, and what to say of it."""

from __future__ import annotations

import re

from warehouses.errors import QueryError

ONE_SELECT = "give one SELECT; a warehouse is only read"
_BIGQUERY_TEXT = re.compile(
    r"'{3}(?:\\.|(?!'{3}).)*'{3}" + r'|"{3}(?:\\.|(?!"{3}).)*"{3}'
    r"|'(?:\\.|[^'\\\n])*'" + r'|"(?:\\.|[^"\\\n])*"'
    r"|`(?:\\.|[^`\\])*`|--[^\n]*|\#[^\n]*|/\*.*?\*/",
    re.DOTALL,
)
"""Texts, quoted names and comments in BigQuery's SQL ("Lexical structure and syntax")."""


def without_texts(sql: str) -> str:
    """BigQuery's SQL without its texts, quoted names and comments."""
    return _BIGQUERY_TEXT.sub(" ", sql)


def pointed_at(sql: str, line: int, column: int) -> str:
    """That line of the SQL, counted from 0, and a caret below the place; nothing where there is no such line."""
    lines = sql.splitlines()
    return f"\n\n{lines[line]}\n{' ' * column}^" if 0 <= line < len(lines) else ""


def check_unicode(text: str) -> None:
    """Refuse a text that has no bytes. Raises ``QueryError``."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise QueryError(f"{text[:60]!r} is no Unicode text") from error
