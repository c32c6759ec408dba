"""``broker filter``: filters checked, tried over nights of a warehouse, explained term by term; what they can ask for."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from alerts.catalogs.defaults import RADIUS_ARCSEC
from alerts.lists.named import FORM, REGION_HELP, WATCHLIST_HELP
from warehouses.places import FORMS, LIMIT

if TYPE_CHECKING:
    from alerts.filters.row import RowField

_EXAMPLES = """examples:
  broker filter check fast.sql
  broker filter check filters/*.sql --strict
  broker filter check fast.sql --warehouse ./warehouse --reference_night 2026-11-01..07
  broker filter try fast.sql --warehouse ./warehouse --night 2026-11-01..07 --sample 20 --stamps page.html
  broker filter explain fast.sql 975188145315010126 --warehouse ./warehouse
  broker filter explain fast.sql --night 2026-11-01 --warehouse ./warehouse
  broker filter try near.sql --warehouse ./warehouse --region GW1=skymap.fits.gz?level=0.5 --watchlist mine=places.csv
  broker filter columns ztf
  broker filter columns ztf features.r"""


_MODULES = {"check": "check", "try": "tryout", "explain": "explain"}
_NIGHTS = "this night, or from one to another: 2026-11-01..2026-11-23, or 2026-11-01..23"
_MOST_SAMPLED = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked, and its flags."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    asked = parser.add_subparsers(dest="asked", required=True, metavar="check|try|explain|columns")
    check = asked.add_parser("check", help="whether a file is a filter, of what type its columns are, and what is suspicious")
    check.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="NAME.sql, or NAME.py, which is not executed; * and ? stand for more of them",
    )
    check.add_argument("--strict", action="store_true", help="what is suspicious is wrong: status 2")
    check.add_argument(
        "--reference_night",
        metavar="NIGHT[..NIGHT]",
        help="hold max_rate of the filter's header on each of these nights of the warehouse: 2026-11-01, or 2026-11-01..07",
    )
    tried = asked.add_parser(
        "try", help="what a filter makes of nights in a warehouse: a line for each, and a sample of what passes"
    )
    tried.add_argument("file", metavar="FILE", help="NAME.sql")
    tried.add_argument("--night", metavar="NIGHT[..NIGHT]", help=f"{_NIGHTS} (default: the newest)")
    tried.add_argument(
        "--sample",
        type=_count,
        metavar="N",
        help="show so many of the alerts that pass, always the same (default with --stamps: 20)",
    )
    tried.add_argument("--stamps", metavar="PAGE.html", help="write the sample there with stamps and light curves, as one page")
    explained = asked.add_parser(
        "explain", help="why an alert passes or does not, term by term; or over nights, how many each term lets through"
    )
    explained.add_argument("file", metavar="FILE", help="NAME.sql")
    explained.add_argument("alert_id", nargs="?", type=int, metavar="ALERT_ID", help="an alert of the warehouse")
    explained.add_argument("--night", metavar="NIGHT[..NIGHT]", help=f"in place of ALERT_ID all alerts: {_NIGHTS}")
    for command in (check, tried, explained):
        # check looks at a warehouse only where it is asked about its nights.
        default = None if command is check else "./warehouse"
        command.add_argument("--warehouse", default=default, metavar="URI", help=FORMS)
        command.add_argument("--survey", metavar="NAME", help="where the filter is of several surveys: only this one's alerts")
        command.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
        _add_lists(command)
    columns = asked.add_parser("columns", help="what a filter of a survey can ask for, with types")
    columns.add_argument("survey", metavar="SURVEY", help="ztf, lsst, ...")
    _add_lists(columns)
    columns.add_argument("below", nargs="?", default="", metavar="PATH", help="only what begins so: candidate, features.r")


def _add_lists(command: argparse.ArgumentParser) -> None:
    command.add_argument("--watchlist", action="append", metavar=FORM, help=WATCHLIST_HELP)
    command.add_argument("--region", "--sky_region", dest="sky_region", action="append", metavar=FORM, help=REGION_HELP)
    command.add_argument(
        "--radius_arcsec",
        type=float,
        default=RADIUS_ARCSEC,
        metavar="ARCSEC",
        help=f"radius of places of a watchlist that have none of their own (default {RADIUS_ARCSEC:g})",
    )


def _count(text: str) -> int:
    if not (text.isdigit() and int(text) <= _MOST_SAMPLED):
        raise argparse.ArgumentTypeError(f"{text!r} is no number up to {_MOST_SAMPLED:,}")
    return int(text)


def main(arguments: argparse.Namespace) -> int:
    """Do what is asked; gives the exit status: 0 where it could be done and nothing is wrong, else 2."""
    if arguments.asked == "columns":
        return _columns(arguments)
    # Each brings the parser, and the surveys' tables.
    module = importlib.import_module(f"broker.filtering.{_MODULES[arguments.asked]}")
    return int(module.main(arguments))


def _columns(arguments: argparse.Namespace) -> int:
    name, below = arguments.survey, arguments.below
    from alerts.errors import UnknownSurvey  # noqa: PLC0415
    from alerts.filters.row import row_of  # noqa: PLC0415 - brings the surveys' tables
    from alerts.surveys import survey  # noqa: PLC0415
    from broker.filtering.reading import failed, lists_in  # noqa: PLC0415
    from pipelines.errors import OptionsError  # noqa: PLC0415

    try:
        row = row_of(survey(name), lists_in(arguments).names)
    except UnknownSurvey as error:
        print(f"broker filter: {error}", file=sys.stderr)
        return 2
    except OptionsError as error:
        return failed("columns", error)
    lines = [(path, kind, what) for path, kind, what in _told(row, "") if path.casefold().startswith(below.casefold())]
    if not lines:
        print(f"broker filter: nothing of {name} begins with {below!r}; leave it out to see all", file=sys.stderr)
        return 2
    width = max(len(path) for path, _, _ in lines)
    for path, kind, what in lines:
        print(f"{path:<{width}}  {kind:<9}  {what}".rstrip())
    return 0


def _told(field: RowField, prefix: str) -> Iterator[tuple[str, str, str]]:
    """Path, type and description of the fields below one."""
    for inner in field.fields:
        path = f"{prefix}{inner.name}{'[]' * inner.is_array}"
        if inner.type == "RECORD":
            yield from _told(inner, f"{path}.")
        else:
            missing = f" NULL where the packet has {', '.join(map(str, sorted(inner.missing, key=str)))}." * bool(inner.missing)
            yield path, inner.type, f"{inner.description}{missing}".strip()
