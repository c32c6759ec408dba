"""A night that is not whole yet: the bytes so far in ``NAME.part``, and in ``NAME.part.json`` what they are part of.

One process, and one thread of it, holds a part at a time, by a lock that the system lets go of when the process is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from broker.archive.local import is_release

try:
    import fcntl
except ImportError:  # Windows: nothing keeps two processes from downloading the same night at once
    fcntl = None  # type: ignore[assignment]

PART, NOTE = ".part", ".part.json"
_READ_BYTES = 2**20
_log = logging.getLogger("broker.ztf_archive")


@dataclass(frozen=True)
class Note:
    """What the bytes of a part are the beginning of."""

    url: str
    md5: str | None
    total_bytes: int | None = None
    validator: str | None = None
    """The strong ETag, else the Last-Modified date, by which the server tells whether it still has the same file."""


class PartialDownload:
    """The bytes so far and their MD5. Make one with ``held``."""

    def __init__(self, file: BinaryIO, folder: Path, name: str, wanted: Note) -> None:
        self.path, self.final_name, self.note = folder / (name + PART), name, wanted
        self._file, self._note_path = file, folder / (name + NOTE)
        self.clear_digest()
        noted = self._read_note()
        if noted is not None and (noted.url, noted.md5) == (wanted.url, wanted.md5):
            self.note = noted
            while chunk := file.read(_READ_BYTES):
                self._count(chunk)
        else:
            self.clear()

    @classmethod
    @contextlib.contextmanager
    def held(cls, folder: Path, name: str, wanted: Note) -> Iterator[PartialDownload]:
        """The part of a night, which nobody else has meanwhile. Waits for whoever has it."""
        path = folder / (name + PART)
        while True:
            # Not to be truncated, and made where there is none: no mode of open() does both.
            with open(path, "r+b", opener=lambda name, flags: os.open(name, flags | os.O_CREAT, 0o666)) as file:
                _lock(file, path)
                if not _is_at(file, path):
                    continue  # whoever had it gave the file its final name, or removed it
                try:
                    yield cls(file, folder, name, wanted)
                finally:
                    file.flush()
                    if _is_at(file, path) and path.stat().st_size == 0:
                        path.unlink()
                        (folder / (name + NOTE)).unlink(missing_ok=True)
                return

    def append(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        self._file.write(chunk)
        self._count(chunk)

    def clear(self) -> None:
        """Forget all bytes."""
        self._file.seek(0)
        self._file.truncate()
        self.clear_digest()

    def clear_digest(self) -> None:
        """Begin to count, and to sum up, anew."""
        self.size_bytes = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def hexdigest(self) -> str:
        """MD5 of the bytes so far."""
        return self._md5.hexdigest()

    def take_note(self, note: Note) -> None:
        """Keep on disk what the bytes to come belong to; call it before the first of them comes."""
        self.note = note
        self._note_path.write_text(json.dumps(asdict(note)))  # half a note is as good as none

    def contents(self) -> BinaryIO:
        """The file of the bytes so far, standing at its beginning."""
        self._file.flush()
        self._file.seek(0)
        return self._file

    def become(self, final: Path) -> None:
        """Give the bytes their final name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        os.replace(self.path, final)
        self._note_path.unlink(missing_ok=True)

    def _count(self, chunk: bytes) -> None:
        self._md5.update(chunk)
        self.size_bytes += len(chunk)

    def _read_note(self) -> Note | None:
        try:
            return Note(**json.loads(self._note_path.read_text()))
        except (OSError, ValueError, TypeError):
            return None


def remove_parts(folder: Path) -> None:
    """Delete the parts in a folder, but for those that somebody is downloading into now."""
    for path in folder.glob(f"*{PART}"):
        if not is_release(path.name.removesuffix(PART)):
            continue
        with path.open("rb") as file:
            if not _try_lock(file):
                _log.warning("%s stays: it is being downloaded now", path)
                continue
            path.unlink()
            path.with_name(path.name.removesuffix(PART) + NOTE).unlink(missing_ok=True)


def _lock(file: BinaryIO, path: Path) -> None:
    if _try_lock(file):
        return
    _log.warning("another process is downloading %s; waiting for it", path.name.removesuffix(PART))
    fcntl.flock(file, fcntl.LOCK_EX)


def _try_lock(file: BinaryIO) -> bool:
    """Whether nobody else had the lock, which we then have."""
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        # Some network file systems have no locks; a download without one is better than none.
        _log.warning("%s cannot be locked (%s): download no night twice at the same time", file.name, error.strerror)
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
