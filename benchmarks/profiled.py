"""Where the CPU of a whole run goes, in Beam and in the plain loop of the same functions: why the one costs more.

    python -m benchmarks.profiled [--alerts 8192]

By cProfile in every thread. Per alert: what a large archive takes more than a small one, function by function, so that the
start of the run is not in it. cProfile makes many small calls look dearer than they are; ratios are for ``benchmarks.bench``.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.apart import apart, quiet
from benchmarks.catalog import write_catalog
from benchmarks.end_to_end import LOOP, OURS, SMALL_PART
from benchmarks.jobs import Given, Job, ours_in_a_loop, ours_in_beam
from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import cut, simulated
from benchmarks.tables import MarkdownTable

_HERE = Path(__file__).parents[1]
_SHOWN = 0.01
"""Of the whole; what takes less goes together."""
Spent = dict[str, float]
"""CPU seconds by place."""


def main(argv: Sequence[str] | None = None) -> int:
    """Profile and print; gives the exit status."""
    parser = argparse.ArgumentParser(description="Where the CPU of a whole run goes.")
    parser.add_argument("--alerts", type=int, default=8192, help="packets of the larger run (default 8192)")
    given = parser.parse_args(argv)
    quiet()
    print(f"{sentence(facts())}\n")
    with tempfile.TemporaryDirectory() as folder:
        for everything in (False, True):
            print(f"{_profiled(given.alerts, Path(folder), everything).to_markdown()}\n", flush=True)
    return 0


def _profiled(alerts: int, folder: Path, everything: bool) -> MarkdownTable:
    night = simulated(folder, "ztf", min(alerts, 2048))
    catalog = folder / "catalog.parquet"
    if not catalog.exists():
        write_catalog(night.archive.parent / "catalog.parquet", catalog)
    sizes = (alerts // SMALL_PART, alerts)
    runs = [Given(cut(night.archive, size, folder), night.survey, catalog, everything) for size in sizes]
    jobs: dict[str, Job] = {OURS: ours_in_beam, LOOP: ours_in_a_loop}
    spent = {name: _per_alert_us(*(apart(profile, job, run) for run in runs), *sizes) for name, job in jobs.items()}
    extent = "stamps and history" if everything else "candidate"
    table = MarkdownTable(f"Own time by function, µs per alert, {extent}", ["where", *jobs])
    whole = {name: sum(by_place.values()) for name, by_place in spent.items()}
    places = sorted(set().union(*spent.values()), key=lambda place: -max(by_place.get(place, 0.0) for by_place in spent.values()))
    large = [
        place for place in places if any(by_place.get(place, 0.0) > _SHOWN * whole[name] for name, by_place in spent.items())
    ]
    for place in large:
        table.add_row({"where": place, **{name: by_place.get(place, 0.0) for name, by_place in spent.items()}})
    rest = {name: whole[name] - sum(by_place.get(place, 0.0) for place in large) for name, by_place in spent.items()}
    table.add_row({"where": "all else", **rest})
    table.add_row({"where": "together", **whole})
    return table


def _per_alert_us(small: Spent, large: Spent, few: int, many: int) -> Spent:
    return {place: (secs - small.get(place, 0.0)) / (many - few) * 1e6 for place, secs in large.items()}


def profile(job: Job, given: Given) -> Spent:
    """Own CPU seconds by function, of all threads of a second run: the first one has imported and opened what is needed."""
    with tempfile.TemporaryDirectory() as folder:
        job(given, Path(folder, "first"))
        profiles = [cProfile.Profile(time.thread_time)]
        run = threading.Thread.run

        def watched(thread: threading.Thread) -> None:
            own = cProfile.Profile(time.thread_time)
            profiles.append(own)
            own.runcall(run, thread)

        threading.Thread.run = watched  # type: ignore[method-assign]
        try:
            profiles[0].runcall(job, given, Path(folder, "second"))
        finally:
            threading.Thread.run = run  # type: ignore[method-assign]
        return _by_place(profiles)


def _by_place(profiles: list[cProfile.Profile]) -> Spent:
    spent: Counter[str] = Counter()
    for profile in profiles:
        # A thread that was still waiting has a profile that cannot be read; it has used no time.
        try:
            stats = pstats.Stats(profile)
        except TypeError:
            continue
        for (file, _, function), (_, _, own, _, _) in stats.stats.items():  # type: ignore[attr-defined]
            spent[_place(file, function)] += own
    return dict(spent)


def _place(file: str, function: str) -> str:
    """A function of ours or a built-in one by its name, a library's by the library's."""
    path = Path(file)
    if file == "~":
        return function
    if path.is_relative_to(_HERE) and "site-packages" not in path.parts:
        return f"{path.relative_to(_HERE).with_suffix('').as_posix().replace('/', '.')}.{function}"
    if "site-packages" in path.parts:
        return path.parts[path.parts.index("site-packages") + 1]
    return f"Python's {path.stem}"


if __name__ == "__main__":
    sys.exit(main())
