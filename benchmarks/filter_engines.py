"""Filters: whether all engines say the same of the same alert, over many random filters and every real packet that is at hand.

    python -m benchmarks.filter_engines [--filters 500] [--seed 11] [--no_google]

The pipeline's verdicts and columns (``judge``) are held against an oracle that goes row by row, DuckDB, and Google's
reference engine (``make .venv-zetasql/installed``; of real packets the first 24, as each filter sends it the rows anew). Tells of
each filter that differs, and ends with status 1 if there is one.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from alerts.avro.patience import PATIENCE
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.tree import Query
from alerts.filters.write import canonical
from alerts.surveys import SURVEYS
from benchmarks.apart import quiet
from benchmarks.tables import MarkdownTable
from tests.alerts.filters.engines import MISSING, ZETASQL, Said, by_duckdb, by_google, by_python, by_rows, differences, numbered
from tests.alerts.filters.random_filters import WORDS, whole_filter
from tests.alerts.filters.rows import odd_batch, real
from tests.alerts.filters.written import GOOD, ODD, OF_LSST
from tests.conftest import RealData

_OF_GOOGLE = 24
"""Real packets that the reference engine is asked about."""
_AT_ONCE = 50
_TITLE = "One filter, one verdict: filters of which an engine says otherwise than the pipeline, of some alert"
_ENGINES = ("row by row", "DuckDB", "GoogleSQL")
_COLUMNS = ("alerts", "filters", "true", "false", "NULL", *_ENGINES)
_FILTERS, _SEED = 500, 11
Ask = Callable[[Sequence[Query]], list[Said]]


def engines(count: int = _FILTERS, seed: int = _SEED, google: bool = True) -> MarkdownTable:
    """How many filters differ, by rows and engine; each is told on stderr."""
    PATIENCE.begin()
    table = MarkdownTable(_TITLE, ["rows", *_COLUMNS])
    if google and not (ZETASQL / "installed").exists():
        google = False
        table.notes.append(f"Not asked: {MISSING}.")
    for name, survey, rows in _rows():
        queries = list(_queries(survey, count, seed))
        dicts, first = rows.to_pylist(), rows.slice(0, rows.num_rows if name == "odd" else _OF_GOOGLE)
        asked: dict[str, tuple[pa.RecordBatch, Ask]] = {
            "row by row": (rows, lambda few, dicts=dicts: [by_rows(query, dicts) for query in few]),  # type: ignore[misc]
            "DuckDB": (rows, lambda few, rows=rows: by_duckdb(few, rows)),  # type: ignore[misc]
        }
        if google:
            asked["GoogleSQL"] = (first, lambda few, first=first: by_google(few, first))  # type: ignore[misc]
        verdicts, wrong = _compared(queries, rows, asked)
        told = {"true": verdicts[True], "false": verdicts[False], "NULL": verdicts[None]}
        table.add_row(
            {"rows": name, "alerts": rows.num_rows, "filters": len(queries), **told, **{key: wrong[key] for key in asked}}
        )
    return table


def _rows() -> Iterator[tuple[str, str, pa.RecordBatch]]:
    yield "odd", "ztf", odd_batch()
    for survey in WORDS:
        yield f"real packets of {survey}", survey, numbered(real(RealData(), survey))


def _queries(survey: str, count: int, seed: int) -> Iterator[Query]:
    rng, row = random.Random(seed), row_of(SURVEYS[survey])
    for condition in OF_LSST if survey == "lsst" else [*GOOD, *ODD]:
        yield parse(f"SELECT alert_id, object_id AS o, observed_at AS t FROM alerts WHERE {condition}", row)
    for _ in range(count):
        yield parse(whole_filter(rng, WORDS[survey]), row)


def _compared(
    queries: Sequence[Query], rows: pa.RecordBatch, asked: dict[str, tuple[pa.RecordBatch, Ask]]
) -> tuple[Counter[bool | None], Counter[str]]:
    verdicts, wrong = Counter[bool | None](), Counter[str]()
    for begin in range(0, len(queries), _AT_ONCE):
        few = queries[begin : begin + _AT_ONCE]
        expected = by_python(few, rows)
        verdicts.update(verdict for said in expected for verdict, _ in said)
        for name, (own, ask) in asked.items():
            started = time.monotonic()
            for query, first, second in zip(few, expected, ask(few), strict=True):
                found = differences(first[: own.num_rows], second)
                if found:
                    wrong[name] += 1
                    print(f"{name}: {canonical(query)}\n    {found[:2]}", file=sys.stderr, flush=True)
            print(f"{name}: {len(few)} filters in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return verdicts, wrong


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print; gives the exit status."""
    parser = argparse.ArgumentParser(description="Whether all engines say the same of the same alert.")
    parser.add_argument("--filters", type=int, default=_FILTERS, help="random ones, for each kind of rows (default 500)")
    parser.add_argument("--seed", type=int, default=_SEED, help="of the random filters")
    parser.add_argument(
        "--no_google", action="store_true", help="without Google's reference engine, which takes most of the time"
    )
    given = parser.parse_args(argv)
    quiet()
    table = engines(given.filters, given.seed, not given.no_google)
    print(table.to_markdown())
    return 1 if any(row.get(name) for row in table.rows for name in _ENGINES) else 0


if __name__ == "__main__":
    sys.exit(main())
