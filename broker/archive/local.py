"""Where the nights are on this machine: one folder of packed nights, named as the archive names them."""

from __future__ import annotations

import os
import re
from datetime import date, datetime
from pathlib import Path

import platformdirs

from broker.archive.errors import NoLocalData, NoSuchRelease

_RELEASE = re.compile(r"ztf_public_([0-9]{8})\.tar\.gz")
_NIGHT = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")


def data_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder of nights: ``folder``, else ``$PITT_BROKER_DATA/ztf_archive``, else the user's data folder."""
    if folder is not None:
        return Path(folder)
    data = os.environ.get("PITT_BROKER_DATA")
    return Path(data or platformdirs.user_data_dir("pitt-broker")) / "ztf_archive"


def release_of(night: str | date) -> str:
    """The archive's name of a night given as a date, ``20180626``, ``2018-06-26``, or by that name itself.

    Raises ``ValueError`` for anything else.
    """
    if isinstance(night, str):
        named = _RELEASE.fullmatch(night)
        parts = _NIGHT.fullmatch(named[1] if named else night)
        if not parts:
            raise ValueError(f"{night!r} is no night; give 20180626, 2018-06-26 or ztf_public_20180626.tar.gz")
        try:
            night = date(*(int(part) for part in parts.groups()))
        except ValueError as error:
            raise ValueError(f"{night!r} is no night: {error}") from None
    return f"ztf_public_{night:%Y%m%d}.tar.gz"


def is_release(name: str) -> bool:
    """Whether a file of this name is a packed night."""
    return _RELEASE.fullmatch(name) is not None


def night_of(release: str) -> date | None:
    """The date (UTC) of a night by its name; None where the digits are no date."""
    try:
        return datetime.strptime(release[11:19], "%Y%m%d").date()
    except ValueError:
        return None


def local_archives(folder: Path) -> list[Path]:
    """The packed nights in a folder, oldest first; none when there is no folder."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if is_release(path.name)), key=lambda path: path.name)


def chosen_archives(folder: Path, release: str | date | None = None) -> list[Path]:
    """The nights to read, oldest first: all, or the one asked for.

    Raises ``NoLocalData`` when there is none at all, ``NoSuchRelease`` when there are only others.
    """
    found = local_archives(folder)
    if not found:
        raise NoLocalData(
            f"no night has been downloaded into {folder}; ztf_archive.download_data() gets the most recent one, "
            "ztf_archive.download_data_date(2018, 6, 26) a certain one"
        )
    if release is None:
        return found
    name = release_of(release)
    chosen = [path for path in found if path.name == name]
    if not chosen:
        year, month, day = int(name[11:15]), int(name[15:17]), int(name[17:19])
        raise NoSuchRelease(f"{name} is not in {folder}; ztf_archive.download_data_date({year}, {month}, {day}) gets it")
    return chosen
