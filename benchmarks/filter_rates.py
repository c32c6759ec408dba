"""What the filters of ``examples/filters`` select of the real nights on this machine, as ``broker filter try`` counts it.

python -m benchmarks.filter_rates [--into docs/filters.md]
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from datetime import date
from pathlib import Path

import warehouses
from benchmarks.samples import real_data
from broker.filtering.judged_nights import JudgedNights
from broker.filtering.reading import FilterFile, read
from pipelines import ingest
from warehouses.warehouse import Warehouse

EXAMPLES = Path(__file__).parents[1] / "examples" / "filters"
_NIGHTS = "2000-01-01..2099-12-31"
_BEGIN, _END = "<!-- rates: python -m benchmarks.filter_rates -->", "<!-- rates: end -->"


def main() -> int:
    """Ingest the nights, try each filter, and print the table; gives the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--into", type=Path, metavar="PAGE", help="also write the table between its marks on this page")
    arguments = parser.parse_args()
    folder = real_data()
    if folder is None:
        print("there are no real packets here: name their folder by PITT_BROKER_DATA", file=sys.stderr)
        return 1
    nights = sorted(folder.glob("*/nightly/*.tar.gz"))
    with tempfile.TemporaryDirectory() as place:
        inputs = [word for night in nights for word in ("--input", str(night))]
        if ingest.run([*inputs, "--warehouse", place, "--no_cutouts"]):
            return 1
        with warehouses.open(place) as opened:
            text = table(opened, len(nights))
    print(text)
    if arguments.into is not None:
        page = arguments.into.read_text(encoding="utf-8")
        put = re.sub(f"{_BEGIN}.*?{_END}", lambda found: f"{_BEGIN}\n\n{text}\n\n{_END}", page, flags=re.DOTALL)
        arguments.into.write_text(put, encoding="utf-8")
    return 0


def table(opened: Warehouse, nights: int) -> str:
    """A line for each filter and survey, in Markdown."""
    lines = ["| filter | after | survey | seen | passed | rate | rejected by NULL |", "|---|---|---|--:|--:|--:|--:|"]
    for path in sorted(EXAMPLES.glob("*.sql")):
        asked = read(path)
        if asked is not None:
            lines += [_line(asked, opened, name) for name in asked.queries if name in {each.name for each in opened.surveys}]
    told = f"`python -m benchmarks.filter_rates`, {date.today()}: {nights} archives of real nights, each alert of a night once."
    return "\n".join([*lines, "", told])


def _line(asked: FilterFile, opened: Warehouse, survey_name: str) -> str:
    judged = JudgedNights(asked, opened, survey_name)
    seen = passed = by_null = 0
    for _, counts, _ in judged.judged(judged.asked_for(_NIGHTS)):
        seen, passed, by_null = seen + counts["seen"], passed + counts["passed"], by_null + counts["rejected_by_null"]
    after = asked.told.reference.removeprefix("after ")
    return f"| `{asked.path.stem}` | {after} | {survey_name} | {seen:,} | {passed:,} | {passed / seen:.4f} | {by_null:,} |"


if __name__ == "__main__":
    sys.exit(main())
