"""The folder of a warehouse where a run keeps its unfinished files, and who clears it away."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from pipelines.job import Job
from transforms.parquet_files import TEMPORARY

try:
    import fcntl
except ImportError:  # Windows: killed runs' files stay until someone deletes them
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def run_folder(job: Job) -> Iterator[None]:
    """Hold the run's temporary folder while the body works, and remove it; those of killed runs go first.

    Only a local folder knows who lives: a run holds a lock, which the system lets go of when the run is killed.
    """
    if job.folder is None or "://" in job.folder or fcntl is None:
        yield
        return
    place = Path(job.folder, TEMPORARY)
    place.mkdir(parents=True, exist_ok=True)
    _sweep(place)
    with _locked(place / f"{job.run_id}.lock"):
        try:
            yield
        finally:
            _remove(place, job.run_id)


def _sweep(place: Path) -> None:
    for lock in place.glob("*.lock"):
        with _locked(lock) as held:
            if held:
                _remove(place, lock.stem)


def _remove(place: Path, run_id: str) -> None:
    shutil.rmtree(place / run_id, ignore_errors=True)
    (place / f"{run_id}.lock").unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[str] | None]:
    """The file with its lock held; None when somebody else holds it."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield None
            return
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
