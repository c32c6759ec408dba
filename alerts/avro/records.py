"""Datums to Arrow columns record by record, through fastavro: the way that takes whatever Avro can say."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import fastavro
import pyarrow as pa

from alerts.avro.inputs import datum_bytes
from alerts.avro.layout import PacketLayout
from alerts.avro.packets import Packet
from alerts.avro.record_paths import dotted, fill_arrays, holds_null, pluck, take_values
from alerts.avro.weigh import check, weigh
from alerts.errors import UndecodablePacket
from alerts.json_text import to_json

Record = dict[str, Any]


_VALUE_BYTES = 12
"""Objects take some twenty times the bytes of numbers and texts; a value that has none takes as much as so many."""


def taken_bytes(packet: Packet) -> int:
    """What a packet's record takes, as the length of a datum of numbers and texts that takes as much."""
    try:
        values = weigh(packet.datum, 0, packet.schema.nodes).values
    except UndecodablePacket:
        values = 0  # it will not become a record
    return max(datum_bytes(packet), _VALUE_BYTES * values)


def read_datum(packet: Packet) -> Record:
    """The packet's record as fastavro gives it.

    Raises ``UndecodablePacket`` when it ends before the datum does or is beyond the limits of ``alerts.limits``, or
    whatever fastavro raises for damaged bytes.
    """
    # The datum and no more: a damaged one would be read on into its neighbors, of which a file may hold any number.
    datum = packet.data[packet.start : packet.stop]
    check(datum, packet.schema.nodes)  # before fastavro believes what the datum says of itself
    file = io.BytesIO(datum)
    record: Any = fastavro.schemaless_reader(file, packet.schema.parsed, None)
    if left := len(datum) - file.tell():
        raise UndecodablePacket(f"{left} bytes are left behind the end of the alert")
    return dict(record)


def stamps_of(records: Sequence[Record], layout: PacketLayout) -> list[pa.Array]:
    """The stamps science, template, difference of each record, NULL where it has none."""
    return [pa.array([path and pluck(record, path) for record in records], pa.binary()) for path in layout.stamps.values()]


def take_unknown(records: Sequence[Record], layout: PacketLayout, counts: Counter[str]) -> list[str | None]:
    """Take what no column takes out of the records, as JSON text for ``extra``.

    That is the fields without a column; and an array of which an item is null, whole: whether one is, each record decides.
    """
    for path in layout.unknown:
        counts[f"{layout.survey.name}: {dotted(path)}"] += len(records)
    return [_take_unknown(record, layout, counts) for record in records]


def _take_unknown(record: Record, layout: PacketLayout, counts: Counter[str]) -> str | None:
    taken = {}
    for path in layout.arrays_with_nulls:
        if holds_null(record, path):
            counts[f"{layout.survey.name}: {dotted(path)}"] += 1
            taken[dotted(path)] = take_values(record, path, leave_empty=True)
    for path in layout.unknown:
        taken[dotted(path)] = take_values(record, path, leave_empty=path in layout.foreign_arrays)
    return to_json(taken) if taken else None


def take_null_arrays(records: Sequence[Record], layout: PacketLayout) -> list[list[str]]:
    """Put [] for null and absent arrays, and give the paths of those of each record."""
    return [[name for path in layout.arrays for name in fill_arrays(record, path)] for record in records]
