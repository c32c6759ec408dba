"""How packets of one writer schema become rows of their survey's table; found once per schema, not once per packet."""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from alerts.avro.record_paths import Path
from alerts.avro.wire_schemas import WriterSchema
from alerts.errors import UndecodablePacket
from alerts.surveys import Survey, identify
from alerts.surveys.survey import has_path, is_history, type_at
from schemas import Column, Table
from schemas.avro_files import AvroSchema, named_types, resolve, without_null
from schemas.table import avro_type
from schemas.tables import ENVELOPE


@dataclass(frozen=True)
class Projection:
    """What is wanted of an alert besides its own measurements: by default all of it."""

    history: bool = True
    """Whether the packet's arrays of records (prv_candidates, prvDiaSources, ...) are wanted."""
    stamps: bool = True

    @functools.cache  # noqa: B019 - there are four projections and a handful of surveys
    def alerts_table(self, survey: Survey) -> Table:
        """``{survey}_alerts`` with its wanted columns."""
        table = survey.alerts_table
        return replace(table, columns=tuple(column for column in table.columns if self.history or not is_history(column)))

    @functools.cache  # noqa: B019
    def packet_columns(self, survey: Survey) -> tuple[Column, ...]:
        """Those of its columns that are the packet's own."""
        return self.alerts_table(survey).columns[len(ENVELOPE) :]


EVERYTHING = Projection()


@dataclass(frozen=True)
class PacketLayout:
    """Where packets of one schema keep what the table wants. A path is None where the schema lacks the field."""

    survey: Survey
    packet_type: pa.StructType
    """The packet's columns of the table as one struct, under the packet's own names."""
    unknown: tuple[Path, ...]
    """Fields that the table has no column for."""
    foreign_arrays: tuple[Path, ...]
    """Those of ``unknown`` that are arrays as the table's column is, of items that it does not take."""
    arrays_with_nulls: tuple[Path, ...]
    """Arrays of the table whose items may be null in packets of this schema, which no column takes."""
    arrays: tuple[Path, ...]
    """Arrays of the table that are null or absent in some or all packets of this schema."""
    stamps: Mapping[str, Path | None]
    alert_id: Path
    object_ids: tuple[tuple[Path, str | None], ...]
    ra_deg: Path
    dec_deg: Path
    time: Path
    version: Path | None
    schema_version: str | None


@functools.lru_cache(maxsize=32)
def layout_of(schema: WriterSchema, survey: Survey | None = None) -> PacketLayout:
    """The layout of packets of ``schema``, taken as ``survey``'s if one is named.

    Raises ``UnknownSurvey`` when the schema is of no known survey, and ``UndecodablePacket`` when it lacks the id, the
    position or the time that every alert of the survey has.
    """
    survey = survey or identify(schema.declared)
    if not (isinstance(schema.declared, dict) and schema.declared.get("type") == "record"):
        raise UndecodablePacket(f"the packet's schema is not an Avro record as {survey.name} packets have")
    columns = survey.packet_columns
    # What stands at a stamp's place and is not of bytes is a field like any other.
    stamps = {role: _first(schema, [path for path in paths if _is_bytes(schema, path)]) for role, paths in survey.stamps.items()}
    compared = _Comparison({path for path in stamps.values() if path}, named_types(schema.declared))
    compared.record(schema.declared, columns, ())
    return PacketLayout(
        survey=survey,
        packet_type=pa.struct([column.arrow.with_name(column.field_name) for column in columns]),
        # A schema may name a field twice.
        unknown=tuple(dict.fromkeys(compared.unknown)),
        foreign_arrays=tuple(dict.fromkeys(compared.foreign_arrays)),
        arrays_with_nulls=tuple(dict.fromkeys(compared.arrays_with_nulls)),
        arrays=tuple(dict.fromkeys(compared.arrays)),
        stamps=stamps,
        alert_id=_needed(schema, survey, "alert id", survey.alert_id),
        object_ids=tuple((path, kind) for field, kind in survey.object_ids if (path := _first(schema, (field,)))),
        ra_deg=_needed(schema, survey, "right ascension", survey.ra_deg),
        dec_deg=_needed(schema, survey, "declination", survey.dec_deg),
        time=_needed(schema, survey, "observation time", survey.time),
        version=_first(schema, survey.version),
        schema_version=schema.version,
    )


def _first(schema: WriterSchema, paths: Sequence[str]) -> Path | None:
    return next((tuple(path.split(".")) for path in paths if has_path(schema.declared, path)), None)


def _is_bytes(schema: WriterSchema, path: str) -> bool:
    kind = type_at(schema.declared, path)
    return kind is not None and avro_type(kind) == "BYTES"


def _needed(schema: WriterSchema, survey: Survey, what: str, paths: Sequence[str]) -> Path:
    found = _first(schema, paths)
    if found is None:
        raise UndecodablePacket(f"the packet's schema has no {what} ({' or '.join(paths)}) as {survey.name} packets have")
    return found


class _Comparison:
    """Walks a writer schema along the table's columns and notes what does not match."""

    def __init__(self, stamps: Collection[Path], names: Mapping[str, AvroSchema]) -> None:
        self.stamps = stamps
        self.unknown: list[Path] = []
        self.foreign_arrays: list[Path] = []
        self.arrays_with_nulls: list[Path] = []
        self.arrays: list[Path] = []
        self._names = names

    def record(self, schema: AvroSchema, columns: Collection[Column], path: Path) -> None:
        by_name = {column.field_name: column for column in columns}
        schema = resolve(schema, self._names)
        for field in schema["fields"]:
            self.field(field["type"], by_name.get(field["name"]), (*path, field["name"]))
        present = {field["name"] for field in schema["fields"]}
        self.arrays += [(*path, c.field_name) for c in columns if c.mode == "REPEATED" and c.field_name not in present]

    def field(self, schema: AvroSchema, column: Column | None, path: Path) -> None:
        kind, nullable = without_null(schema, self._names)
        if path in self.stamps:
            return
        is_array = isinstance(kind, dict) and kind["type"] == "array"
        item, may_hold_null = without_null(kind["items"], self._names) if is_array else (kind, False)
        fits = column is not None and (column.mode == "REPEATED") == is_array and column.type == avro_type(item)
        if column is None or not fits:
            # A record whose only contents are stamps has no column of its own.
            if not self._holds_stamps_only(item, path):
                self.unknown.append(path)
            if column is not None and column.mode == "REPEATED":
                self.arrays.append(path)
                if is_array:
                    self.foreign_arrays.append(path)
            return
        if may_hold_null:
            self.arrays_with_nulls.append(path)
        if is_array and nullable:
            self.arrays.append(path)
        if column.type == "RECORD":
            self.record(item, column.fields, (*path, "[]") if is_array else path)

    def _holds_stamps_only(self, item: AvroSchema, path: Path) -> bool:
        if not (isinstance(item, dict) and item["type"] == "record"):
            return False
        inside = [(*path, field["name"]) for field in item["fields"]]
        return bool(inside) and all(place in self.stamps for place in inside)
