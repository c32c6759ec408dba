"""From candidates to matches: every source where it stands at the right epoch, those beyond the radius left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.catalogs.catalog import Candidates, Floats, Integers, SourceColumns
from alerts.catalogs.proper_motion import move


@dataclass(frozen=True)
class Matches:
    """What lies within the radius of the positions asked for: pairs by position, nearest first."""

    position: Integers
    separation_arcsec: Floats
    ra_deg: Floats
    """Where the source stands at ``epoch_jyear``, ICRS; NaN where its columns do not say."""
    dec_deg: Floats
    epoch_jyear: Floats
    source_id: pa.Array
    sources: pa.RecordBatch


def within(
    found: Candidates,
    source_columns: SourceColumns,
    ra_deg: Floats,
    dec_deg: Floats,
    *,
    radius_arcsec: float,
    epoch_jyear: Floats | None,
) -> Matches:
    """The candidates within the radius of the positions (ICRS, degrees), or within their own where they have one.

    With ``epoch_jyear``, one per position, sources with a proper motion are taken where they stand then; without, where
    the catalog itself matches them.
    """
    ra, dec, epoch = places(found, source_columns, None if epoch_jyear is None else epoch_jyear[found.position])
    separation = separations(ra_deg[found.position], dec_deg[found.position], ra, dec)
    if found.separation_arcsec is not None:
        # What has no position that we know of is where the catalog says.
        separation = np.where(np.isnan(separation), found.separation_arcsec, separation)
    ids = source_ids(found.sources, source_columns)
    near = np.flatnonzero(separation <= (radius_arcsec if found.radius_arcsec is None else found.radius_arcsec))
    # Sources at one place (two entries of one star) come in the order of their ids, from wherever they came.
    rank = pc.rank(ids, sort_keys="ascending", tiebreaker="first").to_numpy()
    near = near[np.lexsort((rank[near], separation[near], found.position[near]))]
    rows = pa.array(near)
    return Matches(
        found.position[near], separation[near], ra[near], dec[near], epoch[near], ids.take(rows), found.sources.take(rows)
    )


def separations(ra1_deg: Floats, dec1_deg: Floats, ra2_deg: Floats, dec2_deg: Floats) -> Floats:
    """Separations (arcsec) of pairs of positions (ICRS, degrees), by Vincenty's formula as astropy has it."""
    from astropy.coordinates import angular_separation  # noqa: PLC0415 - astropy takes half a second

    angles = angular_separation(*(np.radians(angle) for angle in (ra1_deg, dec1_deg, ra2_deg, dec2_deg)))
    return np.asarray(np.degrees(angles) * 3600, dtype=np.float64)


def places(found: Candidates, source_columns: SourceColumns, epoch_jyear: Floats | None) -> tuple[Floats, Floats, Floats]:
    """Right ascension and declination of each pair's source, and the epoch at which it stands there (NaN: not known)."""
    count = len(found.position)
    if source_columns.ra is None or source_columns.dec is None:
        return np.full(count, np.nan), np.full(count, np.nan), np.full(count, np.nan)
    ra, dec = floats(found.sources, source_columns.ra), floats(found.sources, source_columns.dec)
    own = np.full(count, np.nan if source_columns.position_epoch_jyear is None else source_columns.position_epoch_jyear)
    if source_columns.pmra is None or source_columns.pmdec is None or source_columns.position_epoch_jyear is None:
        return ra, dec, own
    if epoch_jyear is None:
        if source_columns.match_epoch_jyear is None:
            return ra, dec, own
        epoch_jyear = np.full(count, source_columns.match_epoch_jyear)
    pmra, pmdec = floats(found.sources, source_columns.pmra), floats(found.sources, source_columns.pmdec)
    ra, dec = move(ra, dec, pmra, pmdec, from_jyear=source_columns.position_epoch_jyear, to_jyear=epoch_jyear)
    return ra, dec, np.where(np.isfinite(pmra) & np.isfinite(pmdec), epoch_jyear, own)


def floats(sources: pa.RecordBatch, name: str) -> Floats:
    """A column as floats, NaN where it is null."""
    column = sources.column(name)
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)


def source_ids(sources: pa.RecordBatch, source_columns: SourceColumns) -> pa.Array:
    """The sources' ids as text; null where no column is known to hold them."""
    if source_columns.source_id is None:
        return pa.nulls(sources.num_rows, pa.string())
    return pc.cast(sources.column(source_columns.source_id), pa.string())
