"""Which inputs a run has claimed, and what is cleared away of runs that are dead.

On this machine a run holds the lock of its claim's file, which the system lets go of when the run is killed. In a bucket the
claim is an object that is renewed every ``RENEW_SECS`` and void when it is older than ``VOID_SECS`` by the bucket's own clock.
A commit asks whether its run still has its claim: a run that was given up, and comes back late, changes nothing.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO

from warehouses.files import is_remote
from warehouses.folder import bucket_claims
from warehouses.folder.locks import alone, is_held, locked
from warehouses.folder.parquet_files import LOCKS, TEMPORARY
from warehouses.folder.sweep import FINALS, forget_finals
from warehouses.folder.taken import StaleRun, refuse_taken

_UNKNOWN_SECS = 3600.0
"""What nobody has claimed is cleared away when it is so old: rows that are added in passing wait there for a moment."""


def claim(folder: str, run_id: str, inputs: Collection[str]) -> contextlib.AbstractContextManager[None]:
    """Hold the run's temporary folder and its inputs while the body works; what dead runs have left goes first.

    Raises ``InputsTaken``.
    """
    return bucket_claims.claim(folder, run_id, inputs) if is_remote(folder) else _claim(folder, run_id, inputs)


def check_claim(folder: str, run_id: str) -> None:
    """Refuse to go on with a run that has its claim no longer. Raises ``StaleRun``."""
    if is_remote(folder):
        bucket_claims.check_claim(folder, run_id)
    elif not is_held(Path(folder, TEMPORARY, f"{run_id}.lock")):
        raise StaleRun(
            f"run {run_id} has lost its claim on {folder}: its command was killed or has ended; nothing of it was put in place, "
            "run the same command again"
        )


def holders(folder: str) -> set[str]:
    """The runs that have a claim, those of dead ones that nobody has cleared away yet among them."""
    if is_remote(folder):
        return bucket_claims.holders(folder)
    return {lock.stem for lock in Path(folder, TEMPORARY).glob("*.lock")}


@contextlib.contextmanager
def _claim(folder: str, run_id: str, inputs: Collection[str]) -> Iterator[None]:
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
    """Clear away what dead runs have left; refuse to begin where one that lives has our inputs."""
    for lock in place.glob("*.lock"):
        with locked(lock) as held:
            if held:
                _remove(place, lock.stem)
            else:
                _check(lock, folder, inputs)
    for other in place.iterdir():
        if other.suffix != ".lock" and not (place / f"{other.name}.lock").exists() and _age_secs(other) > _UNKNOWN_SECS:
            _remove(place, other.name)


def _age_secs(place: Path) -> float:
    """Since when nothing was written there."""
    with contextlib.suppress(OSError):
        return time.time() - max(path.stat().st_mtime for path in (place, *place.rglob("*")))
    return 0.0


def _note(file: IO[str], inputs: Collection[str]) -> None:
    file.write(json.dumps(sorted(inputs)))
    file.flush()


def _check(lock: Path, folder: str, inputs: Collection[str]) -> None:
    try:
        theirs: Collection[str] = json.loads(lock.read_text())
    except (OSError, ValueError):  # it has just ended
        return
    refuse_taken(lock.stem, folder, inputs, theirs)


def _remove(place: Path, run_id: str) -> None:
    """Clear away a run: its unfinished files, and those that a commit of it put in place and no manifest has.

    While nobody commits: a late commit of the run has either ended, or finds that it has lost its claim.
    """
    own = place / run_id
    with alone(str(place.parent)):
        forget_finals(str(place.parent), [str(note) for note in own.rglob(f"*{FINALS}")])
        shutil.rmtree(own, ignore_errors=True)
        with contextlib.suppress(OSError):
            own.unlink()
        (place / f"{run_id}.lock").unlink(missing_ok=True)
