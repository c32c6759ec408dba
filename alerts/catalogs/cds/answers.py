"""What X-Match answers: CSV with the types the catalog declares, and the VOTable in which it declares them."""

from __future__ import annotations

import csv as text_csv
import io
from collections.abc import Mapping
from typing import NoReturn
from xml.parsers import expat

import numpy as np
import pyarrow as pa
from pyarrow import csv

from alerts.catalogs.catalog import BadCatalog, Candidates, SourceColumns, Unavailable
from alerts.limits import MAX_ANSWER_COLUMNS, MAX_ANSWER_ROWS, MAX_ANSWER_TABLE_BYTES, MAX_NAME_CHARACTERS

INDEX = "broker_index"
_DISTANCE = "angDist"
_LONGEST_HEADER = 65536
_BLOCK_BYTES = 2**20
_VOTABLE_TYPES = {
    "short": pa.int64(),
    "int": pa.int64(),
    "long": pa.int64(),
    "unsignedByte": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
}
"""Everything else (char, boolean, ...) is kept as the text it is."""


def read_answer(
    body: bytes, columns: Mapping[str, pa.DataType], asked: int, catalog: str, most_rows: int = MAX_ANSWER_ROWS
) -> Candidates:
    """The pairs of an answer in CSV to a question about ``asked`` positions, for no more than so many rows.

    Raises ``Unavailable`` unless it is whole, has exactly the columns that were asked for, and speaks of our positions.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    head, newline, _ = body.partition(b"\n")
    if not newline or not body.endswith(b"\n"):
        raise Unavailable(f"{catalog}: the answer is no whole table: {_shown(body)}")
    names = next(iter(_cells(head[:_LONGEST_HEADER])), [])
    expected = {_DISTANCE, INDEX, *columns}
    if set(names) != expected or len(names) != len(expected):
        raise Unavailable(f"{catalog}: the answer has other columns than were asked for{_difference(names, expected)}")
    types = {**columns, _DISTANCE: pa.float64(), INDEX: pa.int64()}
    convert = csv.ConvertOptions(
        column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=True, include_columns=names
    )
    try:
        with csv.open_csv(
            io.BytesIO(body),
            read_options=csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=convert,
        ) as reader:
            # Block by block: a row of commas takes ten times its bytes.
            batches: list[pa.RecordBatch] = []
            rows, held_bytes = 0, 0
            for batch in reader:
                batches.append(batch)
                rows, held_bytes = rows + batch.num_rows, held_bytes + batch.nbytes
                if rows > most_rows or held_bytes > MAX_ANSWER_TABLE_BYTES:
                    raise Unavailable(
                        f"{catalog}: the answer has more than the {most_rows:,} rows that were asked for, or than fit"
                    )
            table = pa.Table.from_batches(batches, schema=reader.schema)
    except pa.ArrowException as error:
        raise Unavailable(f"{catalog}: the answer does not hold what its columns are declared to: {error}") from error
    table = table.combine_chunks()
    index, distance = table.column(INDEX), table.column(_DISTANCE)
    if index.null_count or distance.null_count:
        raise Unavailable(f"{catalog}: the answer has rows without a position or a separation")
    position = np.asarray(index.to_numpy(), dtype=np.int64)
    if len(position) and (position.min() < 0 or position.max() >= asked):
        raise Unavailable(f"{catalog}: the answer is about position {position.max()}, where {asked} were asked")
    sources = table.select(list(columns))
    whole = sources.to_batches()
    batch = whole[0] if whole else pa.RecordBatch.from_pylist([], schema=sources.schema)
    return Candidates(position, batch, np.asarray(distance.to_numpy(), dtype=np.float64))


def read_columns(body: bytes, catalog: str, source_columns: SourceColumns) -> dict[str, pa.DataType]:
    """The columns that a VOTable declares for a catalog, and their types.

    Raises ``Unavailable`` when it is no such table, or lacks columns that ``source_columns`` names.
    """
    try:
        fields = _fields(body)
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise Unavailable(f"{catalog}: the service does not say which columns it has: {_shown(body)}") from error
    found = {
        field.get("name", ""): _VOTABLE_TYPES.get(field.get("datatype", ""), pa.string()) if _scalar(field) else pa.string()
        for field in fields
    }
    too_much = len(fields) > MAX_ANSWER_COLUMNS or any(len(name) > MAX_NAME_CHARACTERS for name in found)
    if too_much or list(found)[:2] != [_DISTANCE, INDEX] or len(found) != len(fields):
        raise Unavailable(f"{catalog}: the service does not say which columns it has: {_shown(body)}")
    del found[_DISTANCE], found[INDEX]
    named = [
        name
        for name in (source_columns.ra, source_columns.dec, source_columns.source_id, source_columns.pmra, source_columns.pmdec)
        if name
    ]
    if missing := [name for name in named if name not in found]:
        raise BadColumns(f"{catalog} has no column {', '.join(missing)}; it has {', '.join(found)}")
    for name in (source_columns.ra, source_columns.dec, source_columns.pmra, source_columns.pmdec):
        if name and found[name] == pa.string():
            raise BadColumns(f"{catalog} has text in column {name}; name one that holds degrees or mas/yr as numbers")
    if source_columns.source_id and found[source_columns.source_id] == pa.float64():
        raise BadColumns(
            f"{catalog} has floating-point numbers in column {source_columns.source_id}, which are no ids; name another"
        )
    return found


class BadColumns(Unavailable, BadCatalog):
    """Columns were named that the catalog does not have."""


def _fields(body: bytes) -> list[dict[str, str]]:
    """The attributes of all FIELD elements. Raises ``expat.ExpatError`` or ``ValueError`` for what is no VOTable."""
    fields: list[dict[str, str]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag.rpartition("}")[2] == "FIELD":
            fields.append(attributes)

    def refuse(*_: object) -> NoReturn:
        raise ValueError("a VOTable defines no entities")

    parser = expat.ParserCreate(namespace_separator="}")
    # Nothing is kept of what else there is, and nothing grows.
    parser.StartElementHandler = start
    parser.EntityDeclHandler = refuse
    parser.Parse(body, True)
    return fields


def _scalar(field: Mapping[str, str]) -> bool:
    return field.get("arraysize") in (None, "1")


def _cells(line: bytes) -> list[list[str]]:
    return list(text_csv.reader([line.decode("utf-8", "replace").rstrip("\r")]))


def _difference(names: list[str], expected: set[str]) -> str:
    parts = [
        f"; {what} {', '.join(sorted(some)[:8])}"
        for what, some in (("missing:", expected - set(names)), ("unknown:", set(names) - expected))
        if some
    ]
    return "".join(parts) or " (one of them twice)"


def _shown(body: bytes) -> str:
    return repr(" ".join(body[:120].decode("utf-8", "replace").split()))
