"""What the first ingest on a machine takes beside every other: CPU of whole processes, that of 20 alerts and of a night.

    python -m benchmarks.first_ingest

numba keeps what it has compiled in a folder, which is a new one for each first run here. With none of it to be had, a run of a
few alerts compiles nothing (``alerts.avro.patience``), and a longer one does once it gains by it.
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import simulated
from benchmarks.tables import MarkdownTable
from benchmarks.timing import cpu_secs

FEW, NIGHT = 20, 4096
ROUNDS = 3
_GOALS = f"Goals: {FEW} alerts again in at most 2.0 s, the first time in at most 3 s more."
_COMPILE, _LOAD = "python -m alerts.compiling, the first time", "python -m alerts.compiling, again"


def first_ingest(folder: Path) -> MarkdownTable:
    """Ingests into a folder, each in a process of its own, with nothing kept and again."""
    secs: dict[str, list[float]] = {}
    archives = {count: simulated(folder / f"first-{count}", "ztf", count).archive for count in (FEW, NIGHT)}
    for number in range(ROUNDS):
        for count, archive in archives.items():
            for which in ("the first time", "again"):
                run = functools.partial(_ingest, archive, folder / f"kept-{number}-{count}")
                secs.setdefault(f"broker ingest of {count:,} alerts, {which}", []).append(_cpu_of(run))
        for what in (_COMPILE, _LOAD):
            compiled = functools.partial(_process, ["-m", "alerts.compiling"], folder / f"kept-{number}")
            secs.setdefault(what, []).append(_cpu_of(compiled))
    table = MarkdownTable("The first run on a machine", ["process", "CPU, s"], notes=[_GOALS])
    for what, found in secs.items():
        table.add_row({"process": what, "CPU, s": statistics.median(found)})
    return table


def _cpu_of(run: functools.partial[None]) -> float:
    begin = cpu_secs()[0]
    run()
    return cpu_secs()[0] - begin


def _ingest(archive: Path, kept: Path) -> None:
    with tempfile.TemporaryDirectory() as made:
        _process(["-m", "broker", "ingest", "--input", str(archive), "--warehouse", f"{made}/w"], kept)


def _process(words: list[str], kept: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(kept), "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL, env=environment)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        print(f"{sentence(facts())}\n\n{first_ingest(Path(made)).to_markdown()}")
