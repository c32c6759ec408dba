"""``broker filter``: whether a text is a filter and what is suspicious about it; what filters can ask for."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alerts.filters.row import RowField

_EXAMPLES = """examples:
  broker filter check fast.sql
  broker filter check filters/*.sql --strict
  broker filter columns ztf
  broker filter columns ztf features.r"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked, and its flags."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    asked = parser.add_subparsers(dest="asked", required=True, metavar="check|columns")
    check = asked.add_parser("check", help="whether a file is a filter, of what type its columns are, and what is suspicious")
    check.add_argument("files", nargs="+", metavar="FILE", help="NAME.sql; * and ? stand for more of them")
    check.add_argument("--strict", action="store_true", help="what is suspicious is wrong: status 2")
    columns = asked.add_parser("columns", help="what a filter of a survey can ask for, with types")
    columns.add_argument("survey", metavar="SURVEY", help="ztf, lsst, ...")
    columns.add_argument("below", nargs="?", default="", metavar="PATH", help="only what begins so: candidate, features.r")


def main(arguments: argparse.Namespace) -> int:
    """Check or list; gives the exit status: 0 where all filters are good, 2 where one is not."""
    if arguments.asked == "columns":
        return _columns(arguments.survey, arguments.below)
    from broker.filtering import check  # noqa: PLC0415 - brings the parser, and the surveys' tables

    return check.main(arguments)


def _columns(name: str, below: str) -> int:
    from alerts.errors import UnknownSurvey  # noqa: PLC0415
    from alerts.filters.row import row_of  # noqa: PLC0415 - brings the surveys' tables
    from alerts.surveys import survey  # noqa: PLC0415

    try:
        row = row_of(survey(name))
    except UnknownSurvey as error:
        print(f"broker filter: {error}", file=sys.stderr)
        return 2
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
