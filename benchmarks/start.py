"""What a command takes to start: CPU and memory of new processes, beside importing DuckDB and Arrow, without which nobody asks.

python -m benchmarks.start
"""

from __future__ import annotations

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import warehouses
from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import simulated
from benchmarks.tables import MarkdownTable
from benchmarks.timing import taking_turns
from broker import cli

NOTHING, LIBRARIES = "python alone", "import duckdb, pyarrow"
ROUNDS = 5
_ALERTS = 20
_GOALS = "Goals: any --help in at most 0.5 s and 120 MB, query and info in at most 0.7 s and 180 MB."
_BEGIN = "import json, sys\n"
_COMMAND = """
from broker import cli
try:
    cli.main(sys.argv[2:])
except SystemExit:  # argparse has shown the help
    pass
"""
# Not ru_maxrss: Linux counts in it what the parent had when it started us.
_END = """
with open("/proc/self/status") as status:
    [peak_kb] = [int(line.split()[1]) for line in status if line.startswith("VmHWM:")]
with open(sys.argv[1], "a") as file:
    print(json.dumps([peak_kb / 1024, len(sys.modules)]), file=file)
"""


def start(folder: Path) -> MarkdownTable:
    """The help of every command, and questions to a warehouse of a few alerts."""
    night = simulated(folder, "ztf", _ALERTS)
    place = str(folder / "asked")
    ingest = [sys.executable, "-m", "broker", "ingest", "--input", str(night.archive), "--warehouse", place]
    subprocess.run(ingest, check=True, stdout=subprocess.DEVNULL)
    with warehouses.open(place) as opened:
        [alert] = opened.query("SELECT alert_id, object_id, ra_deg, dec_deg FROM ztf_alerts_unique LIMIT 1").to_pylist()
    where = ("--warehouse", place)
    return starts(
        {
            "broker --help": ["--help"],
            **{f"broker {command} --help": [command, "--help"] for command in cli.COMMANDS},
            'broker query "SELECT 1"': ["query", *where, "SELECT 1"],
            "broker query --object": ["query", *where, "--object", str(alert["object_id"])],
            "broker query --cone": ["query", *where, "--cone", f"{alert['ra_deg']},{alert['dec_deg']},5"],
            "broker info": ["info", *where, str(alert["alert_id"])],
        },
        folder,
    )


def starts(commands: Mapping[str, Sequence[str]], folder: Path, rounds: int = ROUNDS) -> MarkdownTable:
    """CPU and memory of new processes that do one of the commands each, by turns, beside what they cannot do without."""
    programs = {NOTHING: (_BEGIN + _END, []), LIBRARIES: (f"{_BEGIN}{LIBRARIES}\n{_END}", [])}
    programs |= {name: (_BEGIN + _COMMAND + _END, [*words]) for name, words in commands.items()}
    notes = {name: folder / f"start-{number}.jsonl" for number, name in enumerate(programs)}
    runs = {name: functools.partial(_run, code, notes[name], words) for name, (code, words) in programs.items()}
    times = taking_turns(runs, rounds)
    table = MarkdownTable(
        "Starting", ["process", "CPU, s", "times importing DuckDB and Arrow", "peak, MB", "modules"], notes=[_GOALS]
    )
    for name, timing in times.items():
        peaks, modules = zip(*map(json.loads, notes[name].read_text(encoding="utf-8").splitlines()), strict=True)
        table.add_row(
            {
                "process": name,
                "CPU, s": timing.micros / 1e6,
                "times importing DuckDB and Arrow": times[LIBRARIES].times_faster(timing),
                "peak, MB": round(statistics.median(peaks)),
                "modules": modules[-1],
            }
        )
    return table


def _run(code: str, note: Path, words: Sequence[str]) -> int:
    """One process; it writes down its peak memory and how many modules it has loaded."""
    # From here, as from any folder: the house is installed, and its code compiled.
    command = [sys.executable, "-c", code, str(note), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONWARNINGS": "ignore"})
    return 1


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        print(f"{sentence(facts())}\n\n{start(Path(made)).to_markdown()}")
