"""Where stars stand at another time: space motion by ERFA's ``pmsafe``, as astropy's ``apply_space_motion`` has it."""

from __future__ import annotations

import erfa
import numpy as np

from alerts.catalogs.catalog import Floats

_MAS = np.radians(1 / 3.6e6)


def move(
    ra_deg: Floats, dec_deg: Floats, pmra: Floats, pmdec: Floats, *, from_jyear: float, to_jyear: Floats | float
) -> tuple[Floats, Floats]:
    """Positions (ICRS, degrees) moved from one epoch to another (Julian years, TDB), one each or one for all.

    ``pmra`` (times cos dec) and ``pmdec`` in mas/yr; a source without them (NaN) stays where it is. Without parallax and
    radial velocity: over 30 years that is 0.5 arcsec for Barnard's star, and less for every other.
    """
    ra, dec = np.array(ra_deg, dtype=np.float64), np.array(dec_deg, dtype=np.float64)
    targets = np.broadcast_to(np.asarray(to_jyear, dtype=np.float64), ra.shape)
    moving = np.isfinite(pmra) & np.isfinite(pmdec) & (targets != from_jyear)
    if not moving.any():
        return ra, dec
    lon, lat = np.radians(ra[moving]), np.radians(dec[moving])
    begin, end = erfa.epj2jd(from_jyear), erfa.epj2jd(targets[moving])
    # The ufunc itself: it gives a status ("no distance known") where the function around it warns of every star.
    moved = erfa.ufunc.pmsafe(
        lon, lat, pmra[moving] * _MAS / np.cos(lat), pmdec[moving] * _MAS, 0.0, 0.0, begin[0], begin[1], end[0], end[1]
    )
    ra[moving], dec[moving] = np.degrees(moved[0]) % 360, np.degrees(moved[1])
    return ra, dec
