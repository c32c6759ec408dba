"""All measurements in one go: the others, the naive ways and ours, on the same packets, side by side.

    python -m benchmarks.bench [--alerts 8192] [--json FILE] [--into docs/performance.md] [--full]

Prints Markdown: the machine, a table for each line of ``docs/performance.md``, and the goals. Simulated nights, and real
ones where $PITT_BROKER_DATA (or ../shared/data) has them. The peers are measured where they are installed ('.[bench]').
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import features, filter_engines, filters
from benchmarks.apart import quiet
from benchmarks.catalog import write_catalog
from benchmarks.decoding import decoding
from benchmarks.end_to_end import end_to_end
from benchmarks.first_ingest import first_ingest
from benchmarks.goals import goals
from benchmarks.instructions import CannotCount, counted
from benchmarks.machine_facts import facts, sentence
from benchmarks.resources import memory, scaling
from benchmarks.samples import WHOLE_RUNS, real, simulated
from benchmarks.sinks import sinks
from benchmarks.stages import stages
from benchmarks.start import start
from benchmarks.tables import MarkdownTable
from benchmarks.year import FOLDER, NIGHTS, year

MARK = "<!-- measured -->"
_DISTINCT = 2048
"""Distinct packets of the simulated nights; larger archives hold them several times."""
_CLOUD_ALERTS = 200
_CLOUD = "Pub/Sub packet to BigQuery row"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(description="The others, the naive ways and ours, on the same packets.")
    parser.add_argument("--alerts", type=int, default=8192, help="packets of the whole runs (default 8192: some 20 minutes)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the same there, as JSON")
    parser.add_argument("--into", type=Path, metavar="FILE", help=f"put the same into a file, behind its line {MARK}")
    parser.add_argument(
        "--full", action="store_true", help="also 100,000 alerts (20 GB of disk), and the stream into BigQuery on emulators"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only decoding and whole runs: what a change of the code changes first"
    )
    given = parser.parse_args(argv)
    frame = _frame(parser, given.into)
    quiet()
    found = facts()
    parts = [sentence(found)]
    print(f"{parts[0]}\n", flush=True)
    tables = []
    with tempfile.TemporaryDirectory() as folder:
        for table in _tables(given.alerts, Path(folder), given.full, given.quick):
            tables.append(table)
            parts.append(table.to_markdown())
            print(f"{parts[-1]}\n", flush=True)
    if given.json:
        measured = {"machine": found, "tables": [table.to_json() for table in tables]}
        given.json.write_text(json.dumps(measured, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if given.into:
        given.into.write_text("\n\n".join([frame + MARK, *parts]) + "\n", encoding="utf-8")
    return 0


def streams(full: bool) -> Iterator[MarkdownTable]:
    """Streams in rounds, and the relay; without Kafka's client, or a Kafka, a table of no rows that says so."""
    try:
        from benchmarks.relay import relay  # noqa: PLC0415 - of an extra
        from benchmarks.rounds import rounds  # noqa: PLC0415 - of an extra
        from tests.emulators.kafka_server import missing  # noqa: PLC0415
    except ImportError as error:
        why: str | None = f"not measured: {error}"
    else:
        why = missing()
    if why:
        yield MarkdownTable("Rounds over a backlog", ["night"], notes=[why])
        return
    yield from rounds(20_000, 60.0, 10 if full else 3)
    yield relay()


def _frame(parser: argparse.ArgumentParser, file: Path | None) -> str:
    """What stands before the mark; a file without it is refused before anything is measured."""
    if file is None:
        return ""
    before, mark, _ = file.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        parser.error(f"{file} has no line {MARK}")
    return before


def _tables(alerts: int, folder: Path, full: bool, quick: bool) -> Iterator[MarkdownTable]:
    """The tables one by one as they are measured, the goals last; ``quick``: of decoding and of whole runs only."""
    nights = [simulated(folder, survey, min(alerts, _DISTINCT)) for survey in ("ztf", "lsst")]
    catalog = write_catalog(nights[0].archive.parent / "catalog.parquet", folder / "catalog.parquet")
    samples = [*nights, *real()]
    yield (decoded := decoding(samples))
    if not quick:
        yield _instructions()
        yield (staged := stages(samples, catalog, folder))
        yield (featured := features.cost(samples))
        yield features.same_as_light_curve(samples)
        yield filters.cost(samples)
        yield filter_engines.engines()
    runs: dict[str, MarkdownTable] = {}
    for sample in [sample for sample in samples if sample.name in WHOLE_RUNS]:
        runs[sample.name] = end_to_end(sample, catalog, alerts, folder)
        yield runs[sample.name]
    if quick:
        return
    yield (measured := memory(nights[0], catalog, folder, full))
    yield scaling(nights[0], catalog, 2 * alerts, folder)
    yield from year(FOLDER, NIGHTS, with_commits=True)
    yield from streams(full)
    yield start(folder)
    yield first_ingest(folder)
    yield from sinks()
    yield _cloud(full)
    yield goals(decoded, staged, featured, runs, measured)


def _instructions() -> MarkdownTable:
    try:
        return counted()
    except CannotCount as error:
        return MarkdownTable("Instructions per alert", [], notes=[f"Not counted: {error}"])


def _cloud(full: bool) -> MarkdownTable:
    """What ``benchmarks.cloud`` prints, as a table."""
    table = MarkdownTable(_CLOUD, ["run"])
    if not full:
        table.notes.append("Not measured: with --full, or python -m benchmarks.cloud.")
    elif importlib.util.find_spec("bqemulator") is None:
        table.notes.append("Not measured, no BigQuery emulator: pip install --constraint constraints.txt '.[cloud]'.")
    else:
        command = [sys.executable, "-m", "benchmarks.cloud", "--alerts", str(_CLOUD_ALERTS)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=Path(__file__).parents[1])
        lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if line.startswith("|")]
        table.columns = lines[0]
        for line in lines[2:]:
            table.add_row(dict(zip(lines[0], line, strict=True)))
    return table


if __name__ == "__main__":
    sys.exit(main())
