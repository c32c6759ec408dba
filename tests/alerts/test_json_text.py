"""JSON columns: nothing is rounded, nothing turns into null, and whatever Avro brings can be written down."""

from __future__ import annotations

import json
import math
import uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.json_text import to_json
from tests.alerts.making import examples


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0, "0"),
        (2**53, "9007199254740992"),
        (2**53 + 1, '"9007199254740993"'),
        (-(2**53), "-9007199254740992"),
        (-(2**53) - 1, '"-9007199254740993"'),
        (3316245810015015013, '"3316245810015015013"'),
        (-999.0, "-999.0"),
        (math.nan, '"NaN"'),
        (math.inf, '"Infinity"'),
        (-math.inf, '"-Infinity"'),
        (-0.0, "-0.0"),
        (0.1, "0.1"),
        ("null", '"null"'),
        ("Größe 星", '"Größe 星"'),
        (b"\x00\xff", '"AP8="'),
        (bytearray(b"ZTF"), '"WlRG"'),
        (memoryview(b"ZTF"), '"WlRG"'),
        ((1, [2, {"a": None}]), '[1,[2,{"a":null}]]'),
        ({5: math.nan}, '{"5":"NaN"}'),
        (datetime(2026, 3, 10, 4, 5, 6, 789, tzinfo=timezone.utc), '"2026-03-10T04:05:06.000789+00:00"'),
        (date(2026, 3, 10), '"2026-03-10"'),
        (time(4, 5, 6), '"04:05:06"'),
        (Decimal("1.50"), '"1.50"'),
        (uuid.UUID(int=7), '"00000000-0000-0000-0000-000000000007"'),
        (timedelta(seconds=1), '"0:00:01"'),
    ],
)
def test_how_a_value_is_written(value, text):
    assert to_json(value) == text


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def exact(stored: Any, sent: Any) -> bool:
    """Whether a JSON value still tells what was sent."""
    if isinstance(sent, dict):
        return stored.keys() == sent.keys() and all(exact(stored[name], sent[name]) for name in sent)
    if isinstance(sent, list):
        return len(stored) == len(sent) and all(exact(one, other) for one, other in zip(stored, sent, strict=True))
    if isinstance(sent, bool) or sent is None or isinstance(sent, str):
        return bool(stored == sent)
    if isinstance(sent, int):
        return int(stored) == sent and (isinstance(stored, str) or abs(stored) <= 2**53)
    if isinstance(sent, float):
        return float(stored) == sent or math.isnan(float(stored)) == math.isnan(sent)
    return isinstance(stored, str)


@examples(100)
@given(values)
def test_any_value_can_be_written_and_is_still_exact(value):
    text = to_json(value)
    assert exact(json.loads(text, parse_constant=pytest.fail), value)
