"""The nights that faults are tried on: 5,000 alerts, copies and damaged packets among them, made once for all tests."""

from __future__ import annotations

import fcntl
import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fastavro
import pytest

from tests.nights import simulated, truth

ALERTS, COPIES, DAMAGED = 5_000, 250, 100
RECORDS = ALERTS + COPIES + DAMAGED
_SYNC = bytes(range(16))
_HEAVY = ("cutoutScience", "cutoutTemplate", "cutoutDifference", "prv_candidates", "fp_hists")


@dataclass(frozen=True)
class Night:
    """A night as a plain ``.tar``; ``folder`` has the truth and the catalog of its stars."""

    archive: Path
    folder: Path


def whole_night(factory: pytest.TempPathFactory) -> Night:
    """Packets as ZTF sends them: 60 kB each, with stamps and history."""

    def make(folder: Path) -> None:
        flags = ("--alerts", ALERTS, "--duplicates", COPIES, "--damaged", DAMAGED, "--seed", 11, "--archive", "tar")
        simulated(folder, *map(str, flags))

    folder = _made_once(factory, "night", make)
    return Night(next(folder.glob("*.tar")), folder)


def light_night(factory: pytest.TempPathFactory) -> Night:
    """The same alerts without stamps and history, 10 kB each: for services that take the time of a fault a byte costs."""
    night = whole_night(factory)
    folder = _made_once(factory, "light", lambda folder: _lighten(night, folder / "night.tar"))
    return Night(folder / "night.tar", night.folder)


def _lighten(night: Night, place: Path) -> None:
    damaged = {one["name"] for one in truth(night.folder) if one["kind"] == "damaged"}
    place.parent.mkdir()
    with tarfile.open(night.archive) as packed, tarfile.open(place, "w") as light:
        for member in packed:
            data = packed.extractfile(member).read()
            if member.name not in damaged:
                data = _without_stamps(data)
                member.size = len(data)
            light.addfile(member, io.BytesIO(data))


def _without_stamps(packet: bytes) -> bytes:
    reader = fastavro.reader(io.BytesIO(packet))
    (record,) = reader
    written = io.BytesIO()
    fastavro.writer(written, reader.writer_schema, [{**record, **dict.fromkeys(_HEAVY)}], sync_marker=_SYNC)
    return written.getvalue()


def _made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first process of a session makes, for those that run beside it too."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (base / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = base / f"{name}.done"
        if not done.exists():
            make(base / name)
            done.touch()
    return base / name
