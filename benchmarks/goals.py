"""The goals of ``docs/performance.md``, each with what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks import decoding, end_to_end, features, stages
from benchmarks.resources import NIGHT, of_a_night_mb
from benchmarks.tables import Cell, MarkdownTable

_MEMORY_MB = 2000


@dataclass(frozen=True)
class Goal:
    """A number to reach: ``limit`` at least, or at most; None where it is shown for comparison."""

    name: str
    limit: float | None
    at_least: bool
    measured: Callable[[str], Cell]
    """By the name of a sample; None where it was not measured."""


def goals(
    decoded: MarkdownTable,
    staged: MarkdownTable,
    featured: MarkdownTable,
    runs: Mapping[str, MarkdownTable],
    memory: MarkdownTable,
) -> MarkdownTable:
    """A row for every goal, a column for every sample with whole runs; reached where all of them have reached it."""
    found = [*_of_runs(runs), *_of_decoding(decoded), _of_pixels(staged), _of_features(featured), _of_memory(memory)]
    table = MarkdownTable("Goals", ["goal", "limit", *runs, "reached"])
    for goal in found:
        values = {name: goal.measured(name) for name in runs}
        numbers = [value for value in values.values() if isinstance(value, (int, float))]
        sign = "≥" if goal.at_least else "≤"
        reached = all(value >= goal.limit if goal.at_least else value <= goal.limit for value in numbers) if goal.limit else None
        limit = f"{sign} {goal.limit:g}" if goal.limit else "(for comparison)"
        table.add_row({"goal": goal.name, "limit": limit, **values, "reached": reached if numbers else None})
    return table


def _of_runs(runs: Mapping[str, MarkdownTable]) -> list[Goal]:
    def cell(extent: str, column: str) -> Callable[[str], Cell]:
        return lambda sample: runs[sample].cell(f"{end_to_end.OURS}: {extent}", column)

    def over_gzip(extent: str) -> Callable[[str], Cell]:
        def measured(sample: str) -> Cell:
            ours, gzip = (
                runs[sample].cell(row, "µs per alert") for row in (f"{end_to_end.OURS}: {extent}", end_to_end.BARE_GZIP)
            )
            return ours / gzip

        return measured

    found = []
    for extent, most, least in ((end_to_end.CANDIDATE, 1.25, 6.0), (end_to_end.EVERYTHING, 2.5, 4.0)):
        run = f"archive to Parquet in Beam, {extent}:"
        found += [
            Goal(f"{run} CPU over bare decompression (zlib-ng)", most, False, cell(extent, end_to_end.OVER_BARE)),
            Goal(f"{run} CPU over bare decompression (Python's gzip)", None, False, over_gzip(extent)),
            Goal(f"{run} times faster than a naive Beam job", least, True, cell(extent, end_to_end.FASTER)),
            Goal(f"{run} CPU over the same functions in a plain loop", 1.3, False, _over_loop(runs, extent)),
        ]
    return found


def _over_loop(runs: Mapping[str, MarkdownTable], extent: str) -> Callable[[str], Cell]:
    def measured(sample: str) -> Cell:
        part = runs[sample].cell(f"{end_to_end.LOOP}: {extent}", end_to_end.OVER_OURS)
        return 1 / part

    return measured


def _of_decoding(decoded: MarkdownTable) -> list[Goal]:
    def cell(want: str) -> Callable[[str], Cell]:
        return lambda sample: decoded.cell(f"ours, {want}", f"{sample}, x faster")

    def goal(want: str, least: float | None) -> Goal:
        return Goal(f"packets in memory to RecordBatch, {want}: times faster than {decoding.NAIVE}", least, True, cell(want))

    limits = {"candidate": 60.0, "candidate and stamps": 25.0, "everything": 8.0}
    return [row for want, least in limits.items() for row in (goal(want, least), goal(f"{want}{decoding.ALONE}", None))]


def _of_pixels(staged: MarkdownTable) -> Goal:
    def measured(sample: str) -> Cell:
        return staged.cell(stages.ASTROPY_PIXELS, sample) / staged.cell(stages.OUR_PIXELS, sample)

    return Goal("stamps to pixels: times faster than gunzip and astropy", 6.0, True, measured)


def _of_features(featured: MarkdownTable) -> Goal:
    def measured(sample: str) -> Cell:
        return featured.cell(sample, features.OVER_DECODING)

    return Goal(features.OVER_DECODING, 0.3, False, measured)


def _of_memory(memory: MarkdownTable) -> Goal:
    def measured(sample: str) -> Cell:
        night_mb = of_a_night_mb(memory) if sample in memory.title else None
        return None if night_mb is None else round(night_mb)

    return Goal(f"memory of a night of {NIGHT:,} alerts, MB (extrapolated)", _MEMORY_MB, False, measured)
