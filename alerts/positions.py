"""Positions on the sky and the HEALPix index by which they are found. Index scheme: Gorski et al. 2005, nested."""

from __future__ import annotations

from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude, angular_separation
from astropy_healpix import lonlat_to_healpix
from cdshealpix.nested import cone_search

Degrees = np.ndarray[Any, np.dtype[np.float64]]

HEALPIX_ORDER = 29
_FINER = 2
"""A cone is laid out in cells that many orders smaller than those it is told in; there are none beyond order 29."""


def on_the_sky(ra_deg: Degrees, dec_deg: Degrees) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether positions (ICRS, degrees) are finite, 0 <= ra < 360 and -90 <= dec <= 90."""
    with np.errstate(invalid="ignore"):
        return (ra_deg >= 0) & (ra_deg < 360) & (dec_deg >= -90) & (dec_deg <= 90)


def healpix29(ra_deg: Degrees, dec_deg: Degrees) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Nested HEALPix indices of order 29 of positions (ICRS, degrees) that are on the sky."""
    if len(ra_deg) == 0:
        return np.empty(0, np.int64)
    # Not by cdshealpix, which begins a thread for every call: that takes longer than 256 positions.
    found = lonlat_to_healpix(Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), 2**HEALPIX_ORDER, order="nested")
    return np.asarray(found, dtype=np.int64)


def separation_arcsec(ra_deg: Degrees, dec_deg: Degrees, ra0_deg: float, dec0_deg: float) -> Degrees:
    """Angular separations (arcsec) of positions from one position (ICRS, degrees), exact at all angles (Vincenty 1975)."""
    radians = [np.radians(one) for one in (ra_deg, dec_deg, ra0_deg, dec0_deg)]
    return np.asarray(np.degrees(angular_separation(*radians)) * 3600, dtype=np.float64)


def cone_ranges(ra_deg: float, dec_deg: float, radius_arcsec: float) -> list[tuple[int, int]]:
    """Ranges (first, last) of ``healpix29`` that cover a cone, and somewhat more; neighbouring ranges are joined."""
    # Cells of about half the radius: few ranges, little beyond the cone.
    order = int(np.clip(np.floor(np.log2(58.6 * 3600 / max(radius_arcsec, 1e-3))) + 1, 0, HEALPIX_ORDER - _FINER))
    center = Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg)
    cells, orders, _ = cone_search(*center, radius_arcsec * u.arcsec, order, _FINER)
    shifts = 2 * (HEALPIX_ORDER - orders.astype(np.int64))
    firsts = cells.astype(np.int64) << shifts
    lasts = ((cells.astype(np.int64) + 1) << shifts) - 1
    ranges: list[tuple[int, int]] = []
    for first, last in sorted(zip(firsts.tolist(), lasts.tolist(), strict=True)):
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(last, ranges[-1][1]))
        else:
            ranges.append((first, last))
    return ranges
