"""Packets to rows: a list of packets in, one Arrow RecordBatch per survey and the dead letters out.

Packets of one schema are decoded together by a compiled loop (``alerts.avro.columns``). A packet that is damaged, and a schema
that has something unusual, go through fastavro one record at a time (``alerts.avro.records``), which also judges what is wrong.
So do all packets until that has taken as long as the loop takes to begin (``alerts.avro.patience``), or one is so long that
it might be beyond the limits for fastavro, which are none of the loop's.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from alerts.avro.columns import Columns, decode_columns, is_usual
from alerts.avro.envelope import RunStamp, envelope
from alerts.avro.inputs import datum_bytes, in_batches
from alerts.avro.layout import EVERYTHING, PacketLayout, Projection, layout_of
from alerts.avro.packets import Packet
from alerts.avro.patience import PATIENCE
from alerts.avro.program import NotSupported, TooManyRows
from alerts.avro.record_paths import Path, pluck
from alerts.avro.records import Record, read_datum, stamps_of, take_null_arrays, take_unknown, taken_bytes
from alerts.avro.weigh import VALUES_PER_BYTE, surely_within
from alerts.avro.wire_schemas import WriterSchema
from alerts.errors import AlertError, DeadLetter, UndecodablePacket
from alerts.limits import MAX_ALERT_VALUES
from alerts.surveys import Survey
from schemas import Column
from schemas.tables import CUTOUTS, ENVELOPE

_RECORDS_BYTES = 2 * 2**20
"""Python objects of a decoded record take some twenty times its bytes: only so much is held at once."""
_FIRST_BYTES = MAX_ALERT_VALUES // VALUES_PER_BYTE
"""Of packets that are ``surely_within``, held at once: together they have no more values than one alert may hold."""


@dataclass(frozen=True)
class Decoded:
    """What became of a list of packets."""

    rows: dict[str, pa.RecordBatch]
    """By survey: the columns of ``{survey}_alerts``, then ``science, template, difference`` (the stamps' bytes), as wanted."""
    failures: list[DeadLetter] = field(default_factory=list)
    unknown_fields: Counter[str] = field(default_factory=Counter)
    """``survey: dotted path`` of the fields that went into ``extra``, with the number of alerts that have them."""
    off_the_sky: Counter[str] = field(default_factory=Counter)
    """By survey, the alerts whose position is NULL, NaN or out of range."""
    one_by_one: Counter[str] = field(default_factory=Counter)
    """By survey, the packets that the compiled loop has left to fastavro."""


def decode(
    packets: Sequence[Packet],
    *,
    survey: Survey | None = None,
    run_id: str = "",
    ingested_at: datetime | None = None,
    want: Projection = EVERYTHING,
) -> Decoded:
    """Rows for the packets, each a row or a dead letter; never raises for what a packet holds.

    ``survey`` takes every packet as that survey's; without it each packet's schema tells. The rows of a survey stand in
    the order of the packets, schema by schema; those that had to be read one by one come last. What is not wanted has no
    columns; whatever is wanted, the same packets are rows and dead letters, and the columns that are there read the same.
    """
    decoded = Decoded(rows={})
    stamp = RunStamp(run_id, ingested_at or datetime.now(timezone.utc))
    batches: dict[str, list[pa.RecordBatch]] = {}
    for schema, group in _by_schema(packets).items():
        try:
            layout = layout_of(schema, survey)
        except Exception as error:  # whatever a schema holds, the packets of other schemas are not concerned
            decoded.failures.extend(_dead_letter(error, packet, survey, "the schema cannot be understood") for packet in group)
            continue
        batches.setdefault(layout.survey.name, []).extend(_decode_group(group, layout, want, stamp, decoded))
    for name, parts in batches.items():
        full = [rows for rows in parts if rows.num_rows]
        if full:
            decoded.rows[name] = full[0] if len(full) == 1 else pa.concat_batches(full)
    return decoded


def _by_schema(packets: Sequence[Packet]) -> dict[WriterSchema, list[Packet]]:
    groups: dict[WriterSchema, list[Packet]] = {}
    for schema, run in itertools.groupby(packets, operator.attrgetter("schema")):
        groups.setdefault(schema, []).extend(run)
    return groups


def _dead_letter(error: Exception, packet: Packet, survey: Survey | None, what: str = "") -> DeadLetter:
    if not isinstance(error, AlertError):
        error = UndecodablePacket(f"{what} ({type(error).__name__}: {error})")
    name = survey.name if survey else None
    return DeadLetter.of("decode", error, packet.source, packet.to_keep(), survey=name, attributes=packet.attributes)


def _decode_group(
    packets: list[Packet], layout: PacketLayout, want: Projection, stamp: RunStamp, decoded: Decoded
) -> Iterator[pa.RecordBatch]:
    """Rows of packets of one schema: all that can be at once, then the others one by one."""
    if not PATIENCE.compiled and is_usual(layout):
        packets = yield from _decode_first(packets, layout, want, stamp, decoded)
        if not packets:
            return
    try:
        columns = decode_columns(packets, layout, want)
    except NotSupported as error:
        if isinstance(error, TooManyRows) and len(packets) > 1:
            for half in (packets[: len(packets) // 2], packets[len(packets) // 2 :]):
                yield from _decode_group(half, layout, want, stamp, decoded)
            return
        left = packets
    else:
        left = list(itertools.compress(packets, ~columns.good))
        yield _rows(_of_columns(packets, columns), layout, want, stamp, decoded)
    decoded.one_by_one[layout.survey.name] += len(left)
    for chunk in in_batches(left, len(left), _RECORDS_BYTES, taken_bytes):
        yield from _decode_records(chunk, layout, want, stamp, decoded)


def _decode_first(
    packets: list[Packet], layout: PacketLayout, want: Projection, stamp: RunStamp, decoded: Decoded
) -> Generator[pa.RecordBatch, None, list[Packet]]:
    """Rows of packets by fastavro, as long as that is the shorter way; returns the packets that are left.

    The first that may hold more values than fastavro is given begins the compiled decoder: a row or a dead letter, whoever
    was before it.
    """
    done = 0
    short = itertools.takewhile(lambda packet: surely_within(datum_bytes(packet), packet.schema.nodes), packets)
    for chunk in in_batches(short, len(packets), _FIRST_BYTES):
        if PATIENCE.compiled:
            break
        with PATIENCE.spending():
            rows = list(_decode_records(chunk, layout, want, stamp, decoded))
        yield from rows
        done += len(chunk)
    if done < len(packets):
        PATIENCE.begin()
    return packets[done:]


def _decode_records(
    packets: list[Packet], layout: PacketLayout, want: Projection, stamp: RunStamp, decoded: Decoded
) -> Iterator[pa.RecordBatch]:
    good: list[Packet] = []
    records: list[Record] = []
    for packet in packets:
        try:
            records.append(read_datum(packet))
            good.append(packet)
        except Exception as error:  # fastavro has no base class for what damaged bytes make it raise
            decoded.failures.append(_dead_letter(error, packet, layout.survey, "the datum does not fit its schema"))
    part = Decoded(rows={})
    try:
        rows = _rows(_of_records(good, records, layout, want, part.unknown_fields), layout, want, stamp, part)
    except Exception as error:  # a value of a kind that its column does not take
        if len(good) == 1:
            what = f"the alert does not fit into {layout.survey.alerts_table.name}"
            decoded.failures.append(_dead_letter(error, good[0], layout.survey, what))
            return
        # One by one, so that it does not take its neighbours along.
        for packet in good:
            yield from _decode_records([packet], layout, want, stamp, decoded)
        return
    decoded.failures.extend(part.failures)
    decoded.unknown_fields.update(part.unknown_fields)
    decoded.off_the_sky.update(part.off_the_sky)
    yield rows


@dataclass(frozen=True)
class _Part:
    """Packets with their wanted columns, whichever way they were decoded."""

    packets: list[Packet]
    columns: list[pa.Array]
    """Those of the packet, then its stamps."""
    null_arrays: pa.Array | list[list[str]]
    extra: pa.Array | list[str | None]
    values: Callable[[Path], pa.Array | list[Any]]


def _of_columns(packets: list[Packet], columns: Columns) -> _Part:
    good = list(itertools.compress(packets, columns.good))
    arrays = [columns.packet.field(number) for number in range(columns.packet.type.num_fields)]
    return _Part(good, [*arrays, *columns.stamps], columns.null_arrays, pa.nulls(len(good), pa.string()), columns.at)


def _of_records(
    packets: list[Packet], records: list[Record], layout: PacketLayout, want: Projection, unknown: Counter[str]
) -> _Part:
    paths = {layout.alert_id, layout.time, layout.ra_deg, layout.dec_deg, *(path for path, _ in layout.object_ids)}
    if layout.version:
        paths.add(layout.version)
    # Before the records are taken apart: an old version may keep a fact in a field that has no column.
    facts = {path: [pluck(record, path) for record in records] for path in paths}
    stamps = stamps_of(records, layout)
    extra = take_unknown(records, layout, unknown)
    null_arrays = take_null_arrays(records, layout)
    # All of it, also what is not wanted: whether the alert fits into its table must not depend on that.
    packet = pa.array(records, layout.packet_type)
    columns = [packet.field(column.field_name) for column in want.packet_columns(layout.survey)]
    return _Part(packets, [*columns, *(stamps if want.stamps else [])], null_arrays, extra, facts.__getitem__)


def _rows(part: _Part, layout: PacketLayout, want: Projection, stamp: RunStamp, decoded: Decoded) -> pa.RecordBatch:
    """The rows of a part, without those that lack an id or a time, which become dead letters."""
    made = envelope(part.packets, part.values, layout, stamp)
    columns = {**made.columns, "extra": part.extra, "null_arrays": part.null_arrays}
    arrays = [_array(columns[column.name], column) for column in ENVELOPE]
    rows = pa.RecordBatch.from_arrays([*arrays, *part.columns], schema=_rows_schema(layout.survey, want))
    for number, fault in sorted(made.faults.items()):
        decoded.failures.append(_dead_letter(UndecodablePacket(fault), part.packets[number], layout.survey))
    if made.faults:
        rows = rows.filter(pa.array([number not in made.faults for number in range(rows.num_rows)], pa.bool_()))
    if made.off_the_sky:
        outside = rows.column("healpix29").null_count
        decoded.off_the_sky[layout.survey.name] += outside
    return rows


def _array(values: Any, column: Column) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, column.arrow.type)


@functools.cache
def _rows_schema(survey: Survey, want: Projection) -> pa.Schema:
    stamps = [survey.cutouts_table.by_name[role].arrow for role in CUTOUTS] if want.stamps else []
    return pa.schema([*want.alerts_table(survey).arrow_schema, *stamps])
