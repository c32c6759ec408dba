"""``broker compact``: many small files of a warehouse's nights to few sorted ones, or its manifest made anew."""

from __future__ import annotations

import argparse
import sys

import warehouses
from alerts.secrets import redact
from pipelines.errors import OptionsError
from pipelines.nights import nights
from warehouses import InputsTaken, QueryError, StaleRun
from warehouses.places import FORMS

_EXAMPLES = """examples:
  broker compact --warehouse ./warehouse
  broker compact --warehouse gs://BUCKET/FOLDER --night 2026-11-01..2026-11-23
  broker compact --warehouse ./warehouse --rebuild"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--warehouse", default="./warehouse", metavar="URI", help=FORMS)
    parser.add_argument(
        "--night", metavar="NIGHT[..NIGHT]", help="only these nights: 2026-11-01..2026-11-23 (default: all of them)"
    )
    parser.add_argument(
        "--rebuild",
        action="store_true",
        help="make the manifest anew of the files that are there, after some were deleted, added or damaged by hand",
    )
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def main(arguments: argparse.Namespace) -> int:
    """Do it, and tell how many files there were and are; gives the exit status."""
    try:
        between = nights(arguments.night) if arguments.night else None
        place = warehouses.at(arguments.warehouse)
    except (QueryError, OptionsError) as error:
        print(f"broker compact: {redact(str(error))}", file=sys.stderr)
        return 2
    try:
        if arguments.rebuild:
            print(f"{place.uri}: the manifest names the {place.rebuild():,} files that are there")
            return 0
        done = place.compact(between)
    except QueryError as error:
        print(f"broker compact: {redact(str(error))}", file=sys.stderr)
        return 2
    except (OSError, ValueError, InputsTaken, StaleRun) as error:
        print(f"broker compact: {redact(str(error))}", file=sys.stderr)
        return 1
    print(f"{place.uri}: {done.before:,} files before, {done.after:,} after")
    return 0
