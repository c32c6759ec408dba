"""Values of a source's columns, which are JSON: what filters read of them, as texts and as numbers."""

from __future__ import annotations

import math
import re
from typing import Any

import orjson

LEAST_WRITTEN, MOST_WRITTEN = 1e-4, 1e15
"""From the one to below the other, by their size, numbers that are no whole ones are written alike by all engines."""
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")


def number_of(text: str | None) -> float:
    """The number that a text is; NaN where it is none."""
    return float(text) if text is not None and _NUMBER.fullmatch(text) else math.nan


def text_at(columns: str | None, name: str) -> str | None:
    """The text, the truth value or the number of a name, as a text; None of all else.

    Raises ``ValueError`` and ``AttributeError`` where the columns are no JSON, or no object.
    """
    held = _value(columns, name)
    if isinstance(held, float) and held and not LEAST_WRITTEN <= abs(held) < MOST_WRITTEN:
        return None
    return held if held is None or isinstance(held, str) else orjson.dumps(held).decode()


def number_at(columns: str | None, name: str) -> float:
    """The number of a name, or of a text that is one; NaN of all else. Raises as ``text_at``."""
    held = _value(columns, name)
    if isinstance(held, bool):
        return math.nan
    return float(held) if isinstance(held, (int, float)) else number_of(held)


def _value(columns: str | None, name: str) -> Any:
    held = None if columns is None else orjson.loads(columns).get(name)
    return None if isinstance(held, (dict, list)) else held
