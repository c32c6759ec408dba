"""Writes a night into a folder: packets as an archive, truth, catalog and lists. Files get their names when whole."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from simulation.night import Night, SimulatedPacket
from simulation.packing import CONTAINER
from simulation.truth import TRUTH_SCHEMA

Add = Callable[[SimulatedPacket], None]
BESIDE = ("truth.parquet", "catalog.parquet", "skymap.fits", "watchlist.csv")
"""Files that are written beside a night's archive."""
TRUTH_ROWS = 4096
"""Rows of truth that are held before they are written."""


@dataclass(frozen=True)
class Written:
    """What was written: the archive, and its packets and bytes before packing."""

    archive: Path
    packets: int
    packet_bytes: int


def write_night(night: Night, folder: Path, archive: str = "tar.gz") -> Written:
    """Writes ``{survey}_simulated_YYYYMMDD`` as ``archive`` into ``folder``, and ``BESIDE`` it truth, stars, map and list.

    Raises ``ValueError`` for what cannot be written so, before anything is made.
    """
    name = archive_name(night, archive)
    if archive == "folder" and (folder / name).exists():
        raise ValueError(f"{folder / name} exists already; remove it or choose another --out")
    folder.mkdir(parents=True, exist_ok=True)
    with _appearing(folder, name, *BESIDE) as (packets_path, truth_path, catalog_path, map_path, list_path):
        count = size = 0
        with ARCHIVES[archive](night, packets_path) as add, _truth_writer(truth_path) as tell:
            for packet in night.packets():
                add(packet)
                tell(packet)
                count, size = count + 1, size + len(packet.data)
        pq.write_table(night.catalog(), catalog_path)
        map_path.write_bytes(night.sky_map.fits())
        list_path.write_bytes(night.watched.csv())
    return Written(folder / name, count, size)


def archive_name(night: Night, archive: str) -> str:
    """Name of the archive in its folder. Raises ``ValueError`` where the night does not fit into such an archive."""
    if archive not in ARCHIVES:
        raise ValueError(f"archive {archive!r} is not known; choose one of {', '.join(ARCHIVES)}")
    stem = f"{night.survey}_simulated_{night.night:%Y%m%d}"
    if archive != CONTAINER:
        return stem if archive == "folder" else f"{stem}.{archive}"
    if night.framing != CONTAINER:
        raise ValueError(f"{night.framing} messages cannot be records of a container file; choose another --archive")
    if night.damaged:
        raise ValueError("damaged packets cannot be records of one container file; choose another --archive")
    return f"{stem}.avro"


@contextmanager
def _appearing(folder: Path, *names: str) -> Iterator[list[Path]]:
    """Temporary paths that become ``names`` in ``folder`` at the end, or vanish if it does not come to that."""
    paths = [folder / f".{name}.{os.getpid()}.partial" for name in names]
    try:
        yield paths
        for path, name in zip(paths, names, strict=True):
            os.replace(path, folder / name)
    finally:
        for path in paths:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def _truth_writer(path: Path) -> Iterator[Add]:
    rows: list[dict[str, Any]] = []
    with pq.ParquetWriter(path, TRUTH_SCHEMA) as writer:

        def flush() -> None:
            writer.write_table(pa.Table.from_pylist(rows, TRUTH_SCHEMA))
            rows.clear()

        def tell(packet: SimulatedPacket) -> None:
            rows.append(asdict(packet.truth))
            if len(rows) == TRUTH_ROWS:
                flush()

        yield tell
        flush()


@contextmanager
def _folder(night: Night, path: Path) -> Iterator[Add]:
    """A file for each packet."""
    path.mkdir()
    yield lambda packet: _ignore((path / packet.name).write_bytes(packet.data))


@contextmanager
def _container(night: Night, path: Path) -> Iterator[Add]:
    """One Avro container file with a block for each packet. Packets of a night have header and sync marker in common."""
    header = night.packer.container_header
    with path.open("wb") as file:
        file.write(header)
        yield lambda packet: _ignore(file.write(packet.data[len(header) :]))


@contextmanager
def _tar(night: Night, path: Path) -> Iterator[Add]:
    with path.open("wb") as file, _tar_members(night, file) as add:
        yield add


@contextmanager
def _tar_gz(night: Night, path: Path) -> Iterator[Add]:
    # Most of a packet is compressed already: a higher level takes longer and saves next to nothing.
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed, _tar_members(night, packed) as add:
        yield add


@contextmanager
def _tar_members(night: Night, file: BinaryIO | gzip.GzipFile) -> Iterator[Add]:
    """A tar file without its author's name and time. ``tarfile`` itself would remember every member until the end."""

    def add(packet: SimulatedPacket) -> None:
        member = tarfile.TarInfo(packet.name)
        member.size = len(packet.data)
        member.mtime = int(packet.truth.observed_at.timestamp())
        file.write(member.tobuf(tarfile.USTAR_FORMAT))
        file.write(packet.data + b"\x00" * (-len(packet.data) % tarfile.BLOCKSIZE))

    yield add
    file.write(b"\x00" * 2 * tarfile.BLOCKSIZE)


def _ignore(_: Any) -> None:
    return None


ARCHIVES: dict[str, Callable[[Night, Path], AbstractContextManager[Add]]] = {
    "tar.gz": _tar_gz,
    "tar": _tar,
    "folder": _folder,
    "container": _container,
}
"""The forms in which a night's packets can be written."""
