"""Nights of the archive from there to here, and their alerts; see ``broker.ztf_archive``."""

from __future__ import annotations

import itertools
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.archive.download import fetch
from broker.archive.errors import NoSuchRelease, UnknownAlert
from broker.archive.index import index_of, remove_index
from broker.archive.local import chosen_archives, data_folder, local_archives, night_of, release_of
from broker.archive.part import remove_parts
from broker.archive.reading import iter_archive
from broker.archive.remote import Remote
from warehouses.alert_key import alert_key

if TYPE_CHECKING:
    from astropy.table import Table

Folder = str | os.PathLike[str] | None
_CANDID_DAY_ZERO, _CANDIDS_PER_DAY = date(2017, 1, 1), 10**15


def get_remote_release_list(*, url: str | None = None) -> list[str]:
    """Names of the nights in the public archive, oldest first. Raises ``RemoteError``."""
    with Remote(url) as remote:
        return remote.releases()


def get_remote_md5_table(*, url: str | None = None) -> Table:
    """The archive's MD5 sums as an astropy Table with the columns ``file`` and ``md5``. Raises ``RemoteError``."""
    from astropy.table import Table  # noqa: PLC0415 - it takes a while, and nothing else here needs it

    with Remote(url) as remote:
        sums = remote.md5_sums()
    return Table({"file": list(sums), "md5": list(sums.values())}, dtype=("U", "U32"))


def download_data(
    max_downloads: int = 1, *, folder: Folder = None, url: str | None = None, progress: bool | None = None
) -> list[Path]:
    """Download the most recent nights that are not yet here; gives their paths, newest first.

    A night without alerts (a few hundred bytes) comes along and is not counted, so that there is something to read
    afterwards. What broke off is gone on with. Raises ``RemoteError``, ``ChecksumMismatch``, ``NotEnoughSpace``.
    """
    place, found = data_folder(folder), []
    counted = 0
    with Remote(url) as remote:
        sums = _md5_sums(remote)
        for name in reversed(remote.releases()):
            if counted == _at_least_one(max_downloads):
                break
            if not (place / name).exists():
                found.append(fetch(remote, name, sums.get(name), place, progress=progress))
                counted += index_of(found[-1], progress).count > 0
    return found


def download_recent_data(
    max_downloads: int = 1,
    stop_on_exist: bool = False,
    *,
    folder: Folder = None,
    url: str | None = None,
    progress: bool | None = None,
) -> list[Path]:
    """Download those of the archive's ``max_downloads`` most recent nights that are not yet here; gives their paths.

    It goes back from the newest, and with ``stop_on_exist`` ends at the first that is here. Raises as ``download_data``.
    """
    place, found = data_folder(folder), []
    with Remote(url) as remote:
        sums = _md5_sums(remote)
        for name in remote.releases()[: -_at_least_one(max_downloads) - 1 : -1]:
            if (place / name).exists():
                if stop_on_exist:
                    break
                continue
            found.append(fetch(remote, name, sums.get(name), place, progress=progress))
            index_of(found[-1], progress)
    return found


def download_data_date(
    year: int, month: int, day: int, *, folder: Folder = None, url: str | None = None, progress: bool | None = None
) -> Path:
    """Download the night of a date (UTC) unless it is here; gives its path.

    Raises ``ValueError`` for no date, ``NoSuchRelease`` when the archive does not have it, else as ``download_data``.
    """
    name, place = release_of(date(year, month, day)), data_folder(folder)
    if not (place / name).exists():
        with Remote(url) as remote:
            fetch(remote, name, _md5_sums(remote).get(name), place, progress=progress)
    index_of(place / name, progress)
    return place / name


def get_local_release_list(*, folder: Folder = None) -> list[str]:
    """Names of the nights on this machine, oldest first."""
    return [path.name for path in local_archives(data_folder(folder))]


def get_number_local_releases(*, folder: Folder = None) -> int:
    """How many nights are on this machine."""
    return len(get_local_release_list(folder=folder))


def get_local_alert_list(*, folder: Folder = None, progress: bool | None = None) -> list[int]:
    """The candids of all alerts on this machine, in the order of ``iter_alerts``, copies too."""
    return [candid for path in local_archives(data_folder(folder)) for candid in index_of(path, progress).candids()]


def get_number_local_alerts(*, folder: Folder = None, progress: bool | None = None) -> int:
    """How many alerts are in all nights on this machine: as many as ``iter_alerts`` gives."""
    return sum(index_of(path, progress).count for path in local_archives(data_folder(folder)))


def iter_alerts(
    num_alerts: int | None = None, raw: bool = False, *, release: str | date | None = None, folder: Folder = None
) -> Iterator[Any]:
    """The alerts of all nights, or of the one ``release`` (``20180626``), oldest night first, read as they are asked for.

    One by one, or in lists of ``num_alerts``, the last of which may be shorter. Each is the dict that fastavro gives, or
    with ``raw`` the bytes of the packet as stored. Packets that are damaged are left out in both cases; one warning a
    night tells how many and which. Raises ``NoLocalData``, ``NoSuchRelease``, ``ValueError`` at once.
    """
    archives = chosen_archives(data_folder(folder), release)
    alerts = itertools.chain.from_iterable(iter_archive(path, raw) for path in archives)
    return alerts if num_alerts is None else _lists(alerts, _at_least_one(num_alerts))


def get_alert_data(candid: Any, raw: bool = False, *, folder: Folder = None, progress: bool | None = None) -> Any:
    """The alert of a candid, the first where it has copies: the dict that fastavro gives, or with ``raw`` its packet's bytes.

    A row of a query or an object of ``broker.orm`` will do as well.

    Looks into the night of the candid's own date first. Raises ``NoLocalData``; ``UnknownAlert``, a ``KeyError``;
    ``TypeError`` for anything but a whole number, because a float has changed a candid's last digits already.
    """
    if isinstance(candid, Mapping) or hasattr(candid, "alert_id"):
        candid = alert_key(candid).alert_id
    wanted = operator.index(candid)
    place = data_folder(folder)
    archives = chosen_archives(place)
    for path in sorted(archives, key=lambda path: not _may_hold(path.name, wanted)):
        index = index_of(path, progress)
        if found := index.find(wanted):
            stored, record = index.read(found)
            return stored.raw if raw else record
    raise UnknownAlert(
        f"no alert {wanted} is in the {len(archives)} nights in {place}; get_local_alert_list() gives all that are"
    )


def delete_local_data(*, folder: Folder = None) -> None:
    """Delete the downloaded nights, their indexes and what is left of broken downloads. Other files in the folder stay."""
    place = data_folder(folder)
    for path in local_archives(place):
        remove_index(path)
        path.unlink()
    remove_parts(place)


def _md5_sums(remote: Remote) -> dict[str, str]:
    try:
        return remote.md5_sums()
    except NoSuchRelease:
        return {}  # fetch tells, for each night


def _may_hold(release: str, candid: int) -> bool:
    """Whether a night is of the date in a candid, whose leading digits count the days (UTC) since 2017."""
    night = night_of(release)
    try:
        return night is not None and abs(night - _CANDID_DAY_ZERO - timedelta(candid // _CANDIDS_PER_DAY)) <= timedelta(1)
    except OverflowError:
        return False


def _at_least_one(number: int) -> int:
    if number < 1:
        raise ValueError(f"{number} is too few; give 1 or more")
    return number


def _lists(alerts: Iterable[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(alerts)
    while part := list(itertools.islice(rest, size)):
        yield part
