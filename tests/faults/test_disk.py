"""A disk that is full, and one that cannot be read."""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.nights import Night
from tests.faults.runs import Run, audit

pytestmark = pytest.mark.faults


def mount(*words: object) -> None:
    """Mount, or skip the test where that is not allowed."""
    done = subprocess.run(["mount", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here (it takes root): {done.stderr.strip()}")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder to mount something on; unmounted after the test."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    yield folder
    subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def test_no_room_in_the_warehouse(night: Night, place: Path, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Too little for the night; then enough for it, but not for a second time beside it; then enough."""
    mount("-t", "tmpfs", "-o", "size=100m", "broker-faults", place)
    warehouse = place / "warehouse"
    words = ("ingest", "--input", night.archive, "--warehouse", warehouse)
    truth = ("--input", night.archive, "--warehouse", warehouse)

    def full() -> None:
        run = Run(tmp_path / "log", *words)
        assert run.end() == 1, run.said
        assert "the run failed" in run.said
        assert "No space left on device" in run.said
        assert not list(warehouse.glob("_tmp/*")), "a run that failed leaves the disk as full as it found it"

    def room(megabytes: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={megabytes}m", str(place)], check=True)
        run = Run(tmp_path / "log", *words)
        assert run.end() == 0, run.said

    full()
    room(300)
    full()
    between = audit(*truth)
    assert (between.lost, between.doubled) == (0, 0)
    room(600)
    verdict = audit(*truth, "--stamps")
    tell(
        "disk full (tmpfs), folder",
        2,
        verdict,
        "the second time into a night that is there: none missing, none doubled before the rerun",
    )
    verdict.must_be_whole()


def test_a_file_may_not_grow(night: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """As by a quota: writing fails in mid-file, wherever that is."""
    warehouse = tmp_path / "warehouse"
    words = ("ingest", "--input", night.archive, "--warehouse", warehouse)
    limits = (2**16, 2**20, 2**23, 2**26, 2**27)
    for limit in limits:
        run = Run(tmp_path / "log", *words, child=("--largest_file_bytes", str(limit)))
        assert run.end() == 1, run.said
        assert "File too large" in run.said
    again = Run(tmp_path / "log", *words)
    assert again.end() == 0, again.said
    verdict = audit("--input", night.archive, "--warehouse", warehouse, "--stamps")
    tell("no file may grow beyond a limit (RLIMIT_FSIZE), folder", len(limits), verdict)
    verdict.must_be_whole()


@contextlib.contextmanager
def dying_disk(files: Path, place: Path, readable: float) -> Iterator[None]:
    """The files on a disk of their own, of whose bytes only the first part can be read: the others give EIO, from the kernel."""
    image = place.with_suffix(".img")
    size = sum(file.stat().st_size for file in files.iterdir())
    with image.open("wb") as file:
        file.truncate(size * 5 // 4 + 2**24)
    made = subprocess.run(["mke2fs", "-q", "-t", "ext2", "-F", "-d", str(files), str(image)], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no mke2fs (Debian: e2fsprogs)")
    mount("-o", "loop,ro", image, place)
    # A loop device gives EIO where the file behind it has been cut off.
    os.truncate(image, int(size * readable))
    yield
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("form", ["tar", "tar.gz"])
def test_a_disk_that_cannot_be_read(form: str, light: Night, place: Path, tmp_path: Path, tell: Callable[..., None]) -> None:
    """What can be read is there and the rest is told of; when the disk can be read again, so is the rest."""
    files = tmp_path / "files"
    files.mkdir()
    if form == "tar":
        os.link(light.archive, files / "night.tar")
    else:
        with light.archive.open("rb") as plain, gzip.open(files / "night.tar.gz", "wb", compresslevel=1) as packed:
            shutil.copyfileobj(plain, packed, 2**20)
    archive, warehouse = place / f"night.{form}", tmp_path / "warehouse"
    words = ("ingest", "--input", archive, "--warehouse", warehouse)
    truth = ("--input", archive, "--warehouse", warehouse)
    missing = []
    parts = (0.2, 0.6, 0.95)
    for readable in parts:
        with dying_disk(files, place, readable):
            with pytest.raises(OSError, match="Input/output error"):
                archive.read_bytes()
            run = Run(tmp_path / "log", *words)
            assert run.end() == 0, run.said
        os.link(files / archive.name, archive)
        between = audit(*truth)
        assert between.status == 1, "what could not be read must not pass"
        missing.append(between.faults["missing"])
        archive.unlink()
    assert missing == sorted(missing, reverse=True)
    os.link(files / archive.name, archive)
    run = Run(tmp_path / "log", *words)
    assert run.end() == 0, run.said
    verdict = audit(*truth)
    note = f"the audit before the rerun named the missing: {', '.join(f'{number:,}' for number in missing)}"
    tell(f"EIO in mid-archive (.{form})", len(parts), verdict, note)
    verdict.must_be_whole()
