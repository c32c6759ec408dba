"""The distribution: sdist and wheel built, the wheel installed in an empty environment, and a small night through it there.

    python -m deploy.distribution [--out dist] [--extras notebook]        (or: make dist)

The wheel is built of the sdist, so both are tried. What the installation takes is told, in seconds and megabytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_ALERTS = 20
_PIP = ("-m", "pip", "--disable-pip-version-check", "install", "--quiet")


def build(out: Path) -> tuple[Path, Path]:
    """The sdist, and the wheel that is built of it, by the backend that ``pyproject.toml`` asks for."""
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(ROOT)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if ran.returncode:
        raise SystemExit(f"{ran.stdout}{ran.stderr}neither sdist nor wheel could be built, see above")
    newest = [max(out.glob(pattern), key=lambda path: path.stat().st_mtime) for pattern in ("*.tar.gz", "*.whl")]
    return newest[0], newest[1]


def install(wheel: Path, folder: Path, extras: str) -> Path:
    """The programs of a new environment with nothing but the wheel and what it asks for, as ``constraints.txt`` pins it."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)  # noqa: S603
    wanted = f"pitt-broker[{extras}] @ {wheel.resolve().as_uri()}" if extras else str(wheel)
    constraints = ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run([str(folder / "bin" / "python"), *_PIP, *constraints, wanted], check=True)  # noqa: S603
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "check"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return folder / "bin"


def smoke(programs: Path, folder: Path) -> str:
    """A small night, made, ingested and asked about in an empty folder, by the installed command; gives what it answers."""
    broker = str(programs / "broker")
    for words in (
        ["simulate", "--alerts", str(_ALERTS), "--out", "night"],
        ["ingest", "--input", "night", "--warehouse", "warehouse"],
    ):
        subprocess.run([broker, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    asked = [broker, "query", "SELECT count(*) AS n FROM ztf_alerts_unique", "--warehouse", "warehouse", "--format", "json"]
    return subprocess.run(asked, cwd=folder, check=True, capture_output=True, text=True).stdout  # noqa: S603


def main(argv: Sequence[str] | None = None) -> int:
    """Build, install, try; gives the exit status."""
    parser = argparse.ArgumentParser("distribution")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default dist")
    parser.add_argument("--extras", default="", metavar="NAMES", help="to install too, for example notebook (default: none)")
    given = parser.parse_args(argv)
    sdist, wheel = build(given.out)
    sys.stdout.write("".join(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB\n" for path in (sdist, wheel)))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.monotonic()
        programs = install(wheel, Path(folder, "environment"), given.extras)
        seconds = time.monotonic() - begin
        size = sum(path.stat().st_size for path in programs.parent.rglob("*") if path.is_file() and not path.is_symlink())
        number = len(list(programs.parent.glob("lib/python*/site-packages/*.dist-info")))
        sys.stdout.write(f"installed: {number} packages, {size / 1e6:,.0f} MB, {seconds:.0f} s\n")
        found = smoke(programs, Path(folder))
    if json.loads(found) != [{"n": _ALERTS}]:
        sys.stderr.write(f"a night of {_ALERTS} alerts was ingested, and the warehouse has {found!r}\n")
        return 1
    sys.stdout.write(f"{_ALERTS} alerts made, ingested and found again by the installed command\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
