"""``make fuzz``: the tests of this folder and the others that damage at random, with other examples in every round."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILES = (
    "tests/fuzz",
    "tests/alerts/test_damage.py",
    "tests/alerts/test_archives.py",
    "tests/alerts/test_inputs.py",
    "tests/alerts/test_layout.py",
    "tests/alerts/test_projection.py",
)


def main(secs: float) -> int:
    """Rounds until the time is up, or one has found something; gives the exit status."""
    end = time.monotonic() + secs
    environment = {**os.environ, "PITT_BROKER_HUNT": "1"}
    rounds = 0
    while (left := end - time.monotonic()) > 0:
        # A file at a time, in turn, so that each gets its part of a short time.
        file = FILES[rounds % len(FILES)]
        rounds += 1
        command = [sys.executable, "-m", "pytest", "-q", "-x", file, "-k", "not faster"]
        with subprocess.Popen(command, cwd=ROOT, env=environment) as running:
            try:
                if running.wait(min(left, secs / len(FILES))):
                    print(f"fuzz: found in {file}, in round {rounds}; the example is above", file=sys.stderr)
                    return 1
            except subprocess.TimeoutExpired:
                running.terminate()
    print(f"fuzz: nothing found in {secs:g} s, {rounds} rounds")
    return 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if sys.argv[1:] else 600.0))
