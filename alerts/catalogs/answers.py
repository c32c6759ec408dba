"""What X-Match answers: CSV with the types the catalog declares, and the VOTable in which it declares them."""

from __future__ import annotations

import csv as text_csv
import io
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from pyarrow import csv

from alerts.catalogs.catalog import BadCatalog, Candidates, Layout, Unavailable

INDEX = "broker_index"
_DISTANCE = "angDist"
_LONGEST_HEADER = 65536
_VOTABLE_TYPES = {
    "short": pa.int64(),
    "int": pa.int64(),
    "long": pa.int64(),
    "unsignedByte": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
}
"""Everything else (char, boolean, ...) is kept as the text it is."""


def read_answer(body: bytes, columns: Mapping[str, pa.DataType], asked: int, catalog: str) -> Candidates:
    """The pairs of an answer in CSV to a question about ``asked`` positions.

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
        table = csv.read_csv(
            io.BytesIO(body),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=convert,
        )
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
    batches = sources.to_batches()
    batch = batches[0] if batches else pa.RecordBatch.from_pylist([], schema=sources.schema)
    return Candidates(position, batch, np.asarray(distance.to_numpy(), dtype=np.float64))


def read_columns(body: bytes, catalog: str, layout: Layout) -> dict[str, pa.DataType]:
    """The columns that a VOTable declares for a catalog, and their types.

    Raises ``Unavailable`` when it is no such table, or lacks columns that ``layout`` names.
    """
    try:
        root = ET.fromstring(body)  # noqa: S314  (expat reads no external entities, and limits how far others grow)
    except (ET.ParseError, LookupError, ValueError) as error:
        raise Unavailable(f"{catalog}: the service does not say which columns it has: {_shown(body)}") from error
    fields = [one for one in root.iter() if one.tag.rpartition("}")[2] == "FIELD"]
    found = {
        one.get("name", ""): _VOTABLE_TYPES.get(one.get("datatype", ""), pa.string()) if _scalar(one) else pa.string()
        for one in fields
    }
    if list(found)[:2] != [_DISTANCE, INDEX] or len(found) != len(fields):
        raise Unavailable(f"{catalog}: the service does not say which columns it has: {_shown(body)}")
    del found[_DISTANCE], found[INDEX]
    named = [name for name in (layout.ra, layout.dec, layout.source_id, layout.pmra, layout.pmdec) if name]
    if missing := [name for name in named if name not in found]:
        raise BadColumns(f"{catalog} has no column {', '.join(missing)}; it has {', '.join(found)}")
    for name in (layout.ra, layout.dec, layout.pmra, layout.pmdec):
        if name and found[name] == pa.string():
            raise BadColumns(f"{catalog} has text in column {name}; name one that holds degrees or mas/yr as numbers")
    if layout.source_id and found[layout.source_id] == pa.float64():
        raise BadColumns(f"{catalog} has floating-point numbers in column {layout.source_id}, which are no ids; name another")
    return found


class BadColumns(Unavailable, BadCatalog):
    """Columns were named that the catalog does not have."""


def _scalar(field: ET.Element) -> bool:
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
