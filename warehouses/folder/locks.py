"""Locks among the processes of one machine, which the system lets go of when their holder dies."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows: one run at a time, and killed runs' files stay until someone deletes them
    fcntl = None  # type: ignore[assignment]


@contextlib.contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[IO[str] | None]:
    """The file, made where it is missing, with its lock held; None when somebody else holds it and we do not ``wait``.

    Where the system or the file system knows no locks, whoever waits goes on without, and all others find it held.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        try:
            if fcntl is None:
                raise OSError("no locks")
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield file if wait else None
            return
        try:
            yield file
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
