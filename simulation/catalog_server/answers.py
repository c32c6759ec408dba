"""What the service answers with: a table in one of four formats, or an error in a VOTable.

CSV and TSV are as in recorded answers; the head of the VOTable and its errors as in astroquery issues 789 and 3115. The JSON
of the real service is not known here, and stands for itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulation.catalog_server.catalog import Pairs, ServedColumn
from simulation.catalog_server.form import Form
from simulation.catalog_server.question import XMatchRequest

CONTENT_TYPES = {"votable": "text/xml", "csv": "text/csv", "tsv": "text/tab-separated-values", "json": "application/json"}
DISTANCE = ServedColumn("angDist", "double", "arcsec")

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<VOTABLE version="1.2" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xmlns="http://www.ivoa.net/xml/VOTable/v1.2"  xsi:schemaLocation="http://www.ivoa.net/xml/VOTable/v1.2">\n'
    "\t<DESCRIPTION>\n"
    "\t\tSynchronous version of the CDS XMatch Service.\n"
    "\t\tThis is a stand-in for it: broker catalog-server.\n"
    "\t</DESCRIPTION>\n"
)
_TOO_MANY = '\t\t<INFO name="QUERY_STATUS" value="OVERFLOW"/>\n'


@dataclass(frozen=True)
class TextTable:
    """A table of text; two columns of one name are not renamed."""

    columns: tuple[ServedColumn, ...]
    cells: tuple[pa.Array, ...]
    """One array of text per column; NULL is empty."""
    overflow: bool = False
    """Whether there were more rows: CSV, TSV and JSON do not tell."""

    def __len__(self) -> int:
        return len(self.cells[0])


def find_pairs(question: XMatchRequest) -> Pairs:
    """The matches of a question in the order of the upload, the nearest first: so they stand in recorded answers."""
    asked = question.asked
    pairs = question.catalog.near(asked.ra_deg, asked.dec_deg, question.radius_arcsec)
    if not question.best:
        return pairs
    _, nearest = np.unique(pairs.position, return_index=True)
    return pairs.take(nearest)


def make_answer(question: XMatchRequest, pairs: Pairs, max_rows: int) -> TextTable:
    """The rows of an answer: the separation, then the columns of the upload, then those of the catalog."""
    kept = pairs.take(slice(max_rows))
    given = {column.name: column for column in question.asked.columns}
    rows = pa.array(kept.position)
    distance = pa.array([f"{separation:.6f}" for separation in kept.separation_arcsec.tolist()], pa.string())
    columns = [given[name] for name in question.columns1], [question.catalog.columns[name] for name in question.columns2]
    cells1 = [question.asked.cells[name].take(rows) for name in question.columns1]
    cells2 = [question.catalog.cells(name, kept.source) for name in question.columns2]
    return TextTable((DISTANCE, *columns[0], *columns[1]), (distance, *cells1, *cells2), overflow=len(pairs) > len(kept))


def render(answer: TextTable, answer_format: str) -> bytes:
    """The table as ``votable``, ``csv``, ``tsv`` or ``json``."""
    return {"votable": _votable, "csv": _csv, "tsv": _tsv, "json": _json}[answer_format](answer)


def error_votable(message: str, form: Form, java: str = "cds.xmatch.exception.CmdParseException") -> bytes:
    """The body of a refusal: message and trace in one INFO, after the parameters that came."""
    echoed = [f"\t\t{escape(name)}={escape(value if isinstance(value, str) else name)}\n" for name, value in form.items()]
    return (
        f'{_HEAD}\t<INFO name="queryParameters" value="{len(form)}">\n{"".join(echoed)}\t</INFO>\n'
        '\t<RESOURCE type="results">\n\t\t<INFO name="QUERY_STATUS" value="ERROR">\n'
        f"\t\t\tMessage: {escape(message)}\n\t\t\tTrace:\n{java}: {escape(message)}\n"
        "\tat cds.xmatch.servlet.SyncXMatch.doPost\n\t\t</INFO>\n\t</RESOURCE>\n</VOTABLE>\n"
    ).encode()


def html_page(title: str) -> bytes:
    """A page of the proxy in front of the service."""
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n".encode()


def _csv(answer: TextTable) -> bytes:
    head = pa.array([column.name for column in answer.columns], pa.string())
    return _lines([",".join(_quoted(head).to_pylist()), *_joined([_quoted(cell) for cell in answer.cells], ",")])


def _tsv(answer: TextTable) -> bytes:
    """A cell cannot hold a tab or a new line: they become blanks."""
    cells = [pc.replace_substring_regex(cell, "[\t\r\n]", " ") for cell in answer.cells]
    return _lines(["\t".join(column.name for column in answer.columns), *_joined(cells, "\t")])


def _json(answer: TextTable) -> bytes:
    metadata = [describe(column) for column in answer.columns]
    values = [
        cells.to_pylist() if column.datatype == "char" else list(map(_json_number, cells.to_pylist()))
        for cells, column in zip(answer.cells, answer.columns, strict=True)
    ]
    return json.dumps({"metadata": metadata, "data": list(zip(*values, strict=True))}).encode()


def describe(column: ServedColumn) -> Mapping[str, str]:
    """A column in JSON."""
    return {"name": column.name, "datatype": column.datatype, "unit": column.unit}


def _votable(answer: TextTable) -> bytes:
    fields = "".join(map(_field, answer.columns))
    cells = [_escaped(cell) for cell in answer.cells]
    rows = _joined(cells, "</TD><TD>")
    data = "".join(f"<TR><TD>{row}</TD></TR>\n" for row in rows)
    return (
        f'{_HEAD}\t<RESOURCE type="results">\n\t\t<INFO name="QUERY_STATUS" value="OK"/>\n\t\t<TABLE>\n{fields}'
        f"\t\t\t<DATA>\n\t\t\t\t<TABLEDATA>\n{data}\t\t\t\t</TABLEDATA>\n\t\t\t</DATA>\n\t\t</TABLE>\n"
        f"{_TOO_MANY if answer.overflow else ''}\t</RESOURCE>\n</VOTABLE>\n"
    ).encode()


def _field(column: ServedColumn) -> str:
    size = ' arraysize="*"' if column.datatype == "char" else ""
    unit = f" unit={quoteattr(column.unit)}" if column.unit else ""
    return f'\t\t\t<FIELD name={quoteattr(column.name)} datatype="{column.datatype}"{size}{unit}/>\n'


def _joined(cells: list[pa.Array], separator: str) -> list[str]:
    joined = pc.binary_join_element_wise(*cells, separator, null_handling="replace", null_replacement="")
    lines: list[str] = joined.to_pylist()
    return lines


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _quoted(cells: pa.Array) -> pa.Array:
    """Cells in quotes where they hold what would end a cell (RFC 4180)."""
    special = pc.match_substring_regex(cells, '[",\r\n]')
    if not pc.any(special).as_py():
        return cells
    doubled = pc.replace_substring(cells, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), cells)


def _escaped(cells: pa.Array) -> pa.Array:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        cells = pc.replace_substring(cells, character, entity)
    return cells


def _json_number(text: str | None) -> float | int | bool | None:
    """A cell of a column of numbers; JSON knows no infinity."""
    if not text:
        return None
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return number if math.isfinite(number) else None
