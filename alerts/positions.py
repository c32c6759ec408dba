"""Positions on the sky and the HEALPix index by which they are found. Index scheme: Gorski et al. 2005, nested."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

Degrees = np.ndarray[Any, np.dtype[np.float64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]

HEALPIX_ORDER = 29
_CENTER_TO_CORNER_RAD = float(np.sqrt(4 / 5 + 5 * np.pi**2 / 144))
"""No point of a cell of order k is farther from the cell's center than this over 2**k.

The longest cells lie where polar cap and equatorial belt meet, at z = 2/3: there half a cell is sqrt(4/5) high and
sqrt(5) pi / 12 wide, in units of 2**-k. Coarser cells are shorter in that unit (0.841 at order 0, 1.0658 at order 6).
"""
_SPARE_ARCSEC = 1e-3
"""By how much the net is cast wider, so that no rounding leaves out an alert: two cells of order 29."""
_CELLS_PER_RADIUS = 4
"""A cone's edge is told in cells whose side is at most this part of its radius."""
_SIDE_DEG = 58.6323
"""Side of a square of the area of a cell of order 0."""


def on_the_sky(ra_deg: Degrees, dec_deg: Degrees) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether positions (ICRS, degrees) are finite, 0 <= ra <= 360 and -90 <= dec <= 90. RA 360 is RA 0: ``wrapped``."""
    with np.errstate(invalid="ignore"):
        return (ra_deg >= 0) & (ra_deg <= 360) & (dec_deg >= -90) & (dec_deg <= 90)


def wrapped(ra_deg: Degrees) -> Degrees:
    """Right ascensions (degrees) with 360, which some pipelines round up to, as the 0 that it is; all others as they are."""
    return np.where(ra_deg == 360, 0.0, ra_deg)


def healpix29(ra_deg: Degrees, dec_deg: Degrees) -> Indices:
    """Nested HEALPix indices of order 29 of positions (ICRS, degrees) that are on the sky."""
    return healpix(ra_deg, dec_deg, HEALPIX_ORDER)


def healpix(ra_deg: Degrees, dec_deg: Degrees, order: int) -> Indices:
    """Nested HEALPix indices of positions (ICRS, degrees) that are on the sky."""
    if np.size(ra_deg) == 0:
        return np.empty(np.shape(ra_deg), np.int64)
    ra_rad, dec_rad = np.radians(wrapped(ra_deg)), np.radians(dec_deg)
    index, _, _ = _compiled("lonlat_to_healpix_nested", nested_by_package)(ra_rad, dec_rad, np.intc(2**order))
    return np.asarray(index, dtype=np.int64)


@functools.cache
def _compiled(name: str, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """A function of astropy-healpix's compiled module, which takes radians, indices and nside as plain arrays.

    That module alone: the package around it loads units and frames, half a second. A release that keeps the function
    elsewhere is asked in the way that it documents: ``otherwise``.
    """
    package = importlib.util.find_spec("astropy_healpix")
    found = package and importlib.machinery.PathFinder.find_spec("astropy_healpix._core", package.submodule_search_locations)
    if found and found.loader:
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        return getattr(module, name, otherwise)
    return otherwise


def nested_by_package(lon_rad: Degrees, lat_rad: Degrees, nside: int) -> tuple[Any, Any, Any]:
    """Indices of longitudes and latitudes (radians) and the places within the cells, through the package."""
    import astropy.units as u  # noqa: PLC0415 - it takes half a second
    from astropy.coordinates import Latitude, Longitude  # noqa: PLC0415
    from astropy_healpix import lonlat_to_healpix  # noqa: PLC0415

    place = Longitude(lon_rad, u.rad), Latitude(lat_rad, u.rad)
    index, dx, dy = lonlat_to_healpix(*place, nside, return_offsets=True, order="nested")
    return index, dx, dy


def centers_by_package(cells: Indices, nside: int, dx: float, dy: float) -> tuple[Any, Any]:
    """Longitudes and latitudes (radians) of places within cells, through the package."""
    from astropy_healpix import healpix_to_lonlat  # noqa: PLC0415 - it takes half a second

    lon, lat = healpix_to_lonlat(cells, nside, dx, dy, order="nested")
    return lon.rad, lat.rad


def separation_arcsec(ra_deg: Degrees, dec_deg: Degrees, ra0_deg: Any, dec0_deg: Any) -> Degrees:
    """Angular separations (arcsec) of positions from one position, or one each (ICRS); NaN where one is not there.

    By SOFA's vectors, to 1e-9 arcsec at all angles, which is what right ascensions in 64 bits tell apart.
    """
    import erfa  # noqa: PLC0415 - only for a question of where something is

    radians = [np.radians(angle) for angle in (ra_deg, dec_deg, ra0_deg, dec0_deg)]
    return np.asarray(np.degrees(erfa.seps(*radians)) * 3600, dtype=np.float64)


def cone_ranges(ra_deg: float, dec_deg: float, radius_arcsec: float) -> list[tuple[int, int]]:
    """Ranges (first, last) of ``healpix29`` outside which nothing is within the radius; in order, with gaps between them.

    They hold somewhat more than the cone: what is inside the radius, ``separation_arcsec`` alone decides.
    """
    _, firsts, lasts = cones_ranges(np.array([ra_deg]), np.array([dec_deg]), np.array([radius_arcsec]))
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))


def cones_ranges(ra_deg: Degrees, dec_deg: Degrees, radius_arcsec: Degrees) -> tuple[Indices, Indices, Indices]:
    """``cone_ranges`` of many cones: the cone's number, and the first and last index of each range, cone by cone in order.

    A cell is left out only if its center is farther away than the radius and the greatest distance of a center to a corner:
    by the triangle inequality none of its points is within the radius. What remains is divided in four and asked again.
    """
    fitting = np.floor(np.log2(_SIDE_DEG * 3600 * _CELLS_PER_RADIUS / np.maximum(radius_arcsec, _SPARE_ARCSEC))) + 1
    last_orders = np.clip(fitting, 0, HEALPIX_ORDER)
    cones = np.repeat(np.arange(len(radius_arcsec)), 12)
    cells = np.tile(np.arange(12), len(radius_arcsec))
    done: list[tuple[Indices, Indices, int]] = []
    for order in range(HEALPIX_ORDER + 1):
        reach_arcsec = cell_reach_arcsec(order)
        lon_deg, lat_deg = centers(cells, order)
        away_arcsec = separation_arcsec(lon_deg, lat_deg, ra_deg[cones], dec_deg[cones])
        near = away_arcsec <= radius_arcsec[cones] + reach_arcsec
        # A cell that lies in the cone as a whole, or is small enough, is told as it is.
        whole = near & ((away_arcsec <= radius_arcsec[cones] - reach_arcsec) | (order >= last_orders[cones]))
        done.append((cones[whole], cells[whole], 2 * (HEALPIX_ORDER - order)))
        divided = near & ~whole
        cones = np.repeat(cones[divided], 4)
        cells = (cells[divided][:, None] * 4 + np.arange(4)).ravel()
        if not len(cells):
            break
    return _joined(
        np.concatenate([numbers for numbers, _, _ in done]),
        np.concatenate([found << shift for _, found, shift in done]),
        np.concatenate([((found + 1) << shift) - 1 for _, found, shift in done]),
    )


def cell_reach_arcsec(order: int) -> float:
    """No point of a cell of that order is farther from its center than this, with something to spare."""
    return float(np.degrees(_CENTER_TO_CORNER_RAD / 2**order)) * 3600 + _SPARE_ARCSEC


def to_galactic_deg(ra_deg: Degrees, dec_deg: Degrees) -> tuple[Degrees, Degrees]:
    """Galactic longitudes (0 to 360) and latitudes of positions in ICRS, all degrees, by SOFA's ``icrs2g``."""
    import erfa  # noqa: PLC0415 - only for a map in galactic coordinates

    lon_rad, lat_rad = erfa.icrs2g(np.radians(ra_deg), np.radians(dec_deg))
    return np.degrees(lon_rad) % 360, np.degrees(lat_rad)


def centers(cells: Indices, order: int) -> tuple[Degrees, Degrees]:
    """Longitudes and latitudes (degrees) of the centers of nested cells."""
    lon_rad, lat_rad = _compiled("healpix_nested_to_lonlat", centers_by_package)(cells, np.intc(2**order), 0.5, 0.5)
    return np.degrees(lon_rad), np.degrees(lat_rad)


def _joined(cones: Indices, firsts: Indices, lasts: Indices) -> tuple[Indices, Indices, Indices]:
    """Ranges in order, those of one cone that touch made one. They do not overlap, as no cell is told twice."""
    order = np.lexsort((firsts, cones))
    cones, firsts, lasts = cones[order], firsts[order], lasts[order]
    begins = np.ones(len(cones), np.bool_)
    begins[1:] = (cones[1:] != cones[:-1]) | (firsts[1:] > lasts[:-1] + 1)
    ends = np.append(np.flatnonzero(begins)[1:], len(cones)) - 1
    return cones[begins], firsts[begins], lasts[ends]
