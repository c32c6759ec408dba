"""Datums to Arrow columns record by record, through fastavro: the way that takes whatever Avro can say."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import fastavro
import pyarrow as pa

from alerts.errors import UndecodablePacket
from alerts.json_text import to_json
from alerts.layout import Layout, dotted, fill_arrays, pluck, take_values
from alerts.packets import Packet

Record = dict[str, Any]


def read_datum(packet: Packet) -> Record:
    """The packet's record as fastavro gives it.

    Raises ``UndecodablePacket`` when it does not end where the datum ends, or whatever fastavro raises for damaged bytes.
    """
    file = io.BytesIO(packet.data)
    file.seek(packet.start)
    record: Any = fastavro.schemaless_reader(file, packet.schema.parsed, None)
    left = packet.stop - file.tell()
    if left > 0:
        raise UndecodablePacket(f"{left} bytes are left behind the end of the alert")
    if left < 0:
        raise UndecodablePacket(f"the alert is cut short: its fields go {-left} bytes beyond its end")
    return dict(record)


def stamps_of(records: Sequence[Record], layout: Layout) -> list[pa.Array]:
    """The stamps science, template, difference of each record, NULL where it has none."""
    return [pa.array([path and pluck(one, path) for one in records], pa.binary()) for path in layout.stamps.values()]


def take_unknown(records: Sequence[Record], layout: Layout, counts: Counter[str]) -> list[str | None]:
    """Take the fields without a column out of the records, as JSON text for ``extra``."""
    if not layout.unknown:
        return [None] * len(records)
    for path in layout.unknown:
        counts[f"{layout.survey.name}: {dotted(path)}"] += len(records)
    return [to_json({dotted(path): take_values(one, path) for path in layout.unknown}) for one in records]


def take_null_arrays(records: Sequence[Record], layout: Layout) -> list[list[str]]:
    """Put [] for null and absent arrays, and give the paths of those of each record."""
    return [[name for path in layout.arrays for name in fill_arrays(one, path)] for one in records]
