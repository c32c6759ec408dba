"""What the filters of ``examples`` select of the real nights on this machine, as ``broker filter try`` counts it.

Those that ask about lists are asked about simulated nights, which have lists of their own.

python -m benchmarks.filter_rates [--lists] [--into docs/filters.md]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import warehouses
from alerts.catalogs.defaults import RADIUS_ARCSEC
from alerts.lists.own_lists import NO_OWN_LISTS, OwnLists
from benchmarks.samples import real_data
from broker.filtering.judged_nights import JudgedNights
from broker.filtering.reading import FilterFile, read
from pipelines import ingest
from pipelines.lists import lists_of
from simulation import Night, write_night
from warehouses.warehouse import Warehouse

EXAMPLES = Path(__file__).parents[1] / "examples"
SIMULATED = {"ztf": 2_000, "lsst": 2_000}
"""Alerts of the simulated nights, of seed 1."""
_NIGHTS = "2000-01-01..2099-12-31"
_HEAD = "| filter | after | survey | seen | passed | rate | rejected by NULL |", "|---|---|---|--:|--:|--:|--:|"
_REAL, _MADE = "python -m benchmarks.filter_rates", "python -m benchmarks.filter_rates --lists"


def main() -> int:
    """Ingest the nights, try each filter, and print the tables; gives the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--lists", action="store_true", help="only those that ask about lists, of simulated nights")
    parser.add_argument("--into", type=Path, metavar="PAGE", help="also write the tables between their marks on this page")
    arguments = parser.parse_args()
    folder = None if arguments.lists else real_data()
    if folder is None and not arguments.lists:
        print("there are no real packets here: name their folder by PITT_BROKER_DATA", file=sys.stderr)
        return 1
    tables = {_MADE: of_simulated_nights()}
    if folder is not None:
        tables[_REAL] = of_real_nights(sorted(folder.glob("*/nightly/*.tar.gz")))
    for command, text in tables.items():
        print(text)
        if arguments.into is not None:
            _put(arguments.into, command, text)
    return 0


def of_real_nights(archives: Sequence[Path]) -> str:
    """The table of the filters that ask about no lists."""
    with tempfile.TemporaryDirectory() as place:
        _ingested(archives, place)
        with warehouses.open(place) as opened:
            lines = [*_HEAD, *_lines(opened, "filters", NO_OWN_LISTS)]
    return "\n".join(
        [*lines, "", f"`{_REAL}`, {date.today()}: {len(archives)} archives of real nights, each alert of a night once."]
    )


def of_simulated_nights() -> str:
    """The table of those that do, each night with its own lists."""
    lines = [*_HEAD]
    for survey_name, alerts in SIMULATED.items():
        with tempfile.TemporaryDirectory() as place:
            made = write_night(Night(survey_name, alerts, 1), Path(place, "night"))
            _ingested([made.archive], f"{place}/warehouse")
            folder = made.archive.parent
            lists = lists_of([f"mine={folder}/watchlist.csv"], [f"event={folder}/skymap.fits?level=0.9"], RADIUS_ARCSEC)
            with warehouses.open(f"{place}/warehouse") as opened:
                lines += _lines(opened, "filters_with_lists", lists)
    nights = " and ".join(f"`broker simulate --survey {name} --alerts {alerts}`" for name, alerts in SIMULATED.items())
    return "\n".join([*lines, "", f"`{_MADE}`, {date.today()}: nights of {nights}, each with the lists beside it."])


def _ingested(archives: Sequence[Path], place: str) -> None:
    inputs = [word for archive in archives for word in ("--input", str(archive))]
    if status := ingest.run([*inputs, "--warehouse", place, "--no_cutouts"]):
        raise SystemExit(status)


def _put(path: Path, command: str, text: str) -> None:
    page = path.read_text(encoding="utf-8")
    begin, end = f"<!-- rates: {command} -->", "<!-- rates: end -->"
    put = re.sub(f"{begin}.*?{end}", lambda found: f"{begin}\n\n{text}\n\n{end}", page, flags=re.DOTALL)
    path.write_text(put, encoding="utf-8")


def _lines(opened: Warehouse, folder: str, lists: OwnLists) -> list[str]:
    """A line for each filter and survey, in Markdown."""
    there = {each.name for each in opened.surveys}
    files = [read(path, lists) for path in sorted((EXAMPLES / folder).glob("*.sql"))]
    return [_line(asked, opened, name) for asked in files if asked is not None for name in asked.queries if name in there]


def _line(asked: FilterFile, opened: Warehouse, survey_name: str) -> str:
    judged = JudgedNights(asked, opened, survey_name)
    seen = passed = by_null = 0
    for _, counts, _ in judged.judged(judged.asked_for(_NIGHTS)):
        seen, passed, by_null = seen + counts["seen"], passed + counts["passed"], by_null + counts["rejected_by_null"]
    after = asked.told.reference.removeprefix("after ")
    return f"| `{asked.path.stem}` | {after} | {survey_name} | {seen:,} | {passed:,} | {passed / seen:.4f} | {by_null:,} |"


if __name__ == "__main__":
    sys.exit(main())
