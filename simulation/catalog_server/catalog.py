"""A catalog as the stand-in serves it: its columns, and its sources where the service would match them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import erfa
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial import cKDTree

from alerts.positions import Degrees, on_the_sky

Indices = np.ndarray[Any, np.dtype[np.int64]]

_DATATYPES = {
    pa.bool_(): "boolean",
    pa.int8(): "short",
    pa.int16(): "short",
    pa.int32(): "int",
    pa.int64(): "long",
    pa.uint8(): "unsignedByte",
    pa.uint16(): "int",
    pa.uint32(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
}
"""VOTable's names of Arrow types; all others are served as text (``char``)."""
_MAS = np.radians(1 / 3.6e6)
_ROUNDING = 1e-14
"""Of unit vectors. Pairs are found a little beyond the radius, then measured."""


@dataclass(frozen=True)
class Declared:
    """Which columns say where sources are (ICRS, degrees) and how they move (mas/yr, ``pmra`` times cos dec), and when."""

    ra: str
    dec: str
    pmra: str | None = None
    pmdec: str | None = None
    position_epoch_jyear: float = 2000.0
    """The epoch of ``ra`` and ``dec``."""
    match_epoch_jyear: float = 2000.0
    """Where the service moves sources that have a proper motion before it matches; the others stay where they are."""


@dataclass(frozen=True)
class ServedColumn:
    """A column's name, its VOTable datatype and unit."""

    name: str
    datatype: str
    unit: str = ""


@dataclass(frozen=True)
class Pairs:
    """A position asked for and a source, by their indices, and how far apart they are."""

    position: Indices
    source: Indices
    separation_arcsec: Degrees

    def __len__(self) -> int:
        return len(self.position)

    def take(self, chosen: Indices | slice) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.position[chosen], self.source[chosen], self.separation_arcsec[chosen])


class ServedCatalog:
    """A catalog in memory. Used by several threads at once; never changes."""

    def __init__(
        self,
        table: pa.Table,
        declared: Declared,
        *,
        units: Mapping[str, str] | None = None,
        datatypes: Mapping[str, str] | None = None,
    ) -> None:
        """Raises ``ValueError`` for columns that are missing, occur twice, or hold what no answer can.

        ``datatypes`` are for columns of text that are to be served as it is, under another datatype. Sources without a
        position on the sky are left out; ``left_out`` is how many.
        """
        _check(table, declared)
        ra, dec = _matched(table, declared)
        placed = on_the_sky(ra, dec)
        self.left_out = len(placed) - int(np.count_nonzero(placed))
        if self.left_out:
            table, ra, dec = table.filter(pa.array(placed)), ra[placed], dec[placed]
        self.ra_deg, self.dec_deg = ra, dec
        """The sources where they are matched (ICRS)."""
        self._table = table.combine_chunks()
        self._tree = cKDTree(unit_vectors(ra, dec), balanced_tree=False, compact_nodes=False)
        types = {field.name: _DATATYPES.get(field.type, "char") for field in table.schema} | dict(datatypes or {})
        self.columns = {name: ServedColumn(name, types[name], (units or {}).get(name, "")) for name in table.column_names}

    def __len__(self) -> int:
        return len(self.ra_deg)

    def cells(self, name: str, rows: Indices) -> pa.Array:
        """What answers say in a column, as text; NULL where the catalog has nothing (NaN is nothing to the service)."""
        found = self._table.column(name).take(pa.array(rows)).combine_chunks()
        if pa.types.is_floating(found.type):
            found = pc.if_else(pc.is_nan(found), pa.scalar(None, found.type), found)
        return pc.cast(found, pa.string())

    def near(self, ra_deg: Degrees, dec_deg: Degrees, radius_arcsec: float) -> Pairs:
        """All pairs of a position (ICRS) and a source within the radius: by position, each one's nearest source first."""
        asked = unit_vectors(ra_deg, dec_deg)
        chord = 2 * np.sin(np.radians(radius_arcsec / 3600) / 2) + _ROUNDING
        found = self._tree.query_ball_point(asked, chord) if len(asked) else []
        numbers = np.fromiter(map(len, found), np.int64, len(found))
        position = np.repeat(np.arange(len(found)), numbers)
        source = np.fromiter(itertools.chain.from_iterable(found), np.int64, len(position))
        pairs = self._measured(asked, position, source)
        pairs = pairs.take(np.flatnonzero(pairs.separation_arcsec <= radius_arcsec))
        return pairs.take(np.lexsort((pairs.separation_arcsec, pairs.position)))

    def nearest(self, ra_deg: Degrees, dec_deg: Degrees, number: int) -> Pairs:
        """The nearest sources of each position, however far away."""
        asked = unit_vectors(ra_deg, dec_deg)
        number = min(number, len(self))
        _, source = self._tree.query(asked, range(1, number + 1))
        return self._measured(asked, np.repeat(np.arange(len(asked)), number), source.ravel().astype(np.int64))

    def _measured(self, asked: Degrees, position: Indices, source: Indices) -> Pairs:
        chords = np.linalg.norm(self._tree.data[source] - asked[position], axis=1)
        return Pairs(position, source, np.degrees(2 * np.arcsin(np.minimum(chords / 2, 1))) * 3600)


def unit_vectors(ra_deg: Degrees, dec_deg: Degrees) -> Degrees:
    """Positions as vectors of length 1, one row each."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def moved(
    ra_deg: Degrees, dec_deg: Degrees, rates: tuple[Degrees, Degrees], from_jyear: float, to_jyear: float
) -> tuple[Degrees, Degrees]:
    """Positions (ICRS, degrees) at another epoch (Julian years, TDB).

    ``rates`` are the proper motions in right ascension (times cos dec) and declination, mas/yr. Sources without (NaN), and
    those that are not on the sky, stay as they are.
    Space motion without radial velocity: ERFA's ``pmsafe``, on which astropy's ``apply_space_motion`` rests. On purpose not
    ``alerts.catalogs.proper_motion``: the stand-in is a witness against it.
    """
    ra, dec = ra_deg.copy(), dec_deg.copy()
    moves = np.flatnonzero(np.isfinite(rates[0]) & np.isfinite(rates[1]) & on_the_sky(ra, dec))
    lon, lat = np.radians(ra[moves]), np.radians(dec[moves])
    radians = rates[0][moves] * _MAS / np.cos(lat), rates[1][moves] * _MAS
    # The ufunc itself: the function around it warns of every star without parallax.
    lon, lat, *_ = erfa.ufunc.pmsafe(lon, lat, *radians, 0.0, 0.0, *erfa.epj2jd(from_jyear), *erfa.epj2jd(to_jyear))
    ra[moves], dec[moves] = np.degrees(lon) % 360, np.degrees(lat)
    return ra, dec


def _check(table: pa.Table, declared: Declared) -> None:
    names = table.column_names
    wanted = [name for name in (declared.ra, declared.dec, declared.pmra, declared.pmdec) if name is not None]
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(f"the catalog has no column {', '.join(missing)}; it has {', '.join(names)}")
    if (declared.pmra is None) != (declared.pmdec is None):
        raise ValueError("a catalog with pmra needs pmdec, and the other way round")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"the catalog has the column {', '.join(twice)} twice; give each a name of its own")
    if nested := [field.name for field in table.schema if pa.types.is_nested(field.type) or pa.types.is_binary(field.type)]:
        raise ValueError(f"no answer can hold the column {', '.join(nested)}: it is nested or binary; leave it out")


def _matched(table: pa.Table, declared: Declared) -> tuple[Degrees, Degrees]:
    ra, dec = (_numbers(table, name) for name in (declared.ra, declared.dec))
    if declared.pmra is None or declared.pmdec is None:
        return ra, dec
    rates = _numbers(table, declared.pmra), _numbers(table, declared.pmdec)
    return moved(ra, dec, rates, declared.position_epoch_jyear, declared.match_epoch_jyear)


def _numbers(table: pa.Table, name: str) -> Degrees:
    """A column as float64, NULL and empty text as NaN."""
    column = table.column(name)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
    try:
        cast: Sequence[float] = pc.cast(column, pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise ValueError(f"the column {name} does not hold numbers: {error}") from error
    return np.array(cast, dtype=np.float64)
