"""Positions on the sky: the index by which they are found, cones, and separations, held against astropy."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import astropy.units as u
import duckdb
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord, angular_separation
from astropy_healpix import boundaries_lonlat, healpix_to_lonlat
from hypothesis import given
from hypothesis import strategies as st

from alerts import positions
from alerts.positions import (
    centers_by_package,
    cone_ranges,
    cones_ranges,
    healpix29,
    nested_by_package,
    on_the_sky,
    separation_arcsec,
    wrapped,
)
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


def test_the_cell_of_a_position_is_where_the_position_is():
    ra, dec = everywhere(2000)
    corners = np.array(
        [*CENTERS, *itertools.product((0, 45, 90, 180, 270, 359.999999999), (-90, -41.8103148957786, 0, 41.8, 90))]
    )
    ra, dec = np.concatenate([ra, corners[:, 0]]), np.concatenate([dec, corners[:, 1]])
    lon, lat = healpix_to_lonlat(healpix29(ra, dec), 2**29, order="nested")
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
    assert on_the_sky(ra, dec).tolist() == [True, True, True, False, False, False, False, False, False, False]


def test_a_right_ascension_of_360_is_0():
    ra = np.array([360.0, 0.0, np.nextafter(360, 0), np.nan, -1.0])
    assert wrapped(ra)[:2].tolist() == [0.0, 0.0]
    assert np.array_equal(wrapped(ra)[2:], ra[2:], equal_nan=True)
    dec = np.array([-35.0])
    assert healpix29(np.array([360.0]), dec) == healpix29(np.array([0.0]), dec)


def test_no_corner_is_farther_from_its_center_than_the_proof_takes_it_to_be():
    for order in range(30):
        side = 2**order
        if order <= 6:
            cells = np.arange(12 * side**2)
        else:
            # Some of all, and those along the border of a polar cap, where the longest are.
            ra, dec = everywhere(2000)
            border = np.degrees(np.arcsin(2 / 3)) + np.linspace(-90, 90, 201) / side
            at_ra = np.concatenate([ra, np.repeat(45.0 / side, 201), np.repeat(90 - 45.0 / side, 201)])
            cells = positions.healpix(at_ra, np.concatenate([dec, border, border]), order)
        lon, lat = healpix_to_lonlat(cells, side, order="nested")
        edges = boundaries_lonlat(cells, 2, side, order="nested")
        away = separation_arcsec(*(one.to_value("deg") for one in (*edges, lon[:, None], lat[:, None])))
        limit = np.degrees(positions._CENTER_TO_CORNER_RAD / side) * 3600
        assert away.max() <= limit + 1e-9  # arcsec: the rounding of a center and of a corner
        assert away.max() > 0.78 * limit  # a looser limit would be as safe, and slower


# What was lost when the cells of a cone came from a library whose cover is none at these radii.
RIMS = [
    (181.3673, -39.1111, 4064.6, 181.4115395169725, -40.23655111077794),
    (151.8866, -31.671, 14903.1, 151.8866, -35.69784396386363),
    (303.8387, -20.8248, 35605.3, 303.5065711888694, -30.413793371567284),
]


@pytest.mark.parametrize("case", RIMS)
def test_an_alert_at_the_rim_of_a_cone_is_in_its_ranges(case):
    ra, dec, radius_arcsec, at_ra, at_dec = case
    assert separation_arcsec(np.array([at_ra]), np.array([at_dec]), ra, dec) <= radius_arcsec
    assert is_in(cone_ranges(ra, dec, radius_arcsec), healpix29(np.array([at_ra]), np.array([at_dec]))).all()


@pytest.fixture(scope="module")
def cones() -> np.ndarray:
    """20,000 cones: RA, Dec (deg), radius (arcsec) from 0.06 arcsec to the whole sky; poles and RA 0 among the centers."""
    dice = np.random.default_rng(13)
    ra, dec = everywhere(20_000, seed=14)
    radius_arcsec = 180 * 3600 * 10 ** dice.uniform(-7, 0, len(ra))
    ra[:500], dec[500:1000], dec[1000:1500] = 0.0, 90.0, -90.0
    # The pole near the rim; on it, two formulas need not agree.
    dec[1500:2000] = np.clip(90 - radius_arcsec[1500:2000] / 3600 * (1 - 1e-6), -90, 90)
    ra[2000:2500] = (radius_arcsec[2000:2500] / 3600) % 360
    radius_arcsec[2500:2600] = 180 * 3600
    return np.stack([ra, dec, radius_arcsec])


def test_cones_hold_what_brute_force_finds_in_them(cones):
    """Exactly: in numpy and in DuckDB, which reckons separations by a formula of its own."""
    ra, dec, radius_arcsec = cones
    at_ra, at_dec = everywhere(600, seed=15)
    at_ra[:3], at_dec[3:6] = 0.0, [90.0, -90.0, 90.0]
    indices = healpix29(at_ra, at_dec)
    away = separation_arcsec(at_ra, at_dec, ra[:, None], dec[:, None])
    inside = away <= radius_arcsec[:, None]
    numbers, firsts, lasts = cones_ranges(ra, dec, radius_arcsec)
    covered = np.zeros(inside.shape, np.bool_)
    order = np.argsort(indices)
    begins, ends = (np.searchsorted(indices[order], one, side) for one, side in ((firsts, "left"), (lasts, "right")))
    for number, begin, end in zip(numbers, begins, ends, strict=True):
        covered[number, order[begin:end]] = True
    assert inside.sum() > 100_000
    assert np.array_equal(inside & covered, inside)
    with duckdb.connect() as connection:
        connection.register("cones", pa.table({"cone": np.arange(len(ra)), "ra": ra, "dec": dec, "radius": radius_arcsec}))
        connection.register("points", pa.table({"point": np.arange(600), "ra": at_ra, "dec": at_dec}))
        found = connection.execute(
            "SELECT cone, point FROM cones c, points p WHERE degrees(atan2("
            "sqrt(pow(cos(radians(p.dec)) * sin(radians(p.ra - c.ra)), 2) + pow(cos(radians(c.dec)) * sin(radians(p.dec))"
            " - sin(radians(c.dec)) * cos(radians(p.dec)) * cos(radians(p.ra - c.ra)), 2)),"
            "sin(radians(c.dec)) * sin(radians(p.dec)) + cos(radians(c.dec)) * cos(radians(p.dec)) * cos(radians(p.ra - c.ra))"
            ")) * 3600 <= radius AND radius < 648000 OR radius = 648000"
        ).fetchnumpy()
    by_duckdb = np.zeros(inside.shape, np.bool_)
    by_duckdb[found["cone"], found["point"]] = True
    assert np.array_equal(by_duckdb & covered, by_duckdb)
    assert np.array_equal(by_duckdb, inside)


def test_cones_hold_what_lies_at_their_rim(cones):
    ra, dec, radius_arcsec = cones
    numbers, firsts, lasts = cones_ranges(ra, dec, radius_arcsec)
    for angle in np.random.default_rng(16).uniform(0, 360, 4):
        centers = SkyCoord(ra, dec, unit="deg")
        rim = centers.directional_offset_by(angle * u.deg, np.nextafter(radius_arcsec, 0) * u.arcsec)
        at_ra, at_dec = wrapped(rim.ra.deg), rim.dec.deg
        inside = separation_arcsec(at_ra, at_dec, ra, dec) <= radius_arcsec
        indices = healpix29(at_ra, at_dec)
        held = np.zeros(len(ra), np.bool_)
        np.logical_or.at(held, numbers, (firsts <= indices[numbers]) & (indices[numbers] <= lasts))
        assert inside.sum() > 5000
        assert held[inside].all()


def test_many_cones_at_once_are_the_cones_one_by_one(cones):
    some = cones[:, ::400]
    numbers, firsts, lasts = cones_ranges(*some)
    for number, cone in enumerate(some.T):
        mine = numbers == number
        assert list(zip(firsts[mine].tolist(), lasts[mine].tolist(), strict=True)) == cone_ranges(*cone.tolist())


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
    assert covered < 2.5 * np.pi * radius_arcsec**2


def test_a_cone_of_the_whole_sky_is_the_whole_sky():
    ra, dec = everywhere(500)
    assert is_in(cone_ranges(10.0, 20.0, 180 * 3600.0), healpix29(ra, dec)).all()


def pairs_of_positions(count: int = 10_000) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """RA, Dec and RA, Dec (deg): anywhere, equal, antipodes, from a microarcsecond to a tenth of a degree apart, at the poles."""
    dice = np.random.default_rng(17)
    ra, dec = everywhere(count, seed=18)
    dec[:100], dec[100:200], ra[200:300], ra[300:400] = 90, -90, 0, 360
    yield ra, dec, *everywhere(count, seed=19)
    yield ra, dec, ra, dec
    yield ra, dec, (ra + 180) % 360, -dec
    for power in range(1, 11):
        moved = dice.uniform(-(10.0**-power), 10.0**-power, (2, count))
        yield ra, dec, (ra + moved[0]) % 360, np.clip(dec + moved[1], -90, 90)
    for pole in (90.0, -90.0):
        near = np.clip(pole + dice.uniform(-1e-5, 1e-5, (2, count)), -90, 90)
        yield ra, near[0], dice.permutation(ra), near[1]


def test_separations_are_those_of_astropy_at_all_angles() -> None:
    for ra1, dec1, ra2, dec2 in pairs_of_positions():
        radians = [np.radians(angle) for angle in (ra1, dec1, ra2, dec2)]
        expected = np.degrees(angular_separation(*radians)) * 3600
        found = separation_arcsec(ra1, dec1, ra2, dec2)
        assert np.abs(found - expected).max() < 1e-9  # arcsec
        assert np.array_equal(separation_arcsec(ra2, dec2, ra1, dec1), found)


def test_one_place_is_nothing_away_from_itself() -> None:
    ra, dec = everywhere(10_000, seed=20)
    assert not separation_arcsec(ra, dec, ra, dec).any()
    assert separation_arcsec(np.zeros(3), np.array([-90.0, 0.0, 90.0]), 360.0, np.array([-90.0, 0.0, 90.0])).max() < 1e-9


def test_what_has_no_position_is_away_by_no_number() -> None:
    nowhere = np.array([np.nan, 1.0, np.nan])
    assert np.isnan(separation_arcsec(nowhere, nowhere[::-1], 1.0, 2.0)).tolist() == [True, False, True]
    assert np.isnan(separation_arcsec(np.array([1.0]), np.array([2.0]), np.nan, 2.0)).all()


def test_a_known_separation():
    # Alcor and Mizar, 11.8 arcmin apart.
    found = separation_arcsec(np.array([201.306]), np.array([54.988]), 200.981, 54.925)
    assert found == pytest.approx([708.7], abs=1.0)


@pytest.mark.parametrize(
    ("name", "by_package"),
    [("lonlat_to_healpix_nested", nested_by_package), ("healpix_nested_to_lonlat", centers_by_package)],
)
def test_the_compiled_part_of_astropy_healpix_is_asked(name: str, by_package: Callable[..., Any]) -> None:
    assert positions._compiled(name, by_package) is not by_package, "loading astropy takes half a second of every start"
    assert positions._compiled("what a later release has not", by_package) is by_package


@pytest.mark.parametrize("order", [0, 5, positions.HEALPIX_ORDER])
def test_the_compiled_part_of_astropy_healpix_agrees_with_the_package(order: int) -> None:
    ra, dec = everywhere(20_000, seed=4)
    index = positions.healpix(ra, dec, order)
    assert np.array_equal(index, nested_by_package(np.radians(ra), np.radians(dec), 2**order)[0])
    cells = np.concatenate([index, np.arange(12), 12 * 4**order - 1 - np.arange(12)])
    expected = healpix_to_lonlat(cells, 2**order, order="nested")
    found = positions.centers(cells, order)
    assert [one.tobytes() for one in found] == [one.to_value("deg").tobytes() for one in expected]
    assert [np.degrees(one).tobytes() for one in centers_by_package(cells, 2**order, 0.5, 0.5)] == [
        one.tobytes() for one in found
    ]
