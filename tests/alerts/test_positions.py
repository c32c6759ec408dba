"""Positions on the sky: the index by which they are found, cones, and separations, held against astropy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from astropy.coordinates import Latitude, Longitude, SkyCoord
from cdshealpix.nested import healpix_to_lonlat, lonlat_to_healpix
from hypothesis import given
from hypothesis import strategies as st

from alerts.positions import cone_ranges, healpix29, on_the_sky, separation_arcsec
from tests.alerts.making import examples

CELL_ARCSEC = 58.6 * 3600 / 2**29  # side of a cell of order 29
CENTERS = [
    (123.456, 54.321),
    (0.0, 0.0),
    (359.9999999, -28.5),
    (0.0000001, 41.8),
    (0.0, 90.0),
    (77.0, -90.0),
    (180.0, 89.9999),
    (45.0, 0.0),
    (45.0, 41.810314895778596),  # corners of the base cells
    (90.0, -41.810314895778596),
]
angles = st.floats(0, 1, exclude_max=True)


def everywhere(count: int, seed: int = 20181129) -> tuple[np.ndarray, np.ndarray]:
    """Positions evenly on the sphere."""
    dice = np.random.default_rng(seed)
    return dice.uniform(0, 360, count), np.degrees(np.arcsin(dice.uniform(-1, 1, count)))


def within(ra: float, dec: float, radius_arcsec: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions within a radius, many of them at its edge. By vectors, which are exact to microarcseconds at the poles too."""
    dice = np.random.default_rng(count)
    distances = np.concatenate([dice.uniform(0, 1, count // 2), np.full(count - count // 2, 1 - 1e-9)])
    distances = np.radians(radius_arcsec / 3600) * distances[:, None]
    angles = dice.uniform(0, 2 * np.pi, count)[:, None]
    a, d = np.radians(ra), np.radians(dec)
    center = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), 0])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    x, y, z = (center * np.cos(distances) + (east * np.sin(angles) + north * np.cos(angles)) * np.sin(distances)).T
    return np.degrees(np.arctan2(y, x)) % 360 % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def is_in(ranges: list[tuple[int, int]], indices: np.ndarray) -> np.ndarray:
    return np.any([(first <= indices) & (indices <= last) for first, last in ranges], axis=0)


def test_two_libraries_agree_about_cells():
    ra, dec = everywhere(100_000)
    corners = np.array(
        [*CENTERS, *itertools.product((0, 45, 90, 180, 270, 359.999999999), (-90, -41.8103148957786, 0, 41.8, 90))]
    )
    ra, dec = np.concatenate([ra, corners[:, 0]]), np.concatenate([dec, corners[:, 1]])
    theirs = lonlat_to_healpix(Longitude(ra, "deg"), Latitude(dec, "deg"), 29).astype(np.int64)
    ours = healpix29(ra, dec)
    # Where cells meet either may be right.
    lon, lat = healpix_to_lonlat(ours, 29)
    assert SkyCoord(ra, dec, unit="deg").separation(SkyCoord(lon, lat)).arcsec.max() < CELL_ARCSEC
    assert (theirs == ours)[:100_000].all()


def test_the_cell_of_a_position_is_where_the_position_is():
    ra, dec = everywhere(2000)
    lon, lat = healpix_to_lonlat(healpix29(ra, dec), 29)
    assert SkyCoord(ra, dec, unit="deg").separation(SkyCoord(lon, lat)).arcsec.max() < CELL_ARCSEC


@pytest.mark.parametrize(
    ("ra", "dec", "base_cell"),
    [(45, 60, 0), (135, 60, 1), (225, 60, 2), (315, 60, 3), (0.001, 0, 4), (90, 0, 5), (45, -60, 8), (315, -60, 11), (10, 90, 0)],
)
def test_the_index_is_nested_and_of_order_29(ra, dec, base_cell):
    (index,) = healpix29(np.array([float(ra)]), np.array([float(dec)]))
    assert index >> 58 == base_cell
    assert index.dtype == np.int64


def test_no_positions_have_no_indices():
    assert healpix29(np.array([]), np.array([])).tolist() == []


def test_what_is_on_the_sky():
    ra = np.array([0.0, 360.0, 359.999, np.nan, 10.0, 10.0, 10.0, -1e-9, np.inf, -999.0])
    dec = np.array([90.0, 0.0, -90.0, 5.0, np.nan, 90.0001, -90.0001, 0.0, 0.0, -999.0])
    assert on_the_sky(ra, dec).tolist() == [True, False, True, False, False, False, False, False, False, False]


@pytest.mark.parametrize(("ra", "dec"), CENTERS)
@pytest.mark.parametrize("radius_arcsec", [0.0, 0.001, 1.5, 5.0, 180.0, 3600.0, 36000.0])
def test_every_position_within_a_radius_is_in_the_ranges_of_its_cone(ra, dec, radius_arcsec):
    found = within(ra, dec, radius_arcsec, 400)
    ranges = cone_ranges(ra, dec, radius_arcsec)
    assert is_in(ranges, healpix29(*found)).all()
    assert is_in(ranges, healpix29(np.array([ra]), np.array([dec]))).all()


@examples(100)
@given(angles, angles, st.floats(-3, 3))
def test_every_position_within_a_radius_is_found_anywhere_on_the_sky(turn, height, magnitude):
    ra, dec, radius_arcsec = 360 * turn, float(np.degrees(np.arcsin(2 * height - 1))), 10.0**magnitude
    found = within(ra, dec, radius_arcsec, 60)
    assert is_in(cone_ranges(ra, dec, radius_arcsec), healpix29(*found)).all()


@pytest.mark.parametrize(("ra", "dec"), CENTERS)
@pytest.mark.parametrize("radius_arcsec", [1.5, 180.0, 3600.0])
def test_the_ranges_of_a_cone_are_few_in_order_and_little_larger_than_the_cone(ra, dec, radius_arcsec):
    ranges = cone_ranges(ra, dec, radius_arcsec)
    assert len(ranges) < 50
    ends = [end for first, last in ranges for end in (first, last)]
    assert ends == sorted(ends)
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(ranges))
    assert all(type(end) is int for end in ends)
    covered = sum(last - first + 1 for first, last in ranges) * CELL_ARCSEC**2
    assert covered < 12 * np.pi * radius_arcsec**2


def test_a_cone_of_the_whole_sky_is_the_whole_sky():
    ra, dec = everywhere(500)
    assert is_in(cone_ranges(10.0, 20.0, 180 * 3600.0), healpix29(ra, dec)).all()


@pytest.mark.parametrize(("ra0", "dec0"), CENTERS)
def test_separations_are_those_of_astropy_at_all_angles(ra0, dec0):
    ra, dec = everywhere(300)
    near_ra, near_dec = within(ra0, dec0, 5.0, 100)
    ra = np.concatenate([ra, near_ra, [ra0, (ra0 + 180) % 360]])
    dec = np.concatenate([dec, near_dec, [dec0, -dec0]])
    expected = SkyCoord(ra0, dec0, unit="deg").separation(SkyCoord(ra, dec, unit="deg")).arcsec
    assert np.allclose(separation_arcsec(ra, dec, ra0, dec0), expected, rtol=1e-12, atol=1e-9)
    assert separation_arcsec(np.array([ra0]), np.array([dec0]), ra0, dec0) == pytest.approx([0.0], abs=1e-9)


def test_a_known_separation():
    # Alcor and Mizar, 11.8 arcmin apart.
    found = separation_arcsec(np.array([201.306]), np.array([54.988]), 200.981, 54.925)
    assert found == pytest.approx([708.7], abs=1.0)
