"""The lists of a run: plain values that go to workers, where the files behind them are opened once per process.

A worker takes a file only as it was when the run began: what has changed since is no list of this run, and what filters would
say by it would not be what they say elsewhere.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, BinaryIO, TypeVar

from alerts.filters.row import Lists
from alerts.limits import MAX_LISTS, MAX_REGION_BYTES
from alerts.lists.named import BadList, check_different
from alerts.lists.regions.reading import read_region
from alerts.lists.regions.region import Region
from alerts.lists.regions.spec import RegionSpec, parse_region
from alerts.lists.watchlists import Watchlist, WatchlistSpec, parse_watchlist, read_watchlist

Opener = Callable[[str], BinaryIO]
_Spec = TypeVar("_Spec", WatchlistSpec, RegionSpec)
_T = TypeVar("_T")
_Key = TypeVar("_Key")
_VERSIONS_HELD = 2
"""Of each list that a process keeps open: what a run asks, and what its file has become since."""


@dataclass(frozen=True)
class WatchlistFile:
    """A watchlist, and what was in its file."""

    spec: WatchlistSpec
    digest: str
    """SHA-256 of the file, hexadecimal."""
    kind = "watchlist"


@dataclass(frozen=True)
class RegionFile:
    """A region, and what was in its file."""

    spec: RegionSpec
    digest: str
    """SHA-256 of the file, hexadecimal."""
    is_map: bool
    is_timed: bool
    kind = "region"


@dataclass(frozen=True)
class OwnLists:
    """Watchlists and regions, each kind with names of its own. Hashable."""

    watchlists: tuple[WatchlistFile, ...] = ()
    regions: tuple[RegionFile, ...] = ()

    @property
    def names(self) -> Lists:
        """What filters can ask of them."""
        return Lists(
            watchlists=tuple(file.spec.name for file in self.watchlists),
            regions=tuple(file.spec.name for file in self.regions),
            maps=tuple(file.spec.name for file in self.regions if file.is_map),
            timed=tuple(file.spec.name for file in self.regions if file.is_timed),
        )

    @property
    def by_name(self) -> dict[str, WatchlistFile | RegionFile]:
        """All, as ``watchlist:NAME`` and ``region:NAME``."""
        every: list[WatchlistFile | RegionFile] = [*self.watchlists, *self.regions]
        return {f"{file.kind}:{file.spec.name}": file for file in every}

    @property
    def versions(self) -> dict[str, str]:
        """By these names what stands for what a list is: other contents or parameters are another."""
        return {name: _version(file) for name, file in self.by_name.items()}

    @property
    def texts(self) -> dict[str, str]:
        """By these names what was said of each, and which file it is."""
        return {name: file.spec.text for name, file in self.by_name.items()}


NO_OWN_LISTS = OwnLists()


def _version(file: WatchlistFile | RegionFile) -> str:
    return hashlib.sha256(f"{file.spec.text}\n{file.digest}".encode()).hexdigest()[:16]


def read_lists(
    watchlists: Iterable[str],
    regions: Iterable[str],
    radius_arcsec: float,
    opener: Opener,
    absolute: Callable[[str], str],
    *,
    before: OwnLists | None = None,
    say: Callable[[str], None] = lambda problem: None,
) -> OwnLists:
    """The lists that a person names (``NAME=FILE?...``), each opened and found to be one.

    ``radius_arcsec``: of watchlists' places that have none. ``absolute`` gives a path that means the same from every folder.
    ``before``: what they were; one of these that has become wrong stays, which ``say`` is told. Raises ``BadList``, also for a
    file that cannot be read.
    """
    watchlists, regions = list(watchlists), list(regions)
    if len(watchlists) + len(regions) > MAX_LISTS:
        told = f"there are {len(watchlists) + len(regions):,} watchlists and regions; {MAX_LISTS:,} are the most"
        raise BadList(f"{told}, so leave some out, or write several into one file")
    of_watchlists = [_there(parse_watchlist(text, radius_arcsec), absolute) for text in watchlists]
    of_regions = [_there(parse_region(text), absolute) for text in regions]
    check_different(spec.name for spec in of_watchlists)
    check_different(spec.name for spec in of_regions)
    kept: dict[WatchlistSpec | RegionSpec, Any] = {file.spec: file for file in before.by_name.values()} if before else {}

    def read(spec: _Spec, file_of: Callable[[_Spec, Opener], _T]) -> _T:
        try:
            return file_of(spec, opener)
        except BadList as error:
            if spec not in kept:
                raise
            say(str(error))
            found: _T = kept[spec]
            return found

    return OwnLists(
        tuple(read(spec, _watchlist_file) for spec in of_watchlists), tuple(read(spec, _region_file) for spec in of_regions)
    )


def _watchlist_file(spec: WatchlistSpec, opener: Opener) -> WatchlistFile:
    return WatchlistFile(spec, _opened(spec, None, opener, read_watchlist)[0])


def _region_file(spec: RegionSpec, opener: Opener) -> RegionFile:
    digest, region = _opened(spec, None, opener, read_region)
    return RegionFile(spec, digest, region.is_map, region.event_time is not None)


def _there(spec: _Spec, absolute: Callable[[str], str]) -> _Spec:
    return replace(spec, path=absolute(spec.path))


def open_watchlist(file: WatchlistFile, opener: Opener) -> Watchlist:
    """The list as it was when the run began. Raises ``BadList`` where its file is another now, or cannot be read."""
    return _opened(file.spec, file.digest, opener, read_watchlist)[1]


def open_region(file: RegionFile, opener: Opener) -> Region:
    """The region as it was when the run began. Raises ``BadList`` where its file is another now, or cannot be read."""
    return _opened(file.spec, file.digest, opener, read_region)[1]


_OPEN: OrderedDict[WatchlistSpec | RegionSpec, OrderedDict[str, Any]] = OrderedDict()
"""By the digests of their files."""
_LOCK = Lock()


def _opened(spec: _Spec, wanted: str | None, opener: Opener, read: Callable[[_Spec, bytes], _T]) -> tuple[str, _T]:
    """The digest of a list's file, and the list: of these bytes made once in this process."""
    with _LOCK:
        held = _OPEN.get(spec, OrderedDict())
        if wanted is None or wanted not in held:
            data = _bytes_of(spec, opener)
            digest = hashlib.sha256(data).hexdigest()
            if wanted not in (None, digest):
                raise BadList(f"{spec.path}, the list {spec.name}, has changed since the run began")
            wanted = digest
            if digest not in held:
                held[digest] = read(spec, data)
        found: _T = held[wanted]
        _keep_newest(held, wanted, _VERSIONS_HELD)
        _OPEN[spec] = held
        _keep_newest(_OPEN, spec, MAX_LISTS)
        return wanted, found


def _keep_newest(held: OrderedDict[_Key, Any], key: _Key, most: int) -> None:
    """Let go of what was asked for least of late."""
    held.move_to_end(key)
    while len(held) > most:
        held.popitem(last=False)


def _bytes_of(spec: WatchlistSpec | RegionSpec, opener: Opener) -> bytes:
    try:
        with opener(spec.path) as file:
            data = file.read(MAX_REGION_BYTES + 1)
    except Exception as error:  # a bucket raises what its service's client raises
        told = getattr(error, "strerror", None) or f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise BadList(f"{spec.path}, the list {spec.name}, cannot be read: {told}") from error
    if len(data) > MAX_REGION_BYTES:
        raise BadList(f"{spec.path}, the list {spec.name}, has more than {MAX_REGION_BYTES:,} bytes, which is the most")
    if not data:
        raise BadList(f"{spec.path}, the list {spec.name}, is empty; a list of nothing would say no of everything")
    return data
