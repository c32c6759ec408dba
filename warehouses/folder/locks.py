"""Locks among the processes of one machine, which the system lets go of when their holder dies."""

from __future__ import annotations

import contextlib
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from warehouses.files import is_remote
from warehouses.folder.parquet_files import LOCKS

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


def alone(warehouse: str, wait: bool = True) -> contextlib.AbstractContextManager[object]:
    """Hold the lock of who commits into a folder; None when somebody else does and we do not ``wait``. A bucket has none."""
    if is_remote(warehouse):
        return contextlib.nullcontext(True)
    return locked(Path(warehouse, LOCKS, "commit"), wait)


class Held:
    """A file held by a lock that many may have, until it is closed, or nobody has this any more."""

    def __init__(self, descriptor: int) -> None:
        self._close = weakref.finalize(self, os.close, descriptor)

    def close(self) -> None:
        """Let go."""
        self._close()


def shared(path: str) -> Held | None:
    """Hold a file by a lock that many may have; None where it is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if fcntl is not None:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_SH)
    # Whoever deletes it does so under its lock, and may have had it before us.
    if not os.fstat(descriptor).st_nlink:
        os.close(descriptor)
        return None
    return Held(descriptor)


@contextlib.contextmanager
def unheld(path: str) -> Iterator[bool | None]:
    """Whether nobody holds a file, and nobody does while the body works; None where no locks are known, or we may not have it."""
    try:
        # Network file systems lock for themselves alone only what may be written.
        file = open(path, "r+b")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        yield True
        return
    except OSError:
        yield None
        return
    with file:
        try:
            if fcntl is None:
                raise OSError("no locks")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError:
            yield None
        else:
            yield True


def is_held(path: Path) -> bool:
    """Whether somebody holds a file's lock; where no locks are known, whether there is the file."""
    try:
        with path.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return fcntl is None
