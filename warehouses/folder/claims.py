"""The folder of a warehouse where a run keeps its unfinished files, who clears it away, and which inputs a run has claimed."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from warehouses.folder.locks import locked
from warehouses.folder.parquet_files import LOCKS, TEMPORARY


class InputsTaken(RuntimeError):
    """Another run writes rows of the same inputs into the same warehouse now."""


@contextlib.contextmanager
def claim(folder: str, run_id: str, inputs: Collection[str]) -> Iterator[None]:
    """Hold the run's temporary folder and its inputs while the body works, and let go of them; those of killed runs go first.

    Only a folder of this machine knows who lives: a run holds a lock, which the system lets go of when the run is killed.
    Raises ``InputsTaken``.
    """
    place = Path(folder, TEMPORARY)
    place.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as held:
        # Of two runs that begin at the same time, the second sees what the first has claimed.
        with locked(Path(folder, LOCKS, "begin"), wait=True):
            _sweep(place, folder, inputs)
            file = held.enter_context(locked(place / f"{run_id}.lock"))
            if file is not None:
                _note(file, inputs)
        try:
            yield
        finally:
            _remove(place, run_id)


def _sweep(place: Path, folder: str, inputs: Collection[str]) -> None:
    """Clear away what killed runs have left; refuse to begin where one that lives has our inputs."""
    for lock in place.glob("*.lock"):
        with locked(lock) as held:
            if held:
                _remove(place, lock.stem)
            else:
                _check(lock, folder, inputs)


def _note(file: IO[str], inputs: Collection[str]) -> None:
    file.write(json.dumps(sorted(inputs)))
    file.flush()


def _check(lock: Path, folder: str, inputs: Collection[str]) -> None:
    try:
        theirs: Collection[str] = json.loads(lock.read_text())
    except (OSError, ValueError):  # it has just ended
        return
    if both := sorted(set(inputs).intersection(theirs)):
        more = f" and {len(both) - 1:,} more" if len(both) > 1 else ""
        raise InputsTaken(
            f"run {lock.stem} is writing {both[0]}{more} into {folder} now; wait for its end, or give another --warehouse"
        )


def _remove(place: Path, run_id: str) -> None:
    shutil.rmtree(place / run_id, ignore_errors=True)
    (place / f"{run_id}.lock").unlink(missing_ok=True)
