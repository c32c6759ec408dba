"""Constants of filters: numbers, texts, truth values, dates and times."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime
from typing import Any

from sqlglot import exp

from alerts.filters.errors import FilterError, Span
from alerts.filters.tree import Literal

_WHOLE = re.compile(r"\d+")
_MOST_TEXT = 1000


def literal(node: Any, at: Span) -> Literal:
    """A constant as the parser has it. Raises ``FilterError``."""
    if isinstance(node, exp.Null):
        return Literal("NULL", at, None)
    if isinstance(node, exp.Boolean):
        return Literal("BOOL", at, bool(node.this))
    if node.is_string:
        if len(node.this) > _MOST_TEXT:
            raise FilterError(f"a text has {len(node.this):,} characters; {_MOST_TEXT:,} are the most", at)
        if "\\" in node.this:
            # GoogleSQL reads '\x41' as an A, this parser as four characters; what is meant cannot be told from those.
            raise FilterError("a text has no backslash, which engines read differently, but for \\' \\n \\t and \\r", at)
        return Literal("STRING", at, str(node.this))
    if _WHOLE.fullmatch(node.this):
        value = int(node.this)
        if value >= 2**63:
            raise FilterError(f"{node.this} is more than 64 bits hold", at)
        return Literal("INT64", at, value)
    try:
        number = float(node.this)
    except ValueError:
        raise FilterError(f"{node.this!r} is no number", at) from None
    if not math.isfinite(number):
        raise FilterError(f"{node.this} is more than a FLOAT64 holds", at)
    return Literal("FLOAT64", at, number)


def moment(text: str, kind: str, at: Span) -> Literal:
    """``DATE '2026-11-29'`` or ``TIMESTAMP '2026-11-29 06:00:00+00'``, UTC where none is told. Raises ``FilterError``."""
    try:
        if kind == "DATE":
            return Literal("DATE", at, date.fromisoformat(text))
        read = datetime.fromisoformat(text)
    except ValueError:
        shown = "2026-11-29" if kind == "DATE" else "2026-11-29 06:00:00+00:00"
        raise FilterError(f"{text!r} is no {kind}; write {kind} '{shown}'", at) from None
    try:
        return Literal("TIMESTAMP", at, read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC))
    except OverflowError:
        raise FilterError(f"{text!r} is before the year 1 or after the year 9999 in UTC", at) from None
