"""Tables from files, Parquet, CSV and FITS, as Arrow columns in the file's own types.

What is kept apart: NaN is a number, NULL is none (in CSV a field with nothing in it, or ``null`` among numbers), text may be
empty (in CSV ``""``), and an id of 19 digits or with leading zeros is what it was.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from alerts.archives import GZIP_MAGIC, buffered, gunzip
from alerts.catalogs.catalog import BadCatalog

Opener = Callable[[str], BinaryIO]

PARQUET, CSV, FITS = "Parquet", "CSV", "FITS"
_FORMATS = {".parquet": PARQUET, ".csv": CSV, ".csv.gz": CSV, ".fits": FITS, ".fit": FITS}
_CSV_BLOCK_BYTES = 2**20
_MAX_TEXT_BYTES = 2**31 - 1
"""Text of one column longer than that needs 64-bit offsets in Arrow."""
_INTEGER = r"^(0|-?[1-9][0-9]*)$"
_FLOAT = r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:nan|inf|infinity)$"
_BEYOND_FLOAT = r"^[+-]?[0-9]{16,}$"
_NULL = r"^(null|NULL)?$"


@dataclass(frozen=True)
class Header:
    """What a file says of its columns before its rows are read."""

    kinds: dict[str, str]
    """Each column's type, in words for a person."""
    numbers: frozenset[str]
    """Columns that hold numbers (in CSV: as far as the first rows tell)."""
    ids: frozenset[str]
    """Columns that may hold ids: integers or text."""
    units: dict[str, str]
    """Units, where the file tells them."""
    empty: bool
    """Whether there are no rows."""


def read_header(path: str, opener: Opener) -> Header:
    """The columns of a file; no rows are read but, of a CSV file, those in its first 1 MB.

    Raises ``BadCatalog`` for a file that is missing, unreadable, or of another format.
    """
    with _opened(path, opener) as (kind, file):
        if kind == PARQUET:
            parquet = pq.ParquetFile(file)
            schema = parquet.schema_arrow
            return _header(path, schema.names, schema.types, {}, parquet.metadata.num_rows)
        if kind == FITS:
            with _fits_table(path, file) as hdu:
                units = {column.name: column.unit for column in hdu.columns if column.unit}
                return _header(path, hdu.columns.names, _fits_types(hdu), units, hdu.header["NAXIS2"])
        reader, names = _csv_reader(path, file, most_bytes=2 * _CSV_BLOCK_BYTES)
        # Of two blocks only the first: the second may be cut within a row.
        first = next(iter(reader), None)
        columns = [pa.chunked_array([column]) for column in first.columns] if first else []
        wrong = {name: text for name, text in zip(names, map(_not_a_number, columns), strict=False) if text is not None}
        kinds = {name: f"text such as {wrong[name]!r}" if name in wrong else "numbers" for name in names}
        return Header(kinds, frozenset(names) - frozenset(wrong), frozenset(names), {}, not columns)


def read_table(path: str, opener: Opener, *, numbers: Collection[str] = (), ids: Collection[str] = ()) -> pa.RecordBatch:
    """All of a file in one piece.

    Parquet and FITS tell their types. A column of CSV is integers or floats where all of its texts are written as such a
    number would be, and else text; those named in ``numbers`` are floats however written (``+05.25``), and those in ``ids``
    never are. Raises ``BadCatalog``.
    """
    with _opened(path, opener) as (kind, file):
        if kind == PARQUET:
            return _whole(pq.ParquetFile(file).read())
        if kind == FITS:
            with _fits_table(path, file) as hdu:
                table = Table.read(hdu, mask_invalid=False, character_as_bytes=True)
            return pa.RecordBatch.from_arrays([_from_fits(column) for column in table.itercols()], names=table.colnames)
        reader, names = _csv_reader(path, file)
        columns = pa.Table.from_batches(reader, schema=reader.schema).columns
        for at, name in enumerate(names):
            columns[at] = _floats(path, name, columns[at]) if name in numbers else _typed(columns[at], name in ids)
        return _whole(pa.Table.from_arrays(columns, names=names))


@contextmanager
def _opened(path: str, opener: Opener) -> Iterator[tuple[str, io.BufferedReader]]:
    """A file's format, and its bytes. What goes wrong with them, in three libraries and a storage service, is ``BadCatalog``."""
    kind = next((kind for ending, kind in _FORMATS.items() if path.lower().endswith(ending)), None)
    if kind is None:
        raise BadCatalog(f"{path} is of no format read as a catalog; its name must end in {', '.join(_FORMATS)}")
    try:
        file = buffered(opener(path))
    except Exception as error:
        raise BadCatalog(f"{path} cannot be opened ({_told(error)}); name a file that every worker can read") from error
    with closing(file):
        try:
            yield kind, file
        except BadCatalog:
            raise
        except Exception as error:
            raise BadCatalog(f"{path} cannot be read as {kind} ({_told(error)}); write it anew") from error


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _header(path: str, names: list[str], types: Iterable[pa.DataType], units: dict[str, str], rows: int) -> Header:
    _check_names(path, names)
    found = dict(zip(names, types, strict=True))
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
    is_id = (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, _is_category)
    numbers, ids = (
        frozenset(name for name, kind in found.items() if any(is_one(kind) for is_one in kinds)) for kinds in (is_number, is_id)
    )
    return Header({name: str(kind) for name, kind in found.items()}, numbers, ids, units, rows == 0)


def _is_category(kind: pa.DataType) -> bool:
    return bool(pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type))


def _check_names(path: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadCatalog(f"{path} has two columns {name!r}; rename one")


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


@contextmanager
def _fits_table(path: str, file: BinaryIO) -> Iterator[Any]:
    with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
        for hdu in hdus:
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)):
                header = hdu.header
                needed = hdu.fileinfo()["datLoc"] + header["NAXIS1"] * header["NAXIS2"] + header.get("PCOUNT", 0)
                if file.seek(0, io.SEEK_END) < needed:
                    raise BadCatalog(f"{path} is cut: it ends before byte {needed} where its table does; copy it again")
                yield hdu
                return
    raise BadCatalog(f"{path} holds no table, only images; name the FITS file of a catalog")


def _fits_types(hdu: Any) -> list[pa.DataType]:
    if isinstance(hdu, fits.TableHDU):
        ascii_types = {"A": pa.string(), "I": pa.int64()}
        return [ascii_types.get(column.format[0], pa.float64()) for column in hdu.columns]
    return [_arrow_type(hdu.columns.dtype[at]) for at in range(len(hdu.columns))]


def _arrow_type(kind: np.dtype[Any]) -> pa.DataType:
    if kind.shape or kind.kind == "O":
        return pa.list_(_arrow_type(kind.base) if kind.shape else pa.null())
    return pa.string() if kind.kind in "SU" else pa.from_numpy_dtype(kind.newbyteorder("="))


def _from_fits(column: Any) -> pa.Array:
    """A column of an astropy table: big-endian numbers, padded bytes, masked where the file declares a null."""
    values = np.asarray(column)
    mask = np.ma.getmaskarray(column).reshape(-1) if np.ma.isMaskedArray(column) else None
    if values.dtype.kind == "O":
        return pa.array([_native(np.asarray(one)) for one in values])
    flat = _from_texts(values.reshape(-1)) if values.dtype.kind == "S" else pa.array(_native(values.reshape(-1)), mask=mask)
    return flat if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))


def _native(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _from_texts(values: np.ndarray[Any, Any]) -> pa.Array:
    texts = pa.array(values, pa.binary())
    try:
        texts = texts.cast(pa.string())
    except pa.ArrowInvalid:
        # The standard has ASCII only; where a file has more, it mostly is this.
        texts = pa.array(np.char.decode(values, "latin-1"))
    return pc.utf8_rtrim(texts, " ")


def _csv_reader(path: str, file: io.BufferedReader, most_bytes: int | None = None) -> tuple[pa_csv.CSVStreamingReader, list[str]]:
    """A reader of all columns as text, of all of the file or not much more than ``most_bytes``; and their names."""
    stream = gunzip(file) if file.peek(len(GZIP_MAGIC)).startswith(GZIP_MAGIC) else file
    names = [name.strip() for name in next(csv.reader([stream.readline().decode("utf-8-sig")]), [])]
    if not names:
        raise BadCatalog(f"{path} is empty; its first line must name the columns")
    _check_names(path, names)
    convert = pa_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    # Arrow takes a file with nothing in it for an error, and one with an empty line for one without rows. It reads ahead.
    rest = stream if most_bytes is None and stream.peek(1) else io.BytesIO(stream.read(most_bytes) or b"\n")
    reading = pa_csv.ReadOptions(column_names=names, block_size=_CSV_BLOCK_BYTES)
    return pa_csv.open_csv(rest, reading, pa_csv.ParseOptions(newlines_in_values=True), convert), names


def _floats(path: str, name: str, texts: pa.ChunkedArray) -> pa.ChunkedArray:
    wrong = _not_a_number(texts)
    if wrong is not None:
        raise BadCatalog(f"column {name!r} of {path} has {wrong!r}; write all of it as decimal numbers")
    return _bare(texts).cast(pa.float64())


def _not_a_number(texts: pa.ChunkedArray) -> str | None:
    """The first text that is no number, if there is one."""
    values = _bare(texts)
    try:
        values.cast(pa.float64())
    except pa.ArrowInvalid:
        for text in values.unique().to_pylist():
            try:
                pa.scalar(text).cast(pa.float64())
            except pa.ArrowInvalid:
                return str(text)
    return None


def _bare(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """The texts of numbers without blanks around them, null where they say so."""
    values = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.match_substring_regex(values, _NULL), pa.scalar(None, pa.string()), values)


def _typed(texts: pa.ChunkedArray, is_id: bool) -> pa.ChunkedArray:
    """A column of texts as the integers or floats that are written in it; else as it is."""
    values = _bare(texts)
    if values.null_count == len(values):
        return texts
    if _all_match(values, _INTEGER):
        for kind in (pa.int64(), pa.uint64()):
            try:
                return values.cast(kind)
            except pa.ArrowInvalid:
                continue
    elif not is_id and _all_match(values, _FLOAT) and not pc.any(pc.match_substring_regex(values, _BEYOND_FLOAT)).as_py():
        return values.cast(pa.float64())
    return texts


def _all_match(values: pa.ChunkedArray, pattern: str) -> bool:
    """Whether all texts that are not null match; most columns of text tell with their first rows."""
    return all(pc.all(pc.match_substring_regex(chunk, pattern), min_count=0).as_py() for chunk in values.chunks)
