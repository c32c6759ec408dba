"""Lines (d) and (e): memory against the number of alerts, and what a second worker process gains."""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.apart import apart, quiet
from benchmarks.jobs import Given, ours_in_a_loop, ours_in_beam
from benchmarks.samples import Sample, cut
from benchmarks.tables import MarkdownTable

NIGHT = 1_000_000
MEMORY_ALERTS = (1_000, 10_000)
FULL_ALERTS = 100_000
_FULL_DISK_BYTES = 20 * 2**30
"""The archive of 100,000 packets, the warehouse made of it, and some."""
ROUNDS = 3


def memory(sample: Sample, catalog: Path, folder: Path, full: bool, alerts: tuple[int, ...] = MEMORY_ALERTS) -> MarkdownTable:
    """Peak memory of processes that do one whole ingest each, with everything in it."""
    table = MarkdownTable(f"Memory of broker ingest, {sample.name}, stamps and history", ["alerts", "archive", "peak, MB"])
    sizes = [(count, suffix) for suffix in (".tar.gz", ".tar") for count in alerts]
    if full and shutil.disk_usage(folder).free > _FULL_DISK_BYTES:
        sizes.append((FULL_ALERTS, ".tar"))
    elif full:
        table.notes.append(f"{FULL_ALERTS:,} alerts were not tried: they need {_FULL_DISK_BYTES // 2**30} GB in {folder}.")
    else:
        table.notes.append(f"{FULL_ALERTS:,} alerts: with --full.")
    for count, suffix in sizes:
        archive = cut(sample.archive, count, folder, suffix)
        peak_mb = apart(_peak_mb, Given(archive, sample.survey, catalog, everything=True))
        table.add_row({"alerts": count, "archive": suffix, "peak, MB": round(peak_mb)})
        if count == FULL_ALERTS:
            archive.unlink()
    night_mb = of_a_night_mb(table)
    if night_mb is not None:
        table.notes.append(f"A night of {NIGHT:,}, on by the slope of the last two: {night_mb:,.0f} MB.")
    return table


def of_a_night_mb(table: MarkdownTable) -> float | None:
    """The peak of a night of a million, MB, extrapolated; None from small nights, in which it is still growing."""
    measured = sorted((row["alerts"], row["peak, MB"]) for row in table.rows if row["archive"] == ".tar")
    (fewer, before), (more, after) = measured[-2:]
    if more < FULL_ALERTS:
        return None
    return after + max(0.0, (after - before) / (more - fewer)) * (NIGHT - more)


def _peak_mb(given: Given) -> float:
    with tempfile.TemporaryDirectory() as folder:
        ours_in_beam(given, Path(folder, "out"))
    # Not ru_maxrss: Linux counts in it what the parent had when it started us.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)[1]) / 1024


def scaling(sample: Sample, catalog: Path, alerts: int, folder: Path) -> MarkdownTable:
    """Alerts per second of the wall's clock, beyond what a run takes to start, by number of processes."""
    small, large = (cut(sample.archive, count, folder, ".tar") for count in (alerts // 4, alerts))
    further = alerts - alerts // 4
    runs: dict[str, Callable[[Path], None]] = {
        "broker ingest, 1 worker process": functools.partial(_ingest, sample.survey, catalog, 1),
        "broker ingest, 2 worker processes (--direct_num_workers 2)": functools.partial(_ingest, sample.survey, catalog, 2),
        "plain loop, 1 process": functools.partial(_loops, sample.survey, catalog, 1),
        "plain loop, 2 processes, each all of it": functools.partial(_loops, sample.survey, catalog, 2),
    }
    rates: dict[str, list[float]] = {name: [] for name in runs}
    starts: dict[str, list[float]] = {name: [] for name in runs}
    for _, (name, run) in itertools.product(range(ROUNDS), runs.items()):
        few, many = _wall_secs(run, small), _wall_secs(run, large)
        done = further * (2 if "each" in name else 1)
        rates[name].append(done / (many - few) if many > few else float("inf"))
        starts[name].append(few - (many - few) / 3)
    columns = ["run", "alerts/s", "x 1 process", "start, s"]
    table = MarkdownTable(f"Processes, {sample.name}, plain .tar of {alerts:,} alerts with stamps and history", columns)
    for name in runs:
        rate = statistics.median(rates[name])
        alone = statistics.median(rates[next(run for run in runs if run.split(",")[0] == name.split(",")[0])])
        table.add_row({columns[0]: name, columns[1]: rate, columns[2]: rate / alone, columns[3]: statistics.median(starts[name])})
    table.notes.append("The wall's clock, median of 3: whoever else uses the cores is in it.")
    return table


def _wall_secs(run: Callable[[Path], None], archive: Path) -> float:
    begin = time.monotonic()
    run(archive)
    return time.monotonic() - begin


def _ingest(survey: str, catalog: Path, workers: int, archive: Path) -> None:
    apart(_run, ours_in_beam, Given(archive, survey, catalog, everything=True, workers=workers))


def _loops(survey: str, catalog: Path, processes: int, archive: Path) -> None:
    given = Given(archive, survey, catalog, everything=True)
    with multiprocessing.get_context("spawn").Pool(processes, quiet) as pool:
        pool.starmap(_run, [(ours_in_a_loop, given)] * processes, chunksize=1)


def _run(job: Callable[[Given, Path], None], given: Given) -> None:
    with tempfile.TemporaryDirectory() as folder:
        job(given, Path(folder, "out"))
