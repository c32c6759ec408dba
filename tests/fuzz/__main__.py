"""``make fuzz``: the tests of this folder and the others that damage at random, with other examples in every round."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = (
    "tests/fuzz/test_datums.py",
    "tests/fuzz/test_schemas.py",
    "tests/fuzz/test_archives.py",
    "tests/fuzz/test_answers.py",
    "tests/cloud/test_append_storm.py",
    "tests/alerts/avro/test_damage.py",
    "tests/alerts/avro/test_archives.py",
    "tests/alerts/avro/test_inputs.py",
    "tests/alerts/avro/test_layout.py",
    "tests/alerts/avro/test_projection.py",
    "tests/alerts/filters/test_hostile.py",
)
TIMES_THE_EXAMPLES = "3"
"""Of one round: so few that all tests of all files come to their turn within ten minutes."""


def main(secs: float) -> int:
    """Rounds until the time is up, or one has found something; gives the exit status."""
    end = time.monotonic() + secs
    environment = {**os.environ, "PITT_BROKER_HUNT": TIMES_THE_EXAMPLES}
    whole = 0
    for file in itertools.cycle(FILES):
        command = [sys.executable, "-m", "pytest", "-q", "-x", file, "-k", "not faster"]
        with subprocess.Popen(command, cwd=ROOT, env=environment) as running:
            try:
                found = running.wait(max(end - time.monotonic(), 1))
            except subprocess.TimeoutExpired:
                running.terminate()
                break
        if found:
            print(f"fuzz: found in {file}; the example is above", file=sys.stderr)
            return 1
        whole += 1
    times = f"{whole / len(FILES):.1f} times, {TIMES_THE_EXAMPLES} x the examples of make test"
    print(f"fuzz: nothing found in {secs:g} s: {len(FILES)} files {times}")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 600.0))
