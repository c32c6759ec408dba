"""``constraints.txt`` anew: what pip installs today of all that ``setup.py`` asks for, in an environment of its own.

    python -m deploy.renew_constraints [--out FILE]        (or: make constraints)

Run the checks with it before it is committed: CI tests what it pins.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONSTRAINTS = ROOT / "constraints.txt"
HEADER = "# What CI tested (Python 3.11): pip install --constraint constraints.txt ."
EXTRAS = ("notebook", "test", "cloud", "kafka", "stream", "bench")
"""Of ``setup.py``, all of which CI and the benchmarks install."""


def text(frozen: Iterable[str]) -> str:
    """The file for what ``pip freeze`` says: one pin a line, in order, and nothing of ours or from a place of its own."""
    pins = {line.strip() for line in frozen if "==" in line and not line.startswith(("#", "-e", "pitt-broker", "pitt_broker"))}
    return "\n".join([HEADER, *sorted(pins, key=str.lower)]) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Install, and write the file; gives the exit status."""
    parser = argparse.ArgumentParser("renew_constraints")
    parser.add_argument("--out", type=Path, default=CONSTRAINTS, metavar="FILE", help="default constraints.txt")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder, "bin", "python")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)  # noqa: S603
        pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
        installed = subprocess.run([*pip, "install", "--quiet", f"{ROOT}[{','.join(EXTRAS)}]"], check=False)  # noqa: S603
        if installed.returncode:
            sys.stderr.write(f"pip could not install {ROOT}[{','.join(EXTRAS)}], see above; {given.out} stays as it is\n")
            return 1
        frozen = subprocess.run([*pip, "freeze"], capture_output=True, text=True, check=True)  # noqa: S603
    given.out.write_text(text(frozen.stdout.splitlines()), encoding="utf-8")
    sys.stdout.write(f"{given.out}: {len(frozen.stdout.splitlines())} packages\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
