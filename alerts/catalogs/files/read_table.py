"""Tables from files as Arrow columns in the file's own types: Parquet (a file or a folder), CSV, TSV, FITS, VOTable, ECSV.

What is kept apart: NaN is a number, NULL is none (in CSV a field with nothing in it, or ``null`` among numbers), text may be
empty (in CSV ``""``), and an id of 19 digits or with leading zeros is what it was. All may be compressed: gzip, bzip2, xz, or
alone in a zip.
"""

from __future__ import annotations

import builtins
import io
import os
import zipfile
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import Table

from alerts.avro.unpack import MAGIC_BYTES, buffered, packing_of, unpacked
from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.files.astropy_tables import fits_table, fits_types, from_astropy, plain_table, read_votable, to_astropy
from alerts.catalogs.files.position_columns import ColumnFacts
from alerts.catalogs.files.read_csv import CSV_BLOCK_BYTES, check_names, csv_floats, csv_reader, not_a_number, typed
from alerts.catalogs.files.table_names import ECSV, FITS, FORMATS, PACKED, PARQUET, PARTS, VOTABLE, kind_of
from alerts.catalogs.files.table_positions import arrow_fields, table_fields

Opener = Callable[[str], BinaryIO]

_ZIP_MAGIC = b"PK\x03\x04"
_NOT_PARTS = ("_", ".", "data_thumbnail")
"""How names begin of files in a folder that hold no rows of their own: marks of Spark, hidden files, HATS's thumbnail."""
_MAX_TEXT_BYTES = 2**31 - 1
"""Text of one column longer than that needs 64-bit offsets in Arrow."""


@dataclass(frozen=True)
class Header:
    """What a file says of its columns before its rows are read."""

    kinds: dict[str, str]
    """Each column's type, in words for a person."""
    numbers: frozenset[str]
    """Columns that hold numbers (in CSV: as far as the first rows tell)."""
    ids: frozenset[str]
    """Columns that may hold ids: integers or text."""
    fields: list[ColumnFacts]
    """Units, UCDs and frames, where the file tells them."""
    empty: bool
    """Whether there are no rows."""
    samples: dict[str, str] = field(default_factory=dict)
    """Of columns of CSV that hold no numbers, a text that is none."""


def read_header(path: str, opener: Opener) -> Header:
    """The columns of a file; of Parquet, FITS and CSV no rows are read but those in the first 1 MB of a CSV file.

    Raises ``BadCatalog`` for a file that is missing, unreadable, or of another format.
    """
    with _opened(path, opener) as (kind, file):
        if kind in (PARQUET, PARTS):
            with closing(_parquet(path, file)) as parts:
                counts, schemas = zip(
                    *((part.metadata.num_rows, _schema(part.schema_arrow, keys)) for part, keys in parts), strict=True
                )
            schema = pa.unify_schemas(schemas)
            return _header(path, schema.names, schema.types, arrow_fields(schema), sum(counts))
        if kind == FITS:
            with fits_table(path, file) as hdu:
                return _header(path, hdu.columns.names, fits_types(hdu), _fits_fields(hdu), hdu.header["NAXIS2"])
        if kind in (VOTABLE, ECSV):
            table = plain_table(_astropy(kind, file))
            schema = from_astropy(table).schema
            return _header(path, schema.names, schema.types, table_fields(table), len(table))
        return _csv_header(path, file)


def read_table(
    path: str, opener: Opener, *, numbers: Collection[str] = (), ids: Collection[str] = (), texts: Collection[str] = ()
) -> pa.RecordBatch:
    """All of a file in one piece.

    All but CSV tell their types. A column of CSV is integers or floats where all of its texts are written as such a
    number would be, and else text; those named in ``numbers`` are floats however written (``+05.25``), those in ``ids``
    never are, and those in ``texts`` are floats where all of them are numbers however written. Raises ``BadCatalog``.
    """
    with _opened(path, opener) as (kind, file):
        if kind in (PARQUET, PARTS):
            with closing(_parquet(path, file)) as parts:
                # Not "permissive": integers of one part and floats of another would all be floats, ids among them.
                return _whole(pa.concat_tables([_keyed(part.read(), keys) for part, keys in parts], promote_options="default"))
        if kind == FITS:
            with fits_table(path, file) as hdu:
                table = Table.read(hdu, mask_invalid=False, character_as_bytes=True)
            return from_astropy(table)
        if kind in (VOTABLE, ECSV):
            return from_astropy(_astropy(kind, file))
        reader, names, _ = csv_reader(path, unpacked(file))
        columns = pa.Table.from_batches(reader, schema=reader.schema).columns
        for at, name in enumerate(names):
            if name in numbers or (name in texts and not_a_number(columns[at]) is None):
                columns[at] = csv_floats(path, name, columns[at])
            elif name not in texts:
                columns[at] = typed(columns[at], name in ids)
        return _whole(pa.Table.from_arrays(columns, names=names))


def read_astropy(path: str, opener: Opener | None = None) -> Table:
    """All of a file as an astropy table, with the units and UCDs that the file tells. Raises ``BadCatalog``."""
    opener = opener or open_local_file
    with _opened(path, opener) as (kind, file):
        if kind == FITS:
            with fits_table(path, file) as hdu:
                found = Table.read(hdu, mask_invalid=False)
                for field in _fits_fields(hdu):
                    found[field.name].info.meta = {**(found[field.name].info.meta or {}), "ucd": field.ucd, "frame": field.frame}
                return found
        if kind in (VOTABLE, ECSV):
            return _astropy(kind, file)
    found = to_astropy(read_table(path, opener))
    for field in read_header(path, opener).fields:
        if field.unit:
            found[field.name].unit = field.unit
        found[field.name].info.meta = {"ucd": field.ucd} if field.ucd else None
    return found


def open_local_file(path: str) -> BinaryIO:
    """The bytes of a file on disk."""
    return builtins.open(path, "rb")


def parts_of(path: str) -> list[str]:
    """The Parquet files of a folder on disk and of the folders in it, in the order of their names."""
    found = sorted(Path(path).rglob("*.parquet"))
    inside = [(file, file.relative_to(path).parts) for file in found]
    return [str(file) for file, names in inside if file.is_file() and not any(name.startswith(_NOT_PARTS) for name in names)]


def _csv_header(path: str, file: io.BufferedReader) -> Header:
    reader, names, units = csv_reader(path, unpacked(file), most_bytes=2 * CSV_BLOCK_BYTES)
    # Of two blocks only the first: the second may be cut within a row.
    first = next(iter(reader), None)
    columns = [pa.chunked_array([column]) for column in first.columns] if first else []
    wrong = {name: text for name, text in zip(names, map(not_a_number, columns), strict=False) if text is not None}
    kinds = {name: f"text such as {wrong[name]!r}" if name in wrong else "numbers" for name in names}
    fields = [ColumnFacts(name, units.get(name, "")) for name in names]
    return Header(kinds, frozenset(names) - frozenset(wrong), frozenset(names), fields, not columns, wrong)


def _parquet(path: str, file: BinaryIO | None) -> Generator[tuple[Any, dict[str, str]], None, None]:
    """The Parquet files of a path, opened one by one, and what the names of their folders say: ``band=g`` is a column."""
    if file is not None:
        yield pq.ParquetFile(file), {}
        return
    for part in parts_of(path):
        keys = dict(name.split("=", 1) for name in Path(part).relative_to(path).parts[:-1] if "=" in name)
        with builtins.open(part, "rb") as opened:
            yield pq.ParquetFile(opened), keys


def _schema(schema: pa.Schema, keys: dict[str, str]) -> pa.Schema:
    for name in (key for key in keys if key not in schema.names):
        schema = schema.append(pa.field(name, pa.string()))
    return schema


def _keyed(table: pa.Table, keys: dict[str, str]) -> pa.Table:
    for name in (key for key in keys if key not in table.column_names):
        table = table.append_column(name, pa.array([keys[name]] * table.num_rows, pa.string()))
    return table


def _astropy(kind: str, file: io.BufferedReader) -> Table:
    stream = unpacked(file)
    return read_votable(stream) if kind == VOTABLE else Table.read(stream.read().decode("utf-8"), format="ascii.ecsv")


def _fits_fields(hdu: Any) -> list[ColumnFacts]:
    header = hdu.header
    frame = " ".join(str(header[key]) for key in ("RADESYS", "RADECSYS", "EQUINOX") if key in header)
    ucds = [str(header.get(f"TUCD{number}", "")) for number in range(1, len(hdu.columns) + 1)]
    return [ColumnFacts(column.name, column.unit or "", ucd, frame) for column, ucd in zip(hdu.columns, ucds, strict=True)]


@contextmanager
def _opened(path: str, opener: Opener) -> Iterator[tuple[str, Any]]:
    """A file's format, and its bytes. What goes wrong with them, in three libraries and a storage service, is ``BadCatalog``."""
    kind = kind_of(path)
    if os.path.isdir(path):
        if not parts_of(path):
            raise BadCatalog(f"the folder {path} holds no .parquet file; name a file, or a folder of Parquet parts")
        kind = PARTS
    if kind is None:
        raise BadCatalog(
            f"{path} is of no format read as a table; its name must end in {', '.join(FORMATS)}, or that and {', '.join(PACKED)}"
        )
    try:
        file = None if kind == PARTS else buffered(opener(path))
    except Exception as error:
        raise BadCatalog(f"{path} cannot be opened ({_told(error)}); name a file that every worker can read") from error
    try:
        if file is not None and file.peek(len(_ZIP_MAGIC)).startswith(_ZIP_MAGIC):
            with closing(file):
                file = buffered(io.BytesIO(_out_of_zip(path, file)))
        if file is not None and kind in (FITS, PARQUET) and packing_of(file.peek(MAGIC_BYTES)):
            # These are read from their ends.
            with closing(file):
                file = buffered(io.BytesIO(unpacked(file).read()))
        yield kind, file
    except BadCatalog:
        raise
    except Exception as error:
        raise BadCatalog(f"{path} cannot be read as {kind} ({_told(error)}); write it anew") from error
    finally:
        if file is not None:
            file.close()


def _out_of_zip(path: str, file: BinaryIO) -> bytes:
    """The one file in a zip archive, as the Transient Name Server packs its tables."""
    with zipfile.ZipFile(file) as packed:
        inside = [member for member in packed.infolist() if not member.is_dir()]
        if len(inside) != 1:
            raise BadCatalog(f"{path} holds {len(inside)} files; unpack it, and name the table")
        return packed.read(inside[0])


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _header(path: str, names: list[str], types: Iterable[pa.DataType], fields: list[ColumnFacts], rows: int) -> Header:
    check_names(path, names)
    found = dict(zip(names, types, strict=True))
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    is_id = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, _is_category)
    numbers, ids = (
        frozenset(name for name, kind in found.items() if any(is_one(kind) for is_one in kinds)) for kinds in (is_number, is_id)
    )
    return Header({name: str(kind) for name, kind in found.items()}, numbers, ids, fields, rows == 0)


def _is_category(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))


def _whole(table: pa.Table) -> pa.RecordBatch:
    """A table in one piece, its columns let go of one by one as they are put together."""
    names, columns = table.column_names, table.columns
    del table
    wide = {pa.string(): pa.large_string(), pa.binary(): pa.large_binary()}
    # Rows of views (polars writes them) cannot be taken.
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    arrays = []
    for _ in names:
        column = columns.pop(0)
        kind = plain.get(column.type, column.type)
        if kind in wide and column.nbytes > _MAX_TEXT_BYTES:
            kind = wide[kind]
        arrays.append(column.cast(kind).combine_chunks())
    return pa.RecordBatch.from_arrays(arrays, names=names)
