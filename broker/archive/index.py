"""The index of a packed night, beside it in ``NAME.index``: candid -> member, record, place in the unpacked tar.

A SQLite file. A gzip stream cannot be entered in its middle; so the index also holds restart points, one for every 4 MB
unpacked, each with the 32 KB before it (by indexed_gzip, after zlib's zran.c): together 1 % of the night, and an alert
costs the unpacking of 4 MB at most. An index is made anew when its night has another size or time of change.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import platformdirs
from indexed_gzip import IndexedGzipFile  # type: ignore[import-untyped]

from alerts.avro.archives import READ_ERRORS
from alerts.avro.records import Record
from alerts.avro.unpack import gunzip
from alerts.errors import UndecodablePacket
from broker.archive.errors import DamagedArchive
from broker.archive.progress import progress_bar
from broker.archive.reading import Damage, Stored, packets_of, record_of, stored_packets, warn_of, with_candids

INDEX = ".index"
_DAMAGE: tuple[type[Exception], ...] = (UndecodablePacket, *READ_ERRORS)
_FORMAT = 1
_SPACING_BYTES = 4 * 2**20
_STEP_BYTES = 16 * 2**20
"""Unpacked between two looks at the keyboard: indexed_gzip lets nothing else happen meanwhile."""
_BUFFER_BYTES = _READ_BYTES = 256 * 2**10
_TABLES = """
    CREATE TABLE alerts (
        number INTEGER PRIMARY KEY, candid INTEGER NOT NULL, member TEXT NOT NULL, record INTEGER NOT NULL,
        offset_bytes INTEGER NOT NULL, size_bytes INTEGER NOT NULL
    );
    CREATE TABLE facts (
        format INTEGER NOT NULL, archive_bytes INTEGER NOT NULL, archive_mtime_ns INTEGER NOT NULL,
        alerts INTEGER NOT NULL, points BLOB
    );
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alert is: the record of a member, and the member's bytes in the unpacked tar."""

    candid: int
    member: str
    record: int
    offset_bytes: int
    size_bytes: int


class Index:
    """The index of one night. Get one with ``index_of``."""

    def __init__(self, path: Path, archive: Path, archive_stat: os.stat_result) -> None:
        self.path, self.archive = path.absolute(), archive.absolute()
        self._version = archive_stat.st_size, archive_stat.st_mtime_ns
        with _connected(path) as asked:
            facts = asked.execute("SELECT format, archive_bytes, archive_mtime_ns, alerts FROM facts").fetchone()
        if facts is None or facts[:3] != (_FORMAT, *self._version):
            raise LookupError(f"{path} is not of {archive} as it is now")
        self.count: int = facts[3]

    def candids(self) -> list[int]:
        """The candids of all alerts in the order of the night, copies too."""
        with _connected(self.path) as asked:
            return [row[0] for row in asked.execute("SELECT candid FROM alerts ORDER BY number")]

    def find(self, candid: int) -> Place | None:
        """Where the alert is, the first of its copies; None when it is not in this night."""
        if not -(2**63) <= candid < 2**63:
            return None
        query = "SELECT candid, member, record, offset_bytes, size_bytes FROM alerts WHERE candid = ? ORDER BY number LIMIT 1"
        with _connected(self.path) as asked:
            row = asked.execute(query, (candid,)).fetchone()
        return Place(*row) if row else None

    def read(self, place: Place) -> tuple[Stored, Record]:
        """The packet at a place, and its record. Raises ``DamagedArchive`` when something else is there."""
        try:
            data = _unpacked(self.path, self.archive, self._version).read(place.offset_bytes, place.size_bytes)
            for packet in packets_of(data, place.member, place.offset_bytes):
                if isinstance(packet, Stored) and packet.record == place.record:
                    record = record_of(packet.packet)
                    if record["candid"] == place.candid:
                        return packet, record
        except _DAMAGE as error:
            reason = f" ({error})"
        else:
            reason = ""
        raise DamagedArchive(
            f"{self.archive} does not hold alert {place.candid} at {place.member}, where it was when it was indexed{reason}; "
            "delete the file and download the night again"
        )


def index_of(archive: Path, progress: bool | None = None) -> Index:
    """The index of a night, made now where there is none that fits. Where the night's folder is read-only, it goes to the cache.

    Logs what of the night is damaged when it makes one.
    """
    places = index_paths(archive)
    for path in places:
        # A killed writer leaves no index; but a disk, or another program, may have left anything.
        with contextlib.suppress(OSError, LookupError, sqlite3.Error):
            return Index(path, archive, archive.stat())
    path = places[0] if _is_writable(places[0].parent) else places[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    before = archive.stat()
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        _build(archive, before, partial, progress)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return Index(path, archive, before)


def index_paths(archive: Path) -> tuple[Path, Path]:
    """Where the index of a night is: beside it, or in the user's cache."""
    folder = hashlib.blake2b(os.fsencode(archive.absolute().parent), digest_size=8).hexdigest()
    cache = Path(platformdirs.user_cache_dir("pitt-broker")) / "ztf_archive" / folder
    return archive.with_name(archive.name + INDEX), cache / (archive.name + INDEX)


def remove_index(archive: Path) -> None:
    """Delete the index of a night, and what killed writers of it have left."""
    for path in index_paths(archive):
        path.unlink(missing_ok=True)
        for partial in path.parent.glob(f".{path.name}.*.partial"):
            partial.unlink(missing_ok=True)


def _build(archive: Path, stat: os.stat_result, path: Path, progress: bool | None) -> None:
    damaged: list[Damage] = []
    end_bytes = count = 0
    # Twice through the night: once for the alerts, by the reader that checks the gzip stream, once for the restart points.
    with (
        archive.open("rb") as file,
        contextlib.closing(sqlite3.connect(path)) as made,
        progress_bar(f"indexing {archive.name}", 2 * stat.st_size, shown=progress) as bar,
    ):
        made.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _TABLES)

        def rows() -> Iterator[tuple[Any, ...]]:
            nonlocal end_bytes, count
            for item in with_candids(stored_packets(file)):
                bar.update(file.tell() - bar.n)
                if isinstance(item, Damage):
                    damaged.append(item)
                    continue
                stored, candid = item
                end_bytes, count = stored.offset_bytes + stored.size_bytes, count + 1
                yield astuple(Place(candid, stored.member, stored.record, stored.offset_bytes, stored.size_bytes))

        made.executemany("INSERT INTO alerts (candid, member, record, offset_bytes, size_bytes) VALUES (?, ?, ?, ?, ?)", rows())
        made.execute("CREATE INDEX by_candid ON alerts (candid)")
        points = _restart_points(archive, end_bytes, bar)
        made.execute("INSERT INTO facts VALUES (?, ?, ?, ?, ?)", (_FORMAT, stat.st_size, stat.st_mtime_ns, count, points))
        made.commit()
    warn_of(archive.name, damaged)


def _restart_points(archive: Path, end_bytes: int, bar: Any) -> bytes | None:
    """Restart points up to the end of the last alert; None where there is no use for any, or the stream is damaged."""
    if end_bytes <= _SPACING_BYTES:
        return None
    start = bar.n
    try:
        with IndexedGzipFile(str(archive), spacing=_SPACING_BYTES, readbuf_size=_READ_BYTES) as file:
            for position in range(_STEP_BYTES, end_bytes + _STEP_BYTES, _STEP_BYTES):
                file.seek(min(position, end_bytes))
                bar.update(int(start + (bar.total - start) * min(1.0, position / end_bytes)) - bar.n)
            out = io.BytesIO()
            file.export_index(fileobj=out)
            return out.getvalue()
    except OSError:
        # The walk has told of the damage. The alerts before it are read from the beginning.
        return None


class _Unpacked:
    """Entry into the unpacked night at any place."""

    def __init__(self, archive: Path, points: bytes | None) -> None:
        self._archive, self._file = archive, None
        if points:
            # It opens the file anew for each reading, so that it can be kept, and forked.
            self._file = IndexedGzipFile(str(archive), buffer_size=_BUFFER_BYTES, readbuf_size=_READ_BYTES, drop_handles=True)
            self._file.import_index(fileobj=io.BytesIO(points))

    def read(self, offset_bytes: int, size_bytes: int) -> bytes:
        if self._file is not None:
            return bytes(self._file.pread(size_bytes, offset_bytes))  # threads take turns
        with self._archive.open("rb") as file:
            stream = gunzip(file)
            while offset_bytes:
                passed = len(stream.read(min(offset_bytes, 2**20)))
                if not passed:
                    return b""
                offset_bytes -= passed
            return stream.read(size_bytes)


@functools.lru_cache(maxsize=2)
def _unpacked(path: Path, archive: Path, version: tuple[int, int]) -> _Unpacked:
    """Kept for the nights asked last: the restart points of a large night are some 100 MB. ``version`` tells files apart."""
    with _connected(path) as asked:
        points = asked.execute("SELECT points FROM facts").fetchone()[0]
    return _Unpacked(archive, points)


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[sqlite3.Connection]:
    # Immutable: an index is replaced, never changed; so no locks are needed, which some network file systems lack.
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as asked:
        yield asked


def _is_writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
