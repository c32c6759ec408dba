"""Geometry on the sphere. Positions are ICRS in degrees, small angles in arcsec, position angles from north through east.

All functions take and return scalars or arrays and are exact, not flat-sky: a test may compare them with astropy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Angle = float | Floats

ARCSEC = np.pi / 180 / 3600
"""Radians in an arcsec."""


def separation_arcsec(ra1: Angle, dec1: Angle, ra2: Angle, dec2: Angle) -> Any:
    """Angle between two positions by the haversine formula, which keeps its precision for small angles."""
    east, north = np.radians(np.subtract(ra2, ra1)), np.radians(np.subtract(dec2, dec1))
    half = np.sin(north / 2) ** 2 + np.cos(np.radians(dec1)) * np.cos(np.radians(dec2)) * np.sin(east / 2) ** 2
    return 2 * np.arcsin(np.sqrt(half)) / ARCSEC


def offset(ra_deg: Angle, dec_deg: Angle, distance_arcsec: Angle, angle_deg: Angle) -> tuple[Any, Any]:
    """The position at a distance and position angle from another one."""
    dec, distance, angle = np.radians(dec_deg), np.multiply(distance_arcsec, ARCSEC), np.radians(angle_deg)
    sine = np.sin(dec) * np.cos(distance) + np.cos(dec) * np.sin(distance) * np.cos(angle)
    east = np.arctan2(np.sin(angle) * np.sin(distance) * np.cos(dec), np.cos(distance) - np.sin(dec) * sine)
    return (ra_deg + np.degrees(east)) % 360, np.degrees(np.arcsin(sine))


def from_tangent_plane(ra0_deg: Angle, dec0_deg: Angle, east_deg: Angle, north_deg: Angle) -> tuple[Any, Any]:
    """The position at standard coordinates (gnomonic projection, "TAN") about a field's center."""
    east, north, dec0 = np.radians(east_deg), np.radians(north_deg), np.radians(dec0_deg)
    across = np.cos(dec0) - north * np.sin(dec0)
    ra = np.degrees(np.arctan2(east, across))
    dec = np.degrees(np.arctan2(np.sin(dec0) + north * np.cos(dec0), np.hypot(east, across)))
    return (ra0_deg + ra) % 360, dec


def field_grid(south_deg: float, north_deg: float, spacing_deg: float) -> tuple[Floats, Floats]:
    """Centers of square fields in rows of equal declination, none of which overlaps another."""
    ras, decs = [], []
    for dec in np.arange(south_deg, north_deg + 1e-9, spacing_deg):
        # A row is as full as the edge nearer to the pole allows.
        width = spacing_deg / np.cos(np.radians(abs(dec) + spacing_deg / 2))
        count = int(360 / width)
        ras.append(np.arange(count) * 360 / count)
        decs.append(np.full(count, dec))
    return np.concatenate(ras), np.concatenate(decs)


def sidereal_time_deg(mjd_utc: float, longitude_deg: float) -> float:
    """Local mean sidereal time, good to a degree for centuries: enough to point a made-up telescope at the dark sky."""
    return float((280.46061837 + 360.98564736629 * (mjd_utc - 51544.5) + longitude_deg) % 360)
