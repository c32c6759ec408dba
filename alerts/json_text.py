"""JSON for the columns ``extra``, ``attributes`` and ``columns``: nothing is rounded and nothing turns into null."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any

import orjson

_EXACT_IN_A_FLOAT = 2**53


def to_json(value: Any) -> str:
    """JSON text that loses nothing.

    Integers above 2^53 become strings, NaN and infinities "NaN", "Infinity" and "-Infinity", bytes base64, dates and times
    ISO 8601.
    """
    return orjson.dumps(plain(value)).decode()


def plain(value: Any) -> Any:
    """The value as JSON's own types, by the rules of ``to_json``; BigQuery's insertAll reads INT64, FLOAT64 and BYTES so."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _EXACT_IN_A_FLOAT else str(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
