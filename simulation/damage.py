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


def cut_short(patient: Patient) -> Damaged:
    """A transfer that stopped."""
    data = patient.packer.packet(patient.record)
    length = len(data) * 3 // 5
    return Damaged(data[:length], f"cut after {length} of {len(data)} bytes")


def empty(patient: Patient) -> Damaged:
    """A file that was created and never written."""
    return Damaged(b"", "no bytes at all")


def html_page(patient: Patient) -> Damaged:
    """An error page saved in the packet's place."""
    return Damaged(HTML, "an HTML error page instead of the packet")


def bad_sync(patient: Patient) -> Damaged:
    """A container whose block does not end with the file's sync marker."""
    data = patient.packer.packet(patient.record)
    return Damaged(data[:-16] + bytes(byte ^ 0xFF for byte in data[-16:]), "all bits of the sync marker after the block flipped")


def bad_schema(patient: Patient) -> Damaged:
    """A container whose schema is JSON but not Avro."""
    text = patient.packer.schema_text.replace(b'"record"', b'"recrod"', 1)
    header = container_header(text, patient.packer.sync)
    return Damaged(
        header + patient.packer.block(patient.packer.datum(patient.record)), "type of the schema's outer record is 'recrod'"
    )


def unknown_schema(patient: Patient) -> Damaged:
    """A wire message of a schema that no registry has."""
    datum = patient.packer.datum(patient.record)
    return Damaged(WIRE_HEADER.pack(0, UNKNOWN_SCHEMA_ID) + datum, f"schema id is {UNKNOWN_SCHEMA_ID}")


def trailing_bytes(patient: Patient) -> Damaged:
    """A wire message that goes on after its datum: a sign that it was written with another schema."""
    return Damaged(patient.packer.packet(patient.record) + b"\x02\x00\x02\x00", "4 bytes after the end of the datum")


def nan_time(patient: Patient) -> Damaged:
    """Decodes, but has no time: neither a night nor a row can be given to it."""
    outer, inner = patient.time_path
    record = patient.record | {outer: patient.record[outer] | {inner: math.nan}}
    return Damaged(patient.packer.packet(record), f"{outer}.{inner} is NaN; the packet decodes")


DAMAGES: dict[str, tuple[Callable[[Patient], Damaged], ...]] = {
    CONTAINER: (cut_short, empty, html_page, bad_sync, bad_schema, nan_time),
    WIRE: (cut_short, empty, html_page, unknown_schema, trailing_bytes, nan_time),
}
"""The kinds that a framing can suffer, in the order in which they are dealt out."""
