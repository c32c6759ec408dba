"""Tables in CSV, every cell kept as the text it is."""

from __future__ import annotations

import csv as text_csv
import io

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv


def read_csv(body: bytes) -> pa.Table:
    """The table with its cells as text. Raises ``ValueError`` (``pyarrow.ArrowInvalid`` is one) when it is no table."""
    names = next(text_csv.reader(io.StringIO(body.partition(b"\n")[0].decode("utf-8").rstrip("\r"))), [])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the column {', '.join(twice)} is there twice; give each a name of its own")
    as_text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
    return csv.read_csv(io.BytesIO(body), csv.ReadOptions(use_threads=False), csv.ParseOptions(newlines_in_values=True), as_text)


def datatype(cells: pa.ChunkedArray) -> str:
    """The narrowest VOTable datatype that all cells of text have: ``long``, ``double`` or ``char``; empty ones have every."""
    filled = pc.if_else(pc.equal(cells, ""), pa.scalar(None, pa.string()), cells)
    for name, arrow in (("long", pa.int64()), ("double", pa.float64())):
        try:
            pc.cast(filled, arrow)
        except pa.ArrowInvalid:
            continue
        return name
    return "char"
