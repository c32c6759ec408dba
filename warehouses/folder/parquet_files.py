"""Parquet files of a local (or ``gs://``) warehouse: written aside, one unit at a time, and put in place as a whole.

    {warehouse}/{table}/{partition}=YYYY-MM-DD/{unit}-{unique}-{part}.parquet
    {warehouse}/_tmp/{run_id}/...      files of a run that is not finished
    {warehouse}/_manifest/{version}.parquet   which of these files make up the tables
    {warehouse}/_inputs/{unit}.json    the inputs of a unit of several files
    {warehouse}/_locks/...             empty files by which runs of one machine wait for each other

The partition column stands in the folder's name, as Hive and DuckDB have it, and not in the file.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas import Table
from schemas.tables import CUTOUTS
from warehouses.files import create_file, open_file
from warehouses.units import WrittenFile

TEMPORARY = "_tmp"
INPUTS = "_inputs"
MANIFEST = "_manifest"
LOCKS = "_locks"
ROW_GROUP_BYTES = 32 * 2**20
PART_ROWS = 16_384
_WORTH_THREADS = 2048
_INCOMPRESSIBLE = {*CUTOUTS, "payload"}
"""Stamps are gzipped already; dictionaries and statistics of their bytes would only cost."""

_IN_LIST = ".list.element"
"""What Parquet puts into the path of a list's items."""


def partition_column(table: Table) -> str:
    """The name of the folders' key: ``night``, or ``failed_date`` for a table divided by a time."""
    by = table.by_name[table.partition_by or ""]
    return by.name if by.type == "DATE" else f"{by.name.removesuffix('_at')}_date"


def file_schema(table: Table) -> pa.Schema:
    """The columns that stand in the files of a table."""
    by = table.by_name[table.partition_by or ""]
    names = [name for name in table.arrow_schema.names if not (name == by.name and by.type == "DATE")]
    return pa.schema([_plain(table.arrow_schema.field(name)) for name in names])


def _plain(field: pa.Field) -> pa.Field:
    """A column whose fields have no descriptions: those of features would take more room than the features of a small file."""
    return field.with_type(_undescribed(field.type))


def _undescribed(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _undescribed(kind.value_type), kind.value_field.nullable))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, _undescribed(field.type), field.nullable) for field in kind])
    return kind


class UnitWriter:
    """Writes the rows of one unit, every table and partition to a file of its own, under the run's temporary folder.

    The files of ``tables`` go part by part together: row n of one part is row n of the same part in every table.
    """

    def __init__(self, warehouse: str, run_id: str, unit: str) -> None:
        self._warehouse, self._run_id, self._unit = warehouse, run_id, unit
        self._name = f"{unit}-{uuid.uuid4().hex[:12]}"
        self._open: dict[tuple[str, str], _PartFile] = {}
        self._parts: dict[tuple[str, str], int] = {}

    def write(self, table: Table, rows: pa.RecordBatch) -> Iterator[WrittenFile]:
        """Add rows; gives the files that were finished on the way."""
        by = table.by_name[table.partition_by or ""]
        dates = pc.cast(rows.column(by.name), pa.date32())
        for date in pc.unique(dates):
            own = rows if len(pc.unique(dates)) == 1 else rows.filter(pc.equal(dates, date))
            key = (table.name, f"{table.name}/{partition_column(table)}={date}")
            if key not in self._open:
                self._open[key] = self._begin(table, key)
            file = self._open[key]
            file.write(own)
            if file.rows >= PART_ROWS:
                yield self._open.pop(key).close()

    def close(self) -> Iterator[WrittenFile]:
        """Finish all files."""
        for key in list(self._open):
            yield self._open.pop(key).close()

    def abort(self) -> None:
        """Let go of the files unfinished."""
        for key in list(self._open):
            self._open.pop(key).abort()

    def _begin(self, table: Table, key: tuple[str, str]) -> _PartFile:
        part = self._parts[key] = self._parts.get(key, -1) + 1
        place = f"{key[1]}/{self._name}-{part:03d}.parquet"
        temporary = f"{self._warehouse}/{TEMPORARY}/{self._run_id}/{place}"
        return _PartFile(table, WrittenFile(self._unit, temporary, f"{self._warehouse}/{place}", 0))


class _PartFile:
    """One Parquet file; small batches are gathered into row groups of some 32 MB."""

    def __init__(self, table: Table, place: WrittenFile) -> None:
        self.rows = 0
        self._place = place
        self._schema = file_schema(table)
        self._held: list[pa.RecordBatch] = []
        self._held_bytes = 0
        self._file: BinaryIO = create_file(place.temporary)
        self._writer = open_parquet(self._file, self._schema)

    def write(self, rows: pa.RecordBatch) -> None:
        rows = rows.select(self._schema.names)
        self.rows += rows.num_rows
        self._held.append(rows)
        self._held_bytes += rows.nbytes
        if self._held_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._held).cast(self._schema))
        self._held, self._held_bytes = [], 0

    def close(self) -> WrittenFile:
        if self._held:
            self._flush()
        self._writer.close()
        size_bytes = self._file.tell()
        self._file.close()
        return described(replace(self._place, size_bytes=size_bytes), self._writer.writer.metadata, self._schema)

    def abort(self) -> None:
        # What is not whole gets no end, by which it would seem to be: Arrow would write one when it lets go of the writer.
        self._writer.is_open = False
        self._file.close()


def described(file: WrittenFile, footer: pq.FileMetaData, schema: pa.Schema) -> WrittenFile:
    """A file with what its footer tells of it."""
    return replace(
        file,
        rows=footer.num_rows,
        schema=fingerprint(schema),
        healpix29=_extremes(footer, "healpix29"),
        observed_at=_extremes(footer, "observed_at"),
    )


def fingerprint(schema: pa.Schema) -> str:
    """16 hexadecimal digits that stand for a file's columns and their types."""
    # Not what a list calls its items, which Parquet does not keep.
    text = "\n".join(f"{path} {kind}" for path, kind in _leaves(schema).items())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _extremes(footer: pq.FileMetaData, column: str) -> tuple[Any, Any] | None:
    """The least and the greatest value of a column; None where there is no such column, or the footer does not say."""
    number = next((number for number in range(footer.num_columns) if footer.schema.column(number).path == column), None)
    if number is None:
        return None
    found = [footer.row_group(group).column(number).statistics for group in range(footer.num_row_groups)]
    told = [each for each in found if each is not None and each.has_min_max]
    # A group without extremes may hold nothing but NULL, which is in no range.
    silent = [each for each in found if each is None or not (each.has_min_max or (each.has_null_count and not each.num_values))]
    if silent or not told:
        return None
    return min(each.min for each in told), max(each.max for each in told)


def open_parquet(file: BinaryIO, schema: pa.Schema) -> pq.ParquetWriter:
    """A Parquet writer with the settings of every file of a warehouse."""
    plain = _INCOMPRESSIBLE & set(schema.names)
    leaves = _leaves(schema)
    # Nobody can skip a row group for what stands in a list: lists need neither statistics nor dictionaries. Nor do features,
    # which are hundreds, and of all values in any place of the sky.
    single = {leaf: kind for leaf, kind in leaves.items() if _IN_LIST not in leaf and not leaf.startswith("features.")}
    return pq.ParquetWriter(
        file,
        schema,
        # Beside stamps of ten times their size measurements need not be as small as can be: Zstandard takes up to 17 us per
        # alert more than Snappy, which every reader of Parquet knows, and saves up to 1.4 kB.
        compression={leaf: "NONE" if leaf in plain else "SNAPPY" for leaf in leaves},
        # Measurements hardly ever repeat: dictionaries of numbers cost time and save nothing.
        use_dictionary=[leaf for leaf, kind in single.items() if pa.types.is_string(kind)],
        write_statistics=[leaf for leaf in single if leaf not in plain],
    )


def read_rows(uri: str) -> pa.Table:
    """All rows of a file."""
    with open_file(uri) as file:
        parquet = pq.ParquetFile(file)
        # To give the columns of a small file to threads takes longer than to read them.
        return parquet.read(use_threads=parquet.metadata.num_rows >= _WORTH_THREADS)


def write_rows(place: WrittenFile, rows: pa.Table, group_rows: int | None = None) -> WrittenFile:
    """A file of these rows, at its temporary place; in row groups of so many, else in one."""
    with create_file(place.temporary) as file:
        with open_parquet(file, rows.schema) as writer:
            writer.write_table(rows, row_group_size=group_rows)
        size_bytes = file.tell()
    return described(replace(place, size_bytes=size_bytes), writer.writer.metadata, rows.schema)


def _leaves(schema: pa.Schema) -> dict[str, pa.DataType]:
    """Dotted paths of the columns as Parquet counts them, with their types."""

    def below(field: pa.Field, path: str) -> Iterator[tuple[str, pa.DataType]]:
        if pa.types.is_struct(field.type):
            for child in field.type:
                yield from below(child, f"{path}.{child.name}")
        elif pa.types.is_list(field.type):
            yield from below(field.type.value_field, f"{path}{_IN_LIST}")
        else:
            yield path, field.type

    return {path: kind for field in schema for path, kind in below(field, field.name)}
