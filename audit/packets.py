"""Packets to what an audit has to know of them: who they are, of which night, and whether they must become a row at all.

Digest, id, version and night are found here from the packet itself, not by the code that made the rows; only packets that
are unusual in some way are left to ``alerts.avro.decode``, which says whether they are rows or dead letters, and why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from alerts.avro.columns import Columns, decode_columns
from alerts.avro.decode import decode
from alerts.avro.layout import PacketLayout, layout_of
from alerts.avro.packets import Packet
from alerts.avro.record_paths import Path
from alerts.avro.wire_schemas import WriterSchema
from alerts.errors import DeadLetter
from alerts.surveys import Survey
from alerts.times import night_of, to_utc
from schemas.tables import CUTOUTS

RECORDS = pa.schema(
    [
        ("source", pa.string()),
        ("survey", pa.string()),
        ("alert_id", pa.int64()),
        ("packet_digest", pa.binary()),
        ("schema_version", pa.string()),
        ("night", pa.date32()),
        ("stamps", pa.uint8()),
    ]
)
"""One row per record of the truth. ``stamps`` has bit n set where the packet has the n-th of science, template, difference;
NULL where the truth does not know. So are ``packet_digest``, ``schema_version``, ``source`` and ``night``."""


@dataclass
class Records:
    """What packets are: rows to be expected, and dead letters."""

    rows: list[pa.RecordBatch] = field(default_factory=list)
    """Of ``RECORDS``."""
    unreadable: list[DeadLetter] = field(default_factory=list)


def records_of(packets: Sequence[Packet], survey: Survey | None = None) -> Records:
    """The records of packets, in any order; never raises for what a packet holds."""
    found = Records()
    left: list[Packet] = []
    for group in _by_schema(packets).values():
        rows, unusual = _at_once(group, survey)
        left += unusual
        if rows is not None:
            found.rows.append(rows)
    if left:
        decoded = decode(left, survey=survey)
        found.rows += [_of_rows(rows) for rows in decoded.rows.values()]
        found.unreadable += decoded.failures
    return found


def _by_schema(packets: Sequence[Packet]) -> dict[WriterSchema, list[Packet]]:
    groups: dict[WriterSchema, list[Packet]] = {}
    for packet in packets:
        groups.setdefault(packet.schema, []).append(packet)
    return groups


def _at_once(packets: list[Packet], survey: Survey | None) -> tuple[pa.RecordBatch | None, list[Packet]]:
    """Records of packets of one schema, and the packets that are left."""
    try:
        layout = layout_of(packets[0].schema, survey)
        columns = decode_columns(packets, layout)
        return _of_columns(packets, columns, layout)
    except Exception:  # whatever is unusual about the schema or a value in it, alerts.avro.decode judges it
        return None, packets


def _of_columns(packets: list[Packet], columns: Columns, layout: PacketLayout) -> tuple[pa.RecordBatch, list[Packet]]:
    whole = np.flatnonzero(columns.good)
    good = [packets[number] for number in whole]
    alert_ids = _at(columns.packet, layout.alert_id)
    if not pa.types.is_integer(alert_ids.type):
        raise TypeError("the alert id is no integer")
    facts = layout.survey
    times = _at(columns.packet, layout.time).cast(pa.float64()).to_numpy(zero_copy_only=False)
    observed_at = to_utc(times, facts.time_format, facts.time_scale, facts.time_in_seconds_from)
    nights = night_of(observed_at, facts.night_starts_utc_hours)
    sent = _at(columns.packet, layout.version).to_pylist() if layout.version else [None] * len(good)
    rows = pa.RecordBatch.from_arrays(
        [
            pa.array([packet.source for packet in good], pa.string()),
            pa.array([facts.name] * len(good), pa.string()),
            alert_ids,
            pa.array([xxhash.xxh3_128_digest(packet.datum) for packet in good], pa.binary()),
            pa.array([layout.schema_version if version is None else str(version) for version in sent], pa.string()),
            pa.array(nights, pa.date32()),
            _bits(columns.stamps, len(good)),
        ],
        schema=RECORDS,
    )
    sound = (alert_ids.is_valid().to_numpy(zero_copy_only=False)) & ~np.isnat(observed_at)
    settled = set(whole[sound].tolist())
    return rows.filter(pa.array(sound)), [packet for number, packet in enumerate(packets) if number not in settled]


def _at(packet: pa.StructArray, path: Path) -> pa.Array:
    return pc.struct_field(packet, list(path))


def _of_rows(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Records of what ``alerts.avro.decode`` made."""
    stamps = _bits([rows.column(role) for role in CUTOUTS], rows.num_rows)
    own = [rows.column(name) for name in RECORDS.names if name != "stamps"]
    return pa.RecordBatch.from_arrays([*own, stamps], schema=RECORDS)


def _bits(stamps: Sequence[pa.Array], count: int) -> pa.Array:
    bits: Any = np.zeros(count, np.uint8)
    for number, array in enumerate(stamps):
        bits |= np.asarray(array.is_valid()).astype(np.uint8) << number
    return pa.array(bits, pa.uint8())
