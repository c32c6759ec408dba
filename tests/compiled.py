"""What numba compiles, half a minute in a fresh clone with two of pytest's workers at it, is compiled by one of them."""

from __future__ import annotations

import fcntl
from pathlib import Path

from alerts.compiling import compile_all


def compile_one_by_one(lock: Path) -> None:
    """Compile all of it while no other process that names this file does: who comes later reads what the first has kept."""
    with lock.open("w", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        compile_all()
