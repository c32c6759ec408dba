"""Catalogs in files (see ``read_table``): loaded once into a worker process, and asked by all its threads.

A file stays in memory whole: its columns, and 12 bytes a source for the index (28 where its positions are not 64-bit floats
without gaps), and 8 where they have radii of their own. 10 million sources with six columns: 630 MB, and 1.5 GB while they are
read (``benchmarks.local_catalog``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pyarrow as pa

from alerts.catalogs.catalog import BadCatalog, Candidates, Floats, SourceColumns
from alerts.catalogs.files.file_columns import file_columns
from alerts.catalogs.files.own_radii import radii_arcsec, tiers
from alerts.catalogs.files.position_columns import PositionColumns
from alerts.catalogs.files.read_table import Opener, open_local_file, read_table
from alerts.catalogs.files.sky_index import SkyIndex
from alerts.catalogs.files.table_positions import arrow_positions
from alerts.catalogs.matching import floats, separations
from alerts.positions import on_the_sky

SLOW_MAS_YR = 187.0
"""Sources up to this proper motion, nearly all, are looked for together: 5 arcsec in 26.7 years. Faster ones apart, so that
Barnard's star (10.4 arcsec a year) does not widen the search for all."""

_FASTEST_MAS_YR = 1e5
"""Ten times Barnard's star."""
_SPARE_MOTION = 1.001
"""A star's path on the sky as ERFA computes it is not longer than rate times years but for the light's travel time, 1e-5."""
_SPARE_ARCSEC = 1e-3


@dataclass(frozen=True)
class _Tier:
    """Sources of about the same speed, and of about the same radius."""

    index: SkyIndex
    arcsec_yr: float = 0.0
    """The proper motion of the fastest."""
    radius_arcsec: float | None = None
    """The largest of their own; None: that which is asked."""


class LocalCatalog:
    """A catalog read from a file; see ``Catalog``."""

    def __init__(self, sources: pa.RecordBatch, source_columns: SourceColumns, radii_arcsec: Floats | None = None) -> None:
        """``sources``: ICRS positions in degrees; those without one on the sky are left out, and counted in ``left_out``.

        ``radii_arcsec``: of each source, up to where it is a match; NaN: up to what is asked.
        """
        good = on_the_sky(*_positions(sources, source_columns))
        self.left_out = int(np.count_nonzero(~good))
        self._sources, self._source_columns = sources.filter(pa.array(good)) if self.left_out else sources, source_columns
        self._radii = radii_arcsec[good] if self.left_out and radii_arcsec is not None else radii_arcsec
        self._ra, self._dec = _positions(self._sources, source_columns)
        plain = self._radii is None and not source_columns.moves
        self._tiers = [_Tier(SkyIndex(self._ra, self._dec))] if plain else self._divided()

    def _divided(self) -> list[_Tier]:
        count = len(self)
        pm, radii = self._motions() if self._source_columns.moves else np.zeros(count), self._radii
        number = 2 * (np.zeros(count, np.int64) if radii is None else tiers(radii)) + (pm > SLOW_MAS_YR)
        numbers = np.unique(number).tolist() or [0]
        found = []
        for each in numbers:
            rows = np.flatnonzero(number == each) if len(numbers) > 1 else slice(None)
            index = SkyIndex(self._ra, self._dec, None if isinstance(rows, slice) else rows)
            largest = None if radii is None or each < 2 else float(radii[rows].max())
            found.append(_Tier(index, pm[rows].max(initial=0.0) / 1000, largest))
        return found

    def _motions(self) -> Floats:
        """Total proper motions, mas/yr."""
        pm = np.hypot(
            *(floats(self._sources, cast(str, name)) for name in (self._source_columns.pmra, self._source_columns.pmdec))
        )
        # Without a proper motion a source stays where it is; a filler such as 1e20 must not make us search all of the sky.
        return np.minimum(np.where(np.isfinite(pm), pm, 0.0), _FASTEST_MAS_YR)

    def __len__(self) -> int:
        """How many sources it has."""
        return int(self._sources.num_rows)

    @property
    def source_columns(self) -> SourceColumns:
        """Which columns hold what."""
        return self._source_columns

    def looked_for_arcsec(self, radius_arcsec: float) -> float:
        """The largest radius that a search looks for, where ``radius_arcsec`` is that of sources without one of their own."""
        return max(radius_arcsec if tier.radius_arcsec is None else tier.radius_arcsec for tier in self._tiers)

    def search(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, epoch_jyear: Floats | None) -> Candidates:
        """The sources within the radius of the positions (ICRS), or within their own radius where they have one.

        With ``epoch_jyear`` and proper motions, those that come within it by then, and some more. Raises
        ``ValueError`` for a position that is not on the sky.
        """
        years = np.zeros(len(ra_deg))
        if epoch_jyear is not None and self._source_columns.moves and self._source_columns.position_epoch_jyear is not None:
            # Of an alert whose time is not known (NaN) sources are where they are.
            years = np.fmax(np.abs(epoch_jyear - self._source_columns.position_epoch_jyear), 0.0)
        spare = np.where(years > 0, _SPARE_ARCSEC, 0.0)
        positions, rows = [], []
        for tier in self._tiers:
            reach = tier.arcsec_yr * _SPARE_MOTION * years + spare
            radius = radius_arcsec if tier.radius_arcsec is None else tier.radius_arcsec
            position, source = tier.index.pairs(ra_deg, dec_deg, radius + reach)
            if self._radii is not None and tier.radius_arcsec is not None:
                # Of a tier's sources only the widest is one in all of what was searched.
                apart = separations(ra_deg[position], dec_deg[position], self._ra[source], self._dec[source])
                near = apart <= self._radii[source] + reach[position]
                position, source = position[near], source[near]
            positions.append(position)
            rows.append(source)
        found = np.concatenate(rows)
        own = None if self._radii is None else np.where(np.isnan(self._radii[found]), radius_arcsec, self._radii[found])
        looked_for = None if own is None else self.looked_for_arcsec(radius_arcsec)
        sources = self._sources.take(pa.array(found))
        return Candidates(np.concatenate(positions), sources, radius_arcsec=own, looked_for_arcsec=looked_for)


def _positions(sources: pa.RecordBatch, source_columns: SourceColumns) -> tuple[Floats, Floats]:
    """Right ascension and declination: the columns themselves where these are floats already, not a copy of them."""
    ra, dec = (
        column.to_numpy() if column.type == pa.float64() and not column.null_count else floats(sources, name)
        for name, column in (
            (name, sources.column(name)) for name in cast(tuple[str, str], (source_columns.ra, source_columns.dec))
        )
    )
    return ra, dec


def open_local(path: str, columns: Mapping[str, str], opener: Opener | None = None, *, is_list: bool = False) -> LocalCatalog:
    """The catalog in a file.

    ``columns`` names columns for ``ra``, ``dec``, ``id``, ``radius``, ``pmra``, ``pmdec`` (ICRS degrees; the unit that the file
    tells, else arcsec; mas/yr, that in right ascension times cos dec) and gives the ``epoch`` of the positions as a Julian year.
    ``opener`` opens a path or URI to read bytes. In a list (``is_list``) a column ``radius_arcsec`` need not be named.
    Raises ``BadCatalog``.
    """
    opener = opener or open_local_file
    told = file_columns(path, columns, opener, is_list=is_list)
    positions, radius, source_id = told.positions, told.radius, told.sources.source_id
    numbers = [name for name in (told.sources.pmra, told.sources.pmdec, radius.name if radius else None) if name is not None]
    ids = [] if source_id is None else [source_id]
    read = read_table(path, opener, numbers=numbers, ids=ids, texts=[positions.ra, positions.dec])
    radii = None if radius is None else radii_arcsec(path, read, radius, source_id)
    catalog = LocalCatalog(*_in_degrees(path, read, told.sources, positions), radii)
    if not len(catalog):
        raise BadCatalog(
            f"none of the {catalog.left_out} sources in {path} is on the sky; columns {positions.ra!r} and "
            f"{positions.dec!r} must hold degrees, 0 <= RA <= 360 and -90 <= Dec <= 90"
        )
    return catalog


def _in_degrees(
    path: str, sources: pa.RecordBatch, source_columns: SourceColumns, positions: PositionColumns
) -> tuple[pa.RecordBatch, SourceColumns]:
    """The sources with columns of their ICRS degrees; those of the file, untouched, where they are that."""
    added = []
    for name, degrees in zip((positions.ra, positions.dec), arrow_positions(path, sources, positions), strict=True):
        column = sources.column(name)
        is_number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
        if is_number and np.array_equal(floats(sources, name), degrees, equal_nan=True):
            added.append(name)
            continue
        new = f"{'ra' if name == positions.ra else 'dec'}_deg"
        while new in sources.schema.names:
            new = f"_{new}"
        sources = sources.append_column(new, pa.array(degrees, mask=np.isnan(degrees)))
        added.append(new)
    return sources, replace(source_columns, ra=added[0], dec=added[1])


def check_local(path: str, columns: Mapping[str, str], opener: Opener | None = None) -> SourceColumns:
    """What is where in a file, from its header alone. Raises ``BadCatalog`` where ``open_local`` would, as far as that tells."""
    return file_columns(path, columns, opener or open_local_file).sources
