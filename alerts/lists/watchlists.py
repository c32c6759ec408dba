"""Watchlists: places of one's own on the sky, with a radius each. Which alerts are on a list, and a list as a catalog.

Both are asked of the same sources, read once per process, and at the alerts' own epoch where the list has proper motions: so an
alert is on the list if and only if the catalog ``watchlist:NAME`` has a match for it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.matching import within
from alerts.catalogs.open import check
from alerts.catalogs.rows import epochs_jyear
from alerts.catalogs.spec import PARAMETERS, WATCHLIST, CatalogSpec, check_radius, finite
from alerts.lists.named import BadList, check_different, parse_named
from alerts.positions import on_the_sky

if TYPE_CHECKING:
    from alerts.catalogs.files.local import LocalCatalog

Opener = Callable[[str], BinaryIO]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WatchlistSpec:
    """One watchlist, and how its file is read."""

    name: str
    path: str
    radius_arcsec: float
    """Of rows that have none of their own."""
    columns: tuple[tuple[str, str], ...] = ()
    """What the person said of its columns, as in ``CatalogSpec``."""

    @property
    def catalog(self) -> CatalogSpec:
        """The list as a catalog, whose rows are named ``watchlist:NAME``."""
        return CatalogSpec(f"{WATCHLIST}:{self.name}", WATCHLIST, self.path, self.radius_arcsec, dict(self.columns))

    @property
    def text(self) -> str:
        """The list with all that was said of it, as ``parse_watchlist`` reads it."""
        said = {**dict(self.columns), "radius_arcsec": repr(self.radius_arcsec)}
        return f"{self.name}={self.path}?{urlencode(said, safe=',:/')}"


def parse_watchlist(text: str, radius_arcsec: float) -> WatchlistSpec:
    """A watchlist from ``NAME=FILE[?...]``, ``radius_arcsec`` where it says none. Opens nothing. Raises ``BadList``."""
    named = parse_named(text, PARAMETERS[WATCHLIST])
    columns = dict(named.parameters)
    try:
        radius = finite(text, "radius_arcsec", columns.pop("radius_arcsec", str(radius_arcsec)))
        check_radius(f"{WATCHLIST}:{named.name}", WATCHLIST, radius)
    except BadCatalog as error:
        raise BadList(str(error)) from error
    return WatchlistSpec(named.name, named.path, radius, tuple(sorted(columns.items())))


def of_catalog(spec: CatalogSpec) -> WatchlistSpec:
    """The watchlist that such a catalog is."""
    return WatchlistSpec(spec.name.removeprefix(f"{WATCHLIST}:"), spec.target, spec.radius_arcsec, tuple(spec.columns.items()))


def check_watchlists(specs: Iterable[WatchlistSpec], opener: Opener) -> None:
    """Read them, and refuse those that cannot be used, and two of one name. Raises ``BadList``."""
    every = list(specs)
    check_different(spec.name for spec in every)
    for spec in every:
        try:
            check(spec.catalog, opener)
        except BadCatalog as error:
            raise BadList(f"{spec.name}: {error}") from error


class Watchlist:
    """The places of a list. Used by several threads at once."""

    def __init__(self, spec: WatchlistSpec, places: LocalCatalog) -> None:
        self.spec, self._places = spec, places

    def contains(self, alerts: pa.RecordBatch) -> pa.BooleanArray:
        """Whether any source is within its radius of each alert; NULL of alerts without a place on the sky, or a time.

        ``alerts``: rows of ``{survey}_alerts``, of which ``ra_deg``, ``dec_deg`` and ``observed_at`` are read.
        """
        ra, dec = (
            np.asarray(pc.fill_null(alerts.column(name), float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)
            for name in ("ra_deg", "dec_deg")
        )
        asked = on_the_sky(ra, dec) & np.asarray(alerts.column("observed_at").is_valid().to_numpy(zero_copy_only=False))
        rows = np.flatnonzero(asked)
        ra, dec = ra[rows], dec[rows]
        epoch = epochs_jyear(alerts.select(["observed_at"]).take(pa.array(rows)))
        found = self._places.search(ra, dec, self.spec.radius_arcsec, epoch)
        columns = self._places.source_columns
        answer = within(found, columns, ra, dec, radius_arcsec=self.spec.radius_arcsec, epoch_jyear=epoch)
        listed = np.zeros(len(asked), np.bool_)
        listed[rows[answer.position]] = True
        return pa.array(listed, mask=~asked)


def read_watchlist(spec: WatchlistSpec, data: bytes) -> Watchlist:
    """A watchlist from the bytes of its file. Raises ``BadList``."""
    from alerts.catalogs.files.local import open_local  # noqa: PLC0415 - reads astropy's tables: half a second

    try:
        places = open_local(spec.path, dict(spec.columns), lambda path: io.BytesIO(data), is_list=True)
    except BadCatalog as error:
        raise BadList(f"{spec.name}: {error}") from error
    if places.left_out:
        told = "%s, the list %s: %d rows have a position that is no place on the sky, and are left out"
        _LOG.warning(told, spec.path, spec.name, places.left_out)
    return Watchlist(spec, places)
