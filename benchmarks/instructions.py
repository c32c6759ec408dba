"""How many instructions decoding takes per alert, counted by callgrind: the same on a busy machine as on an idle one.

    python -m benchmarks.instructions

Counted is the third time that a process decodes the same simulated packets, one batch of them, so that neither start-up
nor compilation is in it; callgrind looks at nothing else, which saves most of the time. numba compiles for any x86-64
instead of for this processor: all machines run the same code, and callgrind knows no AVX-512.
"""

from __future__ import annotations

import os
import pickle
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.counted import NAIVE, PHASES, phase
from benchmarks.machine_facts import facts, sentence
from benchmarks.tables import MarkdownTable
from broker.simulate import simulate_packets

PACKETS = 256
INSTALL = "valgrind is not installed; on Debian and Ubuntu: apt-get install valgrind"
_ANY_PROCESSOR = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "PYTHONHASHSEED": "0"}


class CannotCount(RuntimeError):
    """callgrind is missing or has not counted what it should."""


@dataclass(frozen=True)
class InstructionCounts:
    """Instructions per alert by phase: ``fastavro.reader``, and ours by what is wanted of the packet."""

    per_alert: dict[str, float]

    def times_fewer(self, name: str) -> float:
        """How many times fewer than ``fastavro.reader``."""
        return self.per_alert[NAIVE] / self.per_alert[name]


def missing_here() -> str | None:
    """Why nothing can be counted on this machine, and the remedy; None if it can."""
    if platform.machine() != "x86_64":
        return f"instructions are counted on x86-64 under Linux, and this is {platform.machine()}"
    return None if shutil.which("valgrind") else INSTALL


def count(survey: str = "ztf", alerts: int = PACKETS) -> InstructionCounts:
    """Count over simulated packets; takes some 20 s. Raises ``CannotCount``."""
    if missing := missing_here():
        raise CannotCount(missing)
    packets = [packet.data for packet in simulate_packets(survey=survey, alerts=alerts, seed=1)]
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "packets.pickle"), Path(folder, "counts")
        given.write_bytes(pickle.dumps(packets))
        # Code for this processor and for any lie side by side in numba's cache.
        environment = {**os.environ, **_ANY_PROCESSOR}
        command = [sys.executable, "-m", "benchmarks.counted", str(given)]
        _run(command, environment)
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
        _run([*callgrind, *command], environment)
        # One file by phase; the last one, until the end, has no number.
        totals = [_total(Path(f"{out}.{number}")) for number in range(1, len(PHASES) + 1)]
    return InstructionCounts({name: total / len(phase(name, packets)[1]) for name, total in zip(PHASES, totals, strict=True)})


def _run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCount(f"{' '.join(command)} failed: {done.stderr[-2000:]}")


def _total(file: Path) -> int:
    if not file.exists():
        raise CannotCount(f"callgrind was not asked for a count: {file.name} is missing; does valgrind know its own requests?")
    found = re.search(r"^summary: (\d+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise CannotCount(f"callgrind's {file.name} has no line with a summary")
    return int(found[1])


def counted() -> MarkdownTable:
    """The counts as a table. Raises ``CannotCount``."""
    counts = count()
    table = MarkdownTable(f"Instructions per alert, {PACKETS} simulated ZTF packets", ["decoder", "thousand", "times fewer"])
    for name, instructions in counts.per_alert.items():
        shown = name if name == NAIVE else f"ours, {name}"
        table.add_row({"decoder": shown, "thousand": instructions / 1000, "times fewer": counts.times_fewer(name)})
    return table


def main() -> int:
    """Count and print; gives the exit status."""
    try:
        table = counted()
    except CannotCount as error:
        print(f"benchmarks.instructions: {error}", file=sys.stderr)
        return 1
    print(f"{sentence(facts())}\n\n{table.to_markdown()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
