"""The nights that are measured: simulated ones, and real ones where they are on this machine."""

from __future__ import annotations

import io
import itertools
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zlib_ng import gzip_ng

from alerts.avro.archives import is_alert_name
from broker.simulate import Night, write_night

ZTF, ZTF_OLD, ZTF_RECENT = "ZTF simulated", "ZTF 20181129", "ZTF 20231018"
LSST, LSST_REAL = "LSST simulated", "LSST 20260310"
"""Names of the samples."""
WHOLE_RUNS = (ZTF, ZTF_RECENT)
"""Those that are run from the archive to tables; others are only decoded, and measured stage by stage."""
_REAL = {
    ZTF_OLD: ("ztf", "ztf/nightly/ztf_public_20181129.tar.gz"),
    ZTF_RECENT: ("ztf", "ztf/nightly/ztf_public_20231018.tar.gz"),
    LSST_REAL: ("lsst", "lsst/nightly/lsst_20260310_v10_0.tar.gz"),
}
_LEVEL = 6  # gzip's own; of what is on disk


@dataclass(frozen=True)
class Sample:
    """A night: its archive ``.tar.gz`` and its survey."""

    name: str
    survey: str
    archive: Path

    def packets(self, at_most: int) -> list[bytes]:
        """Its first packets, as sent."""
        return [data for _, data in itertools.islice(members(self.archive), at_most)]


def simulated(folder: Path, survey: str, alerts: int) -> Sample:
    """A simulated night, with a history of dozens of epochs as real ones have."""
    written = write_night(Night(survey, alerts), folder / f"{survey}_{alerts}", "tar.gz")
    return Sample(ZTF if survey == "ztf" else LSST, survey, Path(written.archive))


def real_data() -> Path | None:
    """The folder of real packets, if there is one."""
    folder = Path(os.environ.get("PITT_BROKER_DATA", Path(__file__).parents[2] / "shared" / "data"))
    return folder if folder.is_dir() else None


def real() -> list[Sample]:
    """The real nights that are on this machine."""
    folder = real_data()
    if folder is None:
        return []
    found = [Sample(name, survey, folder / archive) for name, (survey, archive) in _REAL.items()]
    return [sample for sample in found if sample.archive.is_file()]


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every packet of an archive."""
    with tarfile.open(archive) as packed:
        for member in packed:
            content = packed.extractfile(member)
            if content is not None and is_alert_name(member.name):
                yield member.name, content.read()


def cut(archive: Path, alerts: int, folder: Path, suffix: str = ".tar.gz") -> Path:
    """An archive of exactly ``alerts`` packets, those of ``archive`` again and again, under other names, in ``folder``.

    ``suffix`` is ``.tar.gz`` or ``.tar``; packets are written one by one as they are read. One made before is used again.
    """
    out = folder / f"{archive.name.partition('.tar')[0]}_{alerts}{suffix}"
    if out.exists():
        return out
    half_written = out.with_name(f"{out.name}.part")
    opened = gzip_ng.open(half_written, "wb", _LEVEL) if out.suffix == ".gz" else half_written.open("wb")
    with opened as file, tarfile.open(fileobj=file, mode="w|") as packed:
        endless = (packet for number in itertools.count() for packet in _renamed(archive, number))
        for name, data in itertools.islice(endless, alerts):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            packed.addfile(member, io.BytesIO(data))
    half_written.rename(out)
    return out


def _renamed(archive: Path, number: int) -> Iterator[tuple[str, bytes]]:
    for name, data in members(archive):
        yield f"{number:05d}-{name.rsplit('/', 1)[-1]}", data
