"""Schemas, records and accidents, made up by hypothesis."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from tests.alerts.making import Outcome
from tests.fuzz.conftest import SECS

Schema = Any
Accident = tuple[str, float, bytes]

_PLAIN = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
_LOGICAL = [
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "bytes", "logicalType": "decimal", "precision": 20, "scale": 3},
    {"type": "string", "logicalType": "uuid"},
    {"type": "long", "logicalType": "no-such-type"},
]
_TELLING = st.sampled_from(
    [b"\0", b"\1", b"\2", b"\xff", b"\x80\x80", b"\xfe\xff\xff\xff\x0f", b"\x80" * 9 + b"\1", b"\xff" * 9 + b"\1"]
)
"""Bytes that mean much where a length or a number stands: none, minus one, 2^31, 2^62, -2^63."""


def accidents(noise: st.SearchStrategy[bytes] | None = None) -> st.SearchStrategy[list[Accident]]:
    """A few accidents: their kind, where (a part of the length), and the bytes that come with them."""
    kinds = st.sampled_from(["flip", "overwrite", "insert", "delete", "repeat", "cut"])
    made = noise if noise is not None else st.one_of(_TELLING, st.binary(min_size=1, max_size=12))
    return st.lists(st.tuples(kinds, st.floats(0, 1, exclude_max=True), made), max_size=4)


def suffer(data: bytes, some: list[Accident]) -> bytes:
    """The bytes after the accidents."""
    for kind, place, noise in some:
        at = int(place * len(data))
        if kind == "flip" and data:
            data = data[:at] + bytes([data[at] ^ (1 << noise[0] % 8)]) + data[at + 1 :]
        elif kind == "overwrite":
            data = data[:at] + noise + data[at + len(noise) :]
        elif kind == "insert":
            data = data[:at] + noise + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + len(noise) :]
        elif kind == "repeat":
            data = data[:at] + data[at : at + 40] + data[at:]
        elif kind == "cut":
            data = data[:at]
    return data


@st.composite
def schemas(draw: st.DrawFn) -> Schema:
    """Any Avro type, named types and references to them among its parts, also to those around them."""
    names = (f"n{number}" for number in itertools.count())
    known: list[str] = []
    if draw(st.integers(0, 4)) == 0:
        return draw(_types(names, known, 3))
    root = next(names)
    known.append(root)
    parts = draw(st.lists(_types(names, known, 2), min_size=1, max_size=6))
    return {"type": "record", "name": root, "fields": [{"name": f"f{number}", "type": one} for number, one in enumerate(parts)]}


@st.composite
def _types(draw: st.DrawFn, names: Iterator[str], known: list[str], depth: int) -> Schema:
    kinds = ["plain", "plain", "logical", "enum", "fixed"] + (["array", "map", "record", "union"] if depth else [])
    kind = draw(st.sampled_from(kinds + (["known"] if known else [])))
    if kind == "plain":
        return draw(st.sampled_from(_PLAIN))
    if kind == "logical":
        return draw(st.sampled_from(_LOGICAL))
    if kind == "known":
        return draw(st.sampled_from(known))
    if kind == "array":
        return {"type": "array", "items": draw(_types(names, known, depth - 1))}
    if kind == "map":
        return {"type": "map", "values": draw(_types(names, known, depth - 1))}
    if kind == "union":
        parts = draw(st.lists(st.sampled_from([*_PLAIN, *known]), min_size=1, max_size=4, unique=True))
        return [*parts, draw(_types(names, known, depth - 1))] if draw(st.booleans()) else parts
    name = next(names)
    known.append(name)
    if kind == "enum":
        return {"type": "enum", "name": name, "symbols": draw(st.lists(st.sampled_from("ABCD"), min_size=1, unique=True))}
    if kind == "fixed":
        return {"type": "fixed", "name": name, "size": draw(st.integers(0, 5))}
    parts = draw(st.lists(_types(names, known, depth - 1), max_size=4))
    return {"type": "record", "name": name, "fields": [{"name": f"f{number}", "type": one} for number, one in enumerate(parts)]}


def datums() -> st.SearchStrategy[bytes]:
    """Bytes that are a datum of many a schema: numbers, lengths, counts, and what they count."""
    small = st.integers(0, 6).map(lambda number: bytes([number]))
    return st.lists(st.one_of(small, small, _TELLING, st.binary(max_size=9)), max_size=30).map(b"".join)


@contextmanager
def in_time() -> Iterator[None]:
    """One example, which must not take a minute."""
    signal.alarm(SECS)
    try:
        yield
    finally:
        signal.alarm(0)


def assert_accounted(outcome: Outcome) -> None:
    """Rows or dead letters, each with its reason, and none for want of memory."""
    assert outcome.rows or outcome.letters or outcome.skipped
    for letter in outcome.letters:
        assert letter.message
        assert letter.source
        assert "MemoryError" not in letter.message, letter.message
