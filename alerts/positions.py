"""Positions on the sky and the HEALPix index by which they are found. Index scheme: Gorski et al. 2005, nested."""

from __future__ import annotations

from typing import Any

import astropy.units as u
import numpy as np
from astropy.coordinates import Latitude, Longitude
from cdshealpix.nested import lonlat_to_healpix

Degrees = np.ndarray[Any, np.dtype[np.float64]]

HEALPIX_ORDER = 29


def on_the_sky(ra_deg: Degrees, dec_deg: Degrees) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether positions (ICRS, degrees) are finite, 0 <= ra < 360 and -90 <= dec <= 90."""
    with np.errstate(invalid="ignore"):
        return (ra_deg >= 0) & (ra_deg < 360) & (dec_deg >= -90) & (dec_deg <= 90)


def healpix29(ra_deg: Degrees, dec_deg: Degrees) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Nested HEALPix indices of order 29 of positions (ICRS, degrees) that are on the sky."""
    if len(ra_deg) == 0:
        return np.empty(0, np.int64)
    found = lonlat_to_healpix(Longitude(ra_deg, u.deg), Latitude(dec_deg, u.deg), HEALPIX_ORDER, num_threads=1)
    return np.asarray(found, dtype=np.int64)
