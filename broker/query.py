"""``broker query``: a warehouse asked from the command line."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, BinaryIO

import warehouses
from pipelines.status import DONE, WRONG_OPTIONS
from warehouses import QueryError
from warehouses.forms import BINARY, FORMATS, form_of
from warehouses.places import FORMS, LIMIT

if TYPE_CHECKING:
    from warehouses.answers import Answer
    from warehouses.result import Result
    from warehouses.warehouse import Warehouse

_EXAMPLES = """examples:
  broker query "SELECT object_id, candidate.magpsf FROM ztf_alerts_unique ORDER BY 2 LIMIT 5"
  broker query --cone 150.1,2.2,5 --warehouse ./warehouse
  broker query --cone targets.csv,2 --out near.csv
  broker query --object ZTF20aajcdad --out alerts.fits"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker query``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("sql", nargs="?", metavar="SQL", help="one SELECT over the tables, in DuckDB's SQL, or in BigQuery's")
    parser.add_argument("--warehouse", default="./warehouse", metavar="URI", help=FORMS)
    parser.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
    parser.add_argument(
        "--cone",
        metavar="RA,DEC,RADIUS_ARCSEC",
        help="alerts near a position (ICRS, degrees or 10:00:24,+02:12:00), nearest first; or near each of a table's, "
        "FILE,RADIUS_ARCSEC (CSV, Parquet, FITS, VOTable, ..); or near NAME,RADIUS_ARCSEC, where CDS's resolver knows NAME",
    )
    parser.add_argument("--object", metavar="ID", help="alerts of an object, in order of time")
    parser.add_argument("--format", choices=FORMATS, help="default: what the name of --out says, else table")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write there; its ending says how: .csv, .json, .jsonl, .parquet, .fits, .vot (VOTable), .ecsv, .txt (table)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Ask, and print the answer; gives the exit status."""
    from warehouses.result import Result  # noqa: PLC0415 - brings Arrow

    try:
        form = arguments.format or ("table" if arguments.out is None else form_of(arguments.out))
        if form in BINARY and arguments.out is None and sys.stdout.isatty():
            raise QueryError(f"{form} is no text for a terminal; give --out FILE, or send it on with > FILE")
        with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
            answer, nothing = _ask(opened, arguments)
            if nothing is not None and isinstance(answer, Result) and not len(answer):
                _say(nothing, answer, form, arguments.out)
            else:
                _show(answer, form, arguments.out)
    except BrokenPipeError:
        raise
    except (QueryError, OSError) as error:
        print(f"broker query: {error}", file=sys.stderr)
        return WRONG_OPTIONS
    return DONE


def _ask(opened: Warehouse, arguments: argparse.Namespace) -> tuple[Result | Answer, str | None]:
    """The answer, and what it means when it has no rows; None where only the asker knows."""
    asked = [arguments.sql, arguments.cone, arguments.object]
    if sum(value is not None for value in asked) != 1:
        raise QueryError(f"give one of SQL, --cone and --object; the tables are {', '.join(opened.tables)}")
    if arguments.sql is not None:
        return opened.read(arguments.sql).apart(), None
    if arguments.object is not None:
        return opened.alerts_of(arguments.object), f"no alert of object {arguments.object} in {arguments.warehouse}"
    from warehouses.cones import parse_cones  # noqa: PLC0415 - only for cones

    places = parse_cones(arguments.cone, _open_file)
    return opened.cones(places), f"no alert within {places} in {arguments.warehouse}"


def _open_file(uri: str) -> BinaryIO:
    from transforms.files import open_file  # noqa: PLC0415 - Beam takes two seconds

    return open_file(uri)


def _say(nothing: str, answer: Result, form: str, out: str | None) -> None:
    """A sentence for a person; for a program the empty answer, and the sentence on stderr."""
    if form == "table" and out is None:
        print(nothing)
        return
    _show(answer, form, out)
    print(f"broker query: {nothing}", file=sys.stderr)


def _show(answer: Result | Answer, form: str, out: str | None) -> None:
    from warehouses.answer_files import write_file  # noqa: PLC0415 - brings Arrow's formats
    from warehouses.formats import write  # noqa: PLC0415

    if out is not None:
        write_file(answer, form, out)
        return
    write(answer, form, sys.stdout.buffer)
    sys.stdout.flush()
