"""Catalogs in files (see ``read_table``): loaded once into a worker process, and asked by all its threads.

A file stays in memory whole: its columns, and 12 bytes a source for the index (28 where its positions are not 64-bit floats
without gaps). 10 million sources with six columns: 630 MB, and 1.5 GB while they are read (``benchmarks.local_catalog``).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

import astropy.units as u
import numpy as np
import pyarrow as pa

from alerts.catalogs.catalog import BadCatalog, Candidates, Floats, SourceColumns
from alerts.catalogs.files.angles import is_sexagesimal
from alerts.catalogs.files.position_columns import PositionColumns, find_positions, listed
from alerts.catalogs.files.read_table import Header, Opener, open_local_file, parts_of, read_header, read_table
from alerts.catalogs.files.sky_index import SkyIndex
from alerts.catalogs.files.table_positions import arrow_positions
from alerts.catalogs.matching import floats
from alerts.catalogs.spec import check_pairs, jyear
from alerts.positions import on_the_sky

SLOW_MAS_YR = 187.0
"""Sources up to this proper motion, nearly all, are looked for together: 5 arcsec in 26.7 years. Faster ones apart, so that
Barnard's star (10.4 arcsec a year) does not widen the search for all."""

_FASTEST_MAS_YR = 1e5
"""Ten times Barnard's star."""
_PARAMETERS = ("ra", "dec", "id", "pmra", "pmdec", "epoch")
_IDS = ("source_id", "id", "name", "main_id", "objid", "object_id", "designation", "source")
_SPARE_MOTION = 1.001
"""A star's path on the sky as ERFA computes it is not longer than rate times years but for the light's travel time, 1e-5."""
_SPARE_ARCSEC = 1e-3


@dataclass(frozen=True)
class _Tier:
    """Sources of about the same speed."""

    index: SkyIndex
    arcsec_yr: float
    """The proper motion of the fastest."""


class LocalCatalog:
    """A catalog read from a file; see ``Catalog``."""

    def __init__(self, sources: pa.RecordBatch, source_columns: SourceColumns) -> None:
        """``sources``: ICRS positions in degrees; those without one on the sky are left out, and counted in ``left_out``."""
        good = on_the_sky(*_positions(sources, source_columns))
        self.left_out = int(np.count_nonzero(~good))
        self._sources, self._source_columns = sources.filter(pa.array(good)) if self.left_out else sources, source_columns
        ra, dec = _positions(self._sources, source_columns)
        self._tiers = self._divided(ra, dec) if source_columns.moves else [_Tier(SkyIndex(ra, dec), 0.0)]

    def _divided(self, ra_deg: Floats, dec_deg: Floats) -> list[_Tier]:
        pm = np.hypot(
            *(floats(self._sources, cast(str, name)) for name in (self._source_columns.pmra, self._source_columns.pmdec))
        )
        # Without a proper motion a source stays where it is; a filler such as 1e20 must not make us search all of the sky.
        pm = np.minimum(np.where(np.isfinite(pm), pm, 0.0), _FASTEST_MAS_YR)
        fast = pm > SLOW_MAS_YR
        parts = (np.flatnonzero(~fast), np.flatnonzero(fast)) if fast.any() else (None,)
        return [_Tier(SkyIndex(ra_deg, dec_deg, rows), pm[rows].max(initial=0.0) / 1000) for rows in parts]

    def __len__(self) -> int:
        """How many sources it has."""
        return int(self._sources.num_rows)

    @property
    def source_columns(self) -> SourceColumns:
        """Which columns hold what."""
        return self._source_columns

    def search(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, epoch_jyear: Floats | None) -> Candidates:
        """The sources within the radius of the positions (ICRS).

        With ``epoch_jyear`` and proper motions, those that come within the radius by then, and some more. Raises
        ``ValueError`` for a position that is not on the sky.
        """
        radius = np.full(len(ra_deg), radius_arcsec)
        years = np.zeros(len(ra_deg))
        if epoch_jyear is not None and self._source_columns.moves and self._source_columns.position_epoch_jyear is not None:
            # Of an alert whose time is not known (NaN) sources are where they are.
            years = np.fmax(np.abs(epoch_jyear - self._source_columns.position_epoch_jyear), 0.0)
        spare = np.where(years > 0, _SPARE_ARCSEC, 0.0)
        positions, rows = [], []
        for tier in self._tiers:
            position, source = tier.index.pairs(ra_deg, dec_deg, radius + tier.arcsec_yr * _SPARE_MOTION * years + spare)
            positions.append(position)
            rows.append(source)
        return Candidates(np.concatenate(positions), self._sources.take(pa.array(np.concatenate(rows))))


def _positions(sources: pa.RecordBatch, source_columns: SourceColumns) -> tuple[Floats, Floats]:
    """Right ascension and declination: the columns themselves where these are floats already, not a copy of them."""
    ra, dec = (
        column.to_numpy() if column.type == pa.float64() and not column.null_count else floats(sources, name)
        for name, column in (
            (name, sources.column(name)) for name in cast(tuple[str, str], (source_columns.ra, source_columns.dec))
        )
    )
    return ra, dec


def open_local(path: str, columns: Mapping[str, str], opener: Opener | None = None) -> LocalCatalog:
    """The catalog in a file.

    ``columns`` names columns for ``ra``, ``dec``, ``id``, ``pmra``, ``pmdec`` (ICRS degrees; mas/yr, that in right ascension
    times cos dec) and gives the ``epoch`` of the positions as a Julian year. ``opener`` opens a path or URI to read bytes.
    Raises ``BadCatalog``.
    """
    source_columns, positions = _checked(path, columns, opener or open_local_file)
    numbers = [name for name in (source_columns.pmra, source_columns.pmdec) if name is not None]
    ids = [] if source_columns.source_id is None else [source_columns.source_id]
    read = read_table(path, opener or open_local_file, numbers=numbers, ids=ids, texts=[positions.ra, positions.dec])
    catalog = LocalCatalog(*_in_degrees(path, read, source_columns, positions))
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
    return _checked(path, columns, opener or open_local_file)[0]


def _checked(path: str, columns: Mapping[str, str], opener: Opener) -> tuple[SourceColumns, PositionColumns]:
    unknown = sorted(set(columns) - set(_PARAMETERS))
    if unknown:
        raise BadCatalog(f"{path} has the parameter {unknown[0]!r}; a file takes {', '.join(_PARAMETERS)}")
    epoch = jyear(path, columns, "epoch")
    check_pairs(path, columns)
    if "pmra" in columns and epoch is None:
        raise BadCatalog(f"{path} has proper motions but no epoch; say when its positions hold: epoch=2016.0")
    header = read_header(path, opener)
    positions = find_positions(path, header.fields, columns.get("ra"), columns.get("dec"))
    for name in (positions.ra, positions.dec):
        _check_position(path, header, name)
    pmra, pmdec = columns.get("pmra"), columns.get("pmdec")
    for motion in (pmra, pmdec):
        if motion is not None:
            _check_motion(path, header, motion)
    if header.empty:
        raise BadCatalog(f"{path} has no rows; a catalog without sources would match nothing, and not say why")
    source_id = _id(path, header, columns.get("id"))
    return SourceColumns(positions.ra, positions.dec, source_id, pmra, pmdec, position_epoch_jyear=epoch), positions


def _check_position(path: str, header: Header, name: str) -> None:
    """Refuse early what is neither a number nor text that may be an angle."""
    is_text = header.kinds[name] in ("string", "large_string", "string_view")
    sample = header.samples.get(name)
    if name not in header.numbers and not is_text and not (sample is not None and is_sexagesimal(sample)):
        raise BadCatalog(
            f"column {name!r} of {path} holds {header.kinds[name]}; it must hold decimal numbers in deg, or text like 05:34:31.9"
        )


def _check_motion(path: str, header: Header, name: str) -> None:
    unit = u.mas / u.yr
    _check_there(path, header, name)
    if name not in header.numbers:
        raise BadCatalog(f"column {name!r} of {path} holds {header.kinds[name]}; it must hold decimal numbers in {unit}")
    text = next(field.unit for field in header.fields if field.name == name)
    told = u.Unit(text, parse_strict="silent")
    # What astropy cannot read, and what is not said, is taken for right.
    if text and not isinstance(told, u.UnrecognizedUnit) and told != unit:
        raise BadCatalog(f"column {name!r} of {path} is in {text}; it must be in {unit}")


def _check_there(path: str, header: Header, name: str) -> None:
    if name not in header.kinds:
        raise BadCatalog(f"{path} has no column {name!r}; it has {listed(header.kinds)}")


def _id(path: str, header: Header, wanted: str | None) -> str | None:
    if wanted is None:
        return next((name for known in _IDS for name in header.kinds if name.lower() == known and name in header.ids), None)
    _check_there(path, header, wanted)
    if wanted not in header.ids:
        raise BadCatalog(f"column {wanted!r} of {path} holds {header.kinds[wanted]}; ids are integers or text")
    return wanted


class _Shared:
    """One catalog of this process, opened by whoever comes first while the others wait."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.catalog: LocalCatalog | None = None
        self.stamp: tuple[int, int] | None = None


_SHARED: dict[tuple[str, frozenset[tuple[str, str]]], _Shared] = {}
_SHARED_LOCK = threading.Lock()


def shared_local(path: str, columns: Mapping[str, str], opener: Opener | None = None) -> LocalCatalog:
    """``open_local``, once per process and for all its threads; again when a file on disk has changed. Raises ``BadCatalog``."""
    with _SHARED_LOCK:
        shared = _SHARED.setdefault((path, frozenset(columns.items())), _Shared())
    with shared.lock:
        stamp = _stamp(path)
        if shared.catalog is None or shared.stamp != stamp:
            # First let go of what it was: there may be no room for both.
            shared.catalog = None
            shared.catalog, shared.stamp = open_local(path, columns, opener), stamp
        return shared.catalog


def _stamp(path: str) -> tuple[int, int] | None:
    """What tells a file from an earlier one of its name; None where that would mean asking a storage service."""
    try:
        found = [os.stat(part) for part in (parts_of(path) if os.path.isdir(path) else [path])]
    except OSError:
        return None
    return max((status.st_mtime_ns for status in found), default=0), sum(status.st_size for status in found)
