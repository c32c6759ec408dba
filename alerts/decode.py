"""Packets to rows: a list of packets in, one Arrow RecordBatch per survey and the dead letters out.

Everything that depends on speed stays behind ``decode``.
"""

from __future__ import annotations

import functools
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import xxhash

from alerts.errors import AlertError, DeadLetter, UndecodablePacket
from alerts.inputs import in_batches
from alerts.json_text import to_json
from alerts.layout import Layout, dotted, fill_arrays, layout_of, pluck, take_values
from alerts.packets import Packet
from alerts.positions import healpix29, on_the_sky
from alerts.surveys import Survey
from alerts.times import night_of, to_utc
from alerts.wire_schemas import WriterSchema
from schemas.tables import CUTOUTS, ENVELOPE

Record = dict[str, Any]

_CHUNK_BYTES = 2 * 2**20
"""Python objects of a decoded record take some twenty times its bytes: only so much is held at once."""


@dataclass(frozen=True)
class Decoded:
    """What became of a list of packets."""

    rows: dict[str, pa.RecordBatch]
    """By survey: the columns of ``{survey}_alerts``, then ``science, template, difference`` (the stamps' bytes)."""
    failures: list[DeadLetter] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    """``survey: dotted path`` of the fields that went into ``extra``, with the number of alerts that have them."""
    off_the_sky: Counter[str] = field(default_factory=Counter)
    """By survey, the alerts whose position is NULL, NaN or out of range."""


def decode(
    packets: Sequence[Packet], *, survey: Survey | None = None, run_id: str = "", ingested_at: datetime | None = None
) -> Decoded:
    """Rows for the packets, each a row or a dead letter; never raises for what a packet holds.

    ``survey`` takes every packet as that survey's; without it each packet's schema tells. The rows of a survey stand in
    the order of the packets, schema by schema.
    """
    decoded = Decoded(rows={})
    stamp = _RunStamp(run_id, ingested_at or datetime.now(timezone.utc))
    batches: dict[str, list[pa.RecordBatch]] = {}
    for schema, group in _by_schema(packets).items():
        try:
            layout = layout_of(schema, survey)
        except AlertError as error:
            decoded.failures.extend(_dead_letter(error, packet, survey) for packet in group)
            continue
        for chunk in in_batches(group, len(group), _CHUNK_BYTES):
            rows = _decode_chunk(chunk, layout, stamp, decoded)
            batches.setdefault(layout.survey.name, []).append(rows)
    for name, parts in batches.items():
        rows = parts[0] if len(parts) == 1 else pa.concat_batches(parts)
        if rows.num_rows:
            decoded.rows[name] = rows
    return decoded


@dataclass(frozen=True)
class _RunStamp:
    run_id: str
    ingested_at: datetime


def _by_schema(packets: Sequence[Packet]) -> dict[WriterSchema, list[Packet]]:
    groups: dict[WriterSchema, list[Packet]] = {}
    for packet in packets:
        groups.setdefault(packet.schema, []).append(packet)
    return groups


def _dead_letter(error: Exception, packet: Packet, survey: Survey | None) -> DeadLetter:
    if not isinstance(error, AlertError):
        error = UndecodablePacket(f"the datum does not fit its schema ({type(error).__name__}: {error})")
    name = survey.name if survey else None
    return DeadLetter.of("decode", error, packet.source, packet.as_sent(), survey=name, attributes=packet.attributes)


def _decode_chunk(packets: list[Packet], layout: Layout, stamp: _RunStamp, decoded: Decoded) -> pa.RecordBatch:
    """Rows of the packets that can be decoded; the others and the counts go into ``decoded``."""
    good, records = _read_datums(packets, layout, decoded)
    envelope = _envelope(good, records, layout, stamp, decoded)
    stamps = [pa.array([path and pluck(one, path) for one in records], pa.binary()) for path in _stamp_paths(layout)]
    extra = _take_unknown(records, layout, decoded.unknown_fields)
    null_arrays = [[name for path in layout.arrays for name in fill_arrays(one, path)] for one in records]
    envelope |= {"extra": extra, "null_arrays": null_arrays}
    columns = [pa.array(envelope[column.name], column.to_arrow().type) for column in ENVELOPE]
    columns += pa.array(records, layout.packet_type).flatten()
    return pa.RecordBatch.from_arrays(columns + stamps, schema=_rows_schema(layout.survey))


@functools.cache
def _rows_schema(survey: Survey) -> pa.Schema:
    stamps = [survey.cutouts_table.by_name[role].to_arrow() for role in CUTOUTS]
    return pa.schema([*survey.alerts_table.arrow_schema, *stamps])


def _stamp_paths(layout: Layout) -> list[Any]:
    return [layout.stamps.get(role) for role in CUTOUTS]


def _read_datums(packets: list[Packet], layout: Layout, decoded: Decoded) -> tuple[list[Packet], list[Record]]:
    """The packets that are alerts, an id and a time included, and their records; dead letters for the others."""
    good: list[Packet] = []
    records: list[Record] = []
    for packet in packets:
        try:
            records.append(_read_datum(packet, layout))
            good.append(packet)
        except Exception as error:  # fastavro has no base class for what damaged bytes make it raise
            decoded.failures.append(_dead_letter(error, packet, layout.survey))
    timeless = np.isnat(_utc(records, layout))
    for number in np.flatnonzero(timeless)[::-1]:
        expected = f"{layout.survey.time_format.upper()} ({layout.survey.time_scale.upper()}) between 1960 and 2100"
        fault = UndecodablePacket(
            f"the observation time {dotted(layout.time)} is {pluck(records[number], layout.time)!r}, not a {expected}"
        )
        decoded.failures.append(_dead_letter(fault, good[number], layout.survey))
        del good[number], records[number]
    return good, records


def _read_datum(packet: Packet, layout: Layout) -> Record:
    file = io.BytesIO(packet.data)
    file.seek(packet.start)
    record: Any = fastavro.schemaless_reader(file, packet.schema.parsed, None)
    left = packet.stop - file.tell()
    if left > 0:
        raise UndecodablePacket(f"{left} bytes are left behind the end of the alert")
    if left < 0:
        raise UndecodablePacket(f"the alert is cut short: its fields go {-left} bytes beyond its end")
    if not isinstance(alert_id := pluck(record, layout.alert_id), int):
        raise UndecodablePacket(f"the alert id {dotted(layout.alert_id)} is {alert_id!r}, not an integer")
    return dict(record)


def _utc(records: list[Record], layout: Layout) -> Any:
    survey = layout.survey
    times = np.array([pluck(one, layout.time) for one in records], np.float64)
    return to_utc(times, survey.time_format, survey.time_scale, survey.time_in_seconds_from)


def _envelope(packets: list[Packet], records: list[Record], layout: Layout, stamp: _RunStamp, decoded: Decoded) -> dict[str, Any]:
    """The envelope's columns, but for the two that are found while the record is taken apart."""
    observed_at = _utc(records, layout)
    ra, dec = ([pluck(one, path) for one in records] for path in (layout.ra_deg, layout.dec_deg))
    objects = [_object(one, layout) for one in records]
    indices, outside = _healpix(ra, dec)
    if outside:
        decoded.off_the_sky[layout.survey.name] += outside
    count = len(packets)
    return {
        "alert_id": [pluck(one, layout.alert_id) for one in records],
        "object_id": [name for name, _ in objects],
        "object_kind": [kind for _, kind in objects],
        "packet_digest": [xxhash.xxh3_128_digest(packet.datum) for packet in packets],
        "run_id": [stamp.run_id] * count,
        "survey": [layout.survey.name] * count,
        "schema_version": [_version(one, layout) for one in records],
        "observed_at": observed_at,
        "night": night_of(observed_at, layout.survey.night_starts_utc_hours),
        "ra_deg": ra,
        "dec_deg": dec,
        "healpix29": indices,
        "source": [packet.source for packet in packets],
        "published_at": [packet.published_at for packet in packets],
        "ingested_at": [stamp.ingested_at] * count,
    }


def _object(record: Record, layout: Layout) -> tuple[str | None, str | None]:
    for path, kind in layout.object_ids:
        if value := pluck(record, path):
            return str(value), kind
    return None, None


def _version(record: Record, layout: Layout) -> str | None:
    sent = pluck(record, layout.version) if layout.version else None
    return layout.schema_version if sent is None else str(sent)


def _healpix(ra: list[float | None], dec: list[float | None]) -> tuple[pa.Array, int]:
    """The indices, NULL for positions that are not on the sky, and how many those are."""
    ra_deg, dec_deg = np.array(ra, np.float64), np.array(dec, np.float64)
    good = on_the_sky(ra_deg, dec_deg)
    indices = np.zeros(len(good), np.int64)
    indices[good] = healpix29(ra_deg[good], dec_deg[good])
    return pa.array(indices, mask=~good), int((~good).sum())


def _take_unknown(records: list[Record], layout: Layout, counts: Counter[str]) -> list[str | None]:
    """Take the fields without a column out of the records, as JSON text for ``extra``."""
    if not layout.unknown:
        return [None] * len(records)
    for path in layout.unknown:
        counts[f"{layout.survey.name}: {dotted(path)}"] += len(records)
    return [to_json({dotted(path): take_values(one, path) for path in layout.unknown}) for one in records]
