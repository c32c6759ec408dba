"""``broker query``: a warehouse asked from the command line."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from alerts.json_text import to_json
from broker import cones, warehouse

FORMATS = ("table", "csv", "json", "parquet")
_SHOWN_ROWS = 40
_SHOWN_CHARACTERS = 120

_EXAMPLES = """examples:
  broker query "SELECT object_id, candidate.magpsf FROM ztf_alerts_unique ORDER BY 2 LIMIT 5"
  broker query --cone 150.1,2.2,5 --warehouse ./warehouse
  broker query --cone targets.csv,2 --format csv --out near.csv
  broker query --object ZTF20aajcdad --format parquet --out alerts.parquet"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker query``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("sql", nargs="?", metavar="SQL", help="one SELECT over the tables, in DuckDB's SQL, or in BigQuery's")
    parser.add_argument(
        "--warehouse", default="./warehouse", metavar="URI", help="a folder (default ./warehouse), or bigquery://PROJECT/DATASET"
    )
    parser.add_argument(
        "--cone",
        metavar="RA,DEC,RADIUS_ARCSEC",
        help="alerts near a position (ICRS, degrees or 10:00:24,+02:12:00), nearest first; or near each of a table's, "
        "FILE,RADIUS_ARCSEC (CSV, Parquet, FITS, VOTable, ..)",
    )
    parser.add_argument("--object", metavar="ID", help="alerts of an object, in order of time")
    parser.add_argument("--format", choices=FORMATS, default="table", help="default table")
    parser.add_argument("--out", metavar="FILE", help="write there instead of to the terminal")


def main(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer; gives the exit status."""
    try:
        with warehouse.open(arguments.warehouse) as opened:
            answer = _ask(opened, arguments)
            _show(answer, arguments.format, arguments.out)
    except (warehouse.QueryError, OSError) as error:
        print(f"broker query: {error}", file=sys.stderr)
        return 2
    return 0


def _ask(opened: warehouse.Warehouse, arguments: argparse.Namespace) -> pa.Table:
    asked = [arguments.sql, arguments.cone, arguments.object]
    if sum(one is not None for one in asked) != 1:
        raise warehouse.QueryError(f"give one of SQL, --cone and --object; the tables are {', '.join(opened.tables)}")
    if arguments.sql is not None:
        return opened.query(arguments.sql)
    if arguments.object is not None:
        return opened.alerts_of(arguments.object)
    return cones.ask(opened, cones.cones(arguments.cone))


def _show(answer: pa.Table, form: str, out: str | None) -> None:
    if out is not None:
        with open(out, "wb") as file:
            _write(answer, form, file)
    elif form == "parquet" and sys.stdout.isatty():
        raise warehouse.QueryError("parquet is no text for a terminal; give --out FILE")
    else:
        _write(answer, form, sys.stdout.buffer)
        sys.stdout.flush()


def _write(answer: pa.Table, form: str, file: BinaryIO) -> None:
    if form == "parquet":
        pq.write_table(answer, file)
    elif form == "json":
        rows = ",\n".join(to_json(row) for row in answer.to_pylist())
        file.write(f"[{rows}]\n".encode())
    else:
        text = _Text(file)
        if form == "csv":
            _write_csv(answer, text)
        else:
            _write_table(answer, text)


class _Text:
    """A text file on a binary one, that leaves it open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        return self._file.write(text.encode("utf-8"))


def _write_csv(answer: pa.Table, file: _Text) -> None:
    writer = csv.writer(file)
    writer.writerow(answer.column_names)
    for row in answer.to_pylist():
        writer.writerow([_plain(value, full=True) for value in row.values()])


def _write_table(answer: pa.Table, file: _Text) -> None:
    shown = answer.slice(0, _SHOWN_ROWS)
    rows = [[_plain(value, full=False) for value in row.values()] for row in shown.to_pylist()]
    widths = [max(map(len, column)) for column in zip(answer.column_names, *rows, strict=True)]
    for line in [answer.column_names, ["-" * width for width in widths], *rows]:
        file.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")
    if answer.num_rows > _SHOWN_ROWS:
        file.write(f"({answer.num_rows - _SHOWN_ROWS:,} more rows; --format csv shows all)\n")


def _plain(value: object, full: bool) -> str:
    """A cell: NULL is empty in CSV and NULL in a table; nested values as JSON, times in UTC."""
    if value is None:
        return "" if full else "NULL"
    if isinstance(value, (bytes, dict, list)):
        text = to_json(value).strip('"') if isinstance(value, bytes) else to_json(value)
    else:
        text = str(value)
    return text if full or len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
