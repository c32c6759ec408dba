"""Line (c): archive to Parquet, everybody on the same archives, in one process that does nothing else.

Every job runs on two sizes: what an alert costs is the difference, what is left is what the run costs before its first alert.
"""

from __future__ import annotations

import functools
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.apart import apart
from benchmarks.jobs import (
    Given,
    Job,
    bare_decompression,
    bare_decompression_by_gzip,
    naive_in_a_loop,
    naive_in_beam,
    ours_in_a_loop,
    ours_in_beam,
)
from benchmarks.samples import Sample, cut
from benchmarks.tables import MarkdownTable
from benchmarks.timing import Timing, taking_turns

ROUNDS = 4
"""Two in each direction."""
SMALL_PART = 8
"""The small archive is of so much of the large one's alerts."""
BARE, BARE_GZIP = "decompression alone, zlib-ng", "decompression alone, gzip"
OURS, LOOP = "ours, in Beam", "ours, plain loop"
NAIVE = "naive, in Beam"
CANDIDATE, EVERYTHING = "candidate", "with stamps and history"
KERNEL = "of that in the kernel"
OVER_BARE, OVER_OURS, FASTER = "x bare decompression (zlib-ng)", "x ours in Beam", "x faster than naive in Beam"
"""Columns."""
_JOBS: dict[str, Job] = {OURS: ours_in_beam, LOOP: ours_in_a_loop, NAIVE: naive_in_beam, "naive, plain loop": naive_in_a_loop}
_BARE: dict[str, Job] = {BARE: bare_decompression, BARE_GZIP: bare_decompression_by_gzip}


@dataclass(frozen=True)
class RunCost:
    """What a job takes, round by round: CPU seconds per further alert, and before the first one."""

    slopes: tuple[float, ...]
    starts: tuple[float, ...]
    kernel_slopes: tuple[float, ...] = ()
    """What of the slopes the kernel took."""

    @property
    def micros(self) -> float:
        """Microseconds per alert, median of the rounds."""
        return statistics.median(self.slopes) * 1e6

    @property
    def kernel_micros(self) -> float:
        """What of that in the kernel, median of the rounds."""
        return statistics.median(self.kernel_slopes) * 1e6

    @property
    def start_secs(self) -> float:
        """Seconds before the first alert, median of the rounds."""
        return statistics.median(self.starts)

    def over(self, other: RunCost) -> float:
        """How many times the CPU per alert of ``other``: median of the rounds' ratios."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.slopes, other.slopes, strict=True))


def between(small: Timing, large: Timing, small_alerts: int, large_alerts: int) -> RunCost:
    """The cost from the timings of two sizes."""

    def slopes(few: tuple[float, ...], many: tuple[float, ...]) -> tuple[float, ...]:
        further = large_alerts - small_alerts
        return tuple((b * large_alerts - a * small_alerts) / further for a, b in zip(few, many, strict=True))

    whole = slopes(small.secs, large.secs)
    starts = tuple((secs - slope) * small_alerts for secs, slope in zip(small.secs, whole, strict=True))
    return RunCost(whole, starts, slopes(small.kernel_secs, large.kernel_secs))


def end_to_end(sample: Sample, catalog: Path, alerts: int, folder: Path) -> MarkdownTable:
    """CPU per alert of whole runs over ``alerts`` packets of a sample, and ratios."""
    sizes = (alerts // SMALL_PART, alerts)
    archives = {size: cut(sample.archive, size, folder) for size in sizes}
    costs: dict[str, RunCost] = apart(measured, sample.survey, catalog, archives, ROUNDS)
    columns = ["run", "µs per alert", KERNEL, "start, s", OVER_BARE, OVER_OURS, FASTER]
    table = MarkdownTable(f"Archive .tar.gz to Parquet, {sample.name}, {alerts:,} alerts", columns)
    for name, cost in costs.items():
        extent = next((kind for kind in (CANDIDATE, EVERYTHING) if name.endswith(kind)), None)
        cells = {"run": name, "µs per alert": cost.micros, KERNEL: cost.kernel_micros, "start, s": cost.start_secs}
        cells[OVER_BARE] = cost.over(costs[BARE])
        if extent:
            cells[OVER_OURS] = cost.over(costs[f"{OURS}: {extent}"])
            cells[FASTER] = costs[f"{NAIVE}: {extent}"].over(cost)
        table.add_row(cells)
    table.notes.append(
        f"CPU of the process and its children, median of {ROUNDS} rounds in turns, every other one backwards; per alert: "
        f"the difference between {sizes[0]:,} and {sizes[1]:,} alerts. Cross-matched with a million sources in a file, "
        "within 5 arcsec."
    )
    return table


def measured(survey: str, catalog: Path, archives: dict[int, Path], rounds: int) -> dict[str, RunCost]:
    """The cost of every job over two archives, by number of their alerts."""
    small, large = sorted(archives)
    jobs = {name: (job, False) for name, job in _BARE.items()}
    for extent in (CANDIDATE, EVERYTHING):
        jobs.update({f"{name}: {extent}": (job, extent == EVERYTHING) for name, job in _JOBS.items()})
    runs: dict[str, Callable[[], int]] = {}
    for name, (job, everything) in jobs.items():
        for size in (small, large):
            given = Given(archives[size], survey, catalog, everything)
            runs[f"{name} {size}"] = functools.partial(_once, job, given, size)
    timings = taking_turns(runs, rounds, cold=[f"{name} {large}" for name in jobs])
    return {name: between(timings[f"{name} {small}"], timings[f"{name} {large}"], small, large) for name in jobs}


def _once(job: Job, given: Given, alerts: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "out")
        job(given, out)
        shutil.rmtree(out, ignore_errors=True)
    return alerts
