"""Packets that a broker must not take for alerts: each is a good packet, damaged in a known way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulation.packing import CONTAINER, WIRE, WIRE_HEADER, Packer, container_header

HTML = b"<!DOCTYPE html>\n<html><head><title>503 Service Unavailable</title></head><body>Try again later.</body></html>\n"
UNKNOWN_SCHEMA_ID = 999_999


@dataclass(frozen=True)
class Damaged:
    """The damaged packet, and in words what was done to it."""

    data: bytes
    note: str


@dataclass(frozen=True)
class Patient:
    """What can be damaged: the record, how it would be packed, and where it keeps the time."""

    record: dict[str, Any]
    packer: Packer
    time_path: tuple[str, str]


def cut_short(one: Patient) -> Damaged:
    """A transfer that stopped."""
    data = one.packer.packet(one.record)
    length = len(data) * 3 // 5
    return Damaged(data[:length], f"cut after {length} of {len(data)} bytes")


def empty(one: Patient) -> Damaged:
    """A file that was created and never written."""
    return Damaged(b"", "no bytes at all")


def html_page(one: Patient) -> Damaged:
    """An error page saved in the packet's place."""
    return Damaged(HTML, "an HTML error page instead of the packet")


def bad_sync(one: Patient) -> Damaged:
    """A container whose block does not end with the file's sync marker."""
    data = one.packer.packet(one.record)
    return Damaged(data[:-16] + bytes(byte ^ 0xFF for byte in data[-16:]), "all bits of the sync marker after the block flipped")


def bad_schema(one: Patient) -> Damaged:
    """A container whose schema is JSON but not Avro."""
    text = one.packer.schema_text.replace(b'"record"', b'"recrod"', 1)
    header = container_header(text, one.packer.sync)
    return Damaged(header + one.packer.block(one.packer.datum(one.record)), "type of the schema's outer record is 'recrod'")


def unknown_schema(one: Patient) -> Damaged:
    """A wire message of a schema that no registry has."""
    datum = one.packer.datum(one.record)
    return Damaged(WIRE_HEADER.pack(0, UNKNOWN_SCHEMA_ID) + datum, f"schema id is {UNKNOWN_SCHEMA_ID}")


def trailing_bytes(one: Patient) -> Damaged:
    """A wire message that goes on after its datum: a sign that it was written with another schema."""
    return Damaged(one.packer.packet(one.record) + b"\x02\x00\x02\x00", "4 bytes after the end of the datum")


def nan_time(one: Patient) -> Damaged:
    """Decodes, but has no time: neither a night nor a row can be given to it."""
    outer, inner = one.time_path
    record = one.record | {outer: one.record[outer] | {inner: math.nan}}
    return Damaged(one.packer.packet(record), f"{outer}.{inner} is NaN; the packet decodes")


DAMAGES: dict[str, tuple[Callable[[Patient], Damaged], ...]] = {
    CONTAINER: (cut_short, empty, html_page, bad_sync, bad_schema, nan_time),
    WIRE: (cut_short, empty, html_page, unknown_schema, trailing_bytes, nan_time),
}
"""The kinds that a framing can suffer, in the order in which they are dealt out."""
