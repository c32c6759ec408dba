"""The index against all pairs: by astropy on a million sources, and by plain numpy on places that are hard to get right."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord, search_around_sky
from hypothesis import given
from hypothesis import strategies as st

from alerts.catalogs.files.sky_index import SkyIndex
from alerts.catalogs.matching import separations
from tests.alerts.making import examples

SOURCES, POSITIONS = 1_000_000, 10_000
PATCH_SOURCES = 15_000
PATCHES = [
    (0.0, 90.0),
    (123.0, 89.9),  # where the search goes over to all right ascensions
    (250.0, -90.0),
    (0.0, 0.0),
    (0.0, -35.2),
    (360.0, 75.0),
    (0.0, 89.0),
    (180.0, 0.125),
    (266.4, -29.0),
    (45.0, 41.810314895778596),
]
BELOW_360 = float(np.nextafter(360, 0))


def around(
    ra_deg: np.ndarray, dec_deg: np.ndarray, offset_arcsec: np.ndarray, dice: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Places so far from positions, each in some direction. By vectors, which do not mind the poles."""
    a, d, offset = np.radians(ra_deg), np.radians(dec_deg), np.radians(offset_arcsec / 3600)
    angle = dice.uniform(0, 2 * np.pi, len(a))
    center = np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    east = np.array([-np.sin(a), np.cos(a), np.zeros(len(a))])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    x, y, z = center * np.cos(offset) + (east * np.sin(angle) + north * np.cos(angle)) * np.sin(offset)
    return np.degrees(np.arctan2(y, x)) % 360 % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))


def sky(dice: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A million sources: all over the sky, and crowded within a degree of the hard places."""
    count = SOURCES - PATCH_SOURCES * len(PATCHES)
    ra, dec = [dice.uniform(0, 360, count)], [np.degrees(np.arcsin(dice.uniform(-1, 1, count)))]
    for center_ra, center_dec in PATCHES:
        centers = np.full(PATCH_SOURCES, center_ra), np.full(PATCH_SOURCES, center_dec)
        patch = around(*centers, 3600 * np.sqrt(dice.uniform(0, 1, PATCH_SOURCES)), dice)
        ra.append(patch[0])
        dec.append(patch[1])
    return np.concatenate(ra), np.concatenate(dec)


@pytest.fixture(scope="module")
def crowd():
    """Sources, and positions 0.001 to 300 arcsec from some of them, most of these in the crowded places."""
    dice = np.random.default_rng(20181129)
    ra, dec = sky(dice)
    crowded = SOURCES - PATCH_SOURCES * len(PATCHES)
    chosen = np.concatenate([dice.integers(0, crowded, POSITIONS // 2), dice.integers(crowded, SOURCES, POSITIONS // 2)])
    positions = around(ra[chosen], dec[chosen], 10 ** dice.uniform(-3, 2.5, POSITIONS), dice)
    return SkyIndex(ra, dec), positions, SkyCoord(ra, dec, unit="deg"), SkyCoord(*positions, unit="deg")


def in_order(position: np.ndarray, source: np.ndarray) -> np.ndarray:
    return np.sort(position.astype(np.int64) * SOURCES + source)


@pytest.mark.parametrize(("radius_arcsec", "at_least"), [(0.01, 1_000), (1.5, 5_000), (5.0, 6_000), (180.0, 100_000)])
def test_ten_thousand_positions_and_a_million_sources_make_the_pairs_that_astropy_finds(crowd, radius_arcsec, at_least):
    index, positions, sources, coordinates = crowd
    expected = search_around_sky(coordinates, sources, radius_arcsec * u.arcsec)[:2]
    found = index.pairs(*positions, radius_arcsec)
    assert len(found[0]) > at_least
    assert np.array_equal(in_order(*found), in_order(*expected))


def test_crowded_places_are_all_among_the_pairs(crowd):
    index, (ra, dec), _, _ = crowd
    position, _ = index.pairs(ra, dec, 180.0)
    for center in PATCHES:
        near = separations(ra[position], dec[position], *(np.full(len(position), one) for one in center)) < 3600
        assert np.count_nonzero(near) > 1_000


def all_pairs(
    sources: tuple[np.ndarray, np.ndarray], positions: tuple[np.ndarray, np.ndarray], radius_arcsec: np.ndarray
) -> list[tuple[int, int]]:
    """Every pair, looked at one by one."""
    position, source = (grid.ravel() for grid in np.indices((len(positions[0]), len(sources[0]))))
    apart = separations(*(one[position] for one in positions), *(one[source] for one in sources))
    near = apart <= radius_arcsec[position]
    return list(zip(position[near].tolist(), source[near].tolist(), strict=True))


def found_pairs(sources, positions, radius_arcsec) -> list[tuple[int, int]]:
    pairs = SkyIndex(*sources).pairs(*positions, radius_arcsec)
    return sorted(zip(*(one.tolist() for one in pairs), strict=True))


# Places where rounding, borders of zones, poles and 0/360 meet, and others so near to them that radii decide.
right_ascensions = st.sampled_from([0.0, 1e-12, 90.0, 179.99999, 180.0, 359.9999, BELOW_360]) | st.floats(
    0, 360, exclude_max=True
)
declinations = st.sampled_from([90.0, -90.0, 89.9999999, 89.9, -89.9, 0.0, 10 / 240, -33 / 240]) | st.floats(-90, 90)
nudges = st.sampled_from([0.0, 0.0, 1e-10, -1e-10, 1e-6, -1e-6, 4e-4, -4e-4, 0.01])
radii = st.sampled_from([0.0, 1e-3, 0.01, 1.5, 5.0, 180.0, 3600.0, 40_000.0, 324_000.0, 700_000.0]) | st.floats(0, 7e5)


@st.composite
def places(draw, count: int):
    pairs = draw(st.lists(st.tuples(right_ascensions, declinations, nudges, nudges), max_size=count))
    ra = np.array([(a + one) % 360 % 360 for a, _, one, _ in pairs])
    return ra, np.clip([d + two for _, d, _, two in pairs], -90, 90)


@given(places(12), places(8), st.lists(radii, min_size=8, max_size=8))
@examples(400)
def test_hard_places_make_the_pairs_that_looking_at_all_finds(sources, positions, radius_arcsec):
    radius = np.array(radius_arcsec)[: len(positions[0])]
    assert found_pairs(sources, positions, radius) == all_pairs(sources, positions, radius)


@given(st.integers(0, 2**32), right_ascensions, declinations, st.sampled_from([0.02, 1.0, 60.0, 7200.0]))
@examples(200)
def test_crowds_anywhere_make_the_pairs_that_looking_at_all_finds(seed, ra, dec, width_arcsec):
    dice = np.random.default_rng(seed)
    sources, positions = (
        around(np.full(count, ra), np.full(count, dec), width_arcsec * dice.uniform(0, 1, count), dice) for count in (60, 20)
    )
    radius = np.full(20, width_arcsec / 4)
    assert found_pairs(sources, positions, radius) == all_pairs(sources, positions, radius)


@pytest.mark.parametrize("offset_arcsec", [0.003, 0.05, 1.5, 180.0])
def test_a_source_exactly_at_the_radius_is_within_and_one_bit_beyond_is_not(offset_arcsec):
    dice = np.random.default_rng(1)
    ra, dec = sky(dice)
    ra, dec = ra[-500:], dec[-500:]
    there = around(ra, dec, np.full(500, offset_arcsec), dice)
    apart = separations(*there, ra, dec)
    same = np.arange(500)
    index = SkyIndex(ra, dec)
    for radius, within in ((apart, True), (np.nextafter(apart, 0), False)):
        position, source = index.pairs(*there, radius)
        assert np.count_nonzero(position == source) == (len(same) if within else 0)


def test_hundredths_of_an_arcsec_are_told_apart():
    # By cosines 0.01 arcsec and nothing at all would be the same.
    ra, dec = np.array([200.0] * 3), np.array([30.0, 30.0 + 0.005 / 3600, 30.0 + 0.015 / 3600])
    assert found_pairs((ra, dec), (ra[:1], dec[:1]), 0.01) == [(0, 0), (0, 1)]


def test_sources_at_one_place_are_all_found():
    ra, dec = np.full(1000, 83.63), np.full(1000, 22.01)
    assert found_pairs((ra, dec), (ra[:2], dec[:2]), 0.0) == [(one, other) for one in range(2) for other in range(1000)]


def test_nothing_is_near_nothing():
    nothing, one = (np.empty(0), np.empty(0)), (np.array([10.0]), np.array([90.0]))
    assert found_pairs(nothing, one, 180.0) == []
    assert found_pairs(one, nothing, 180.0) == []
    assert len(SkyIndex(*nothing)) == 0
    assert len(SkyIndex(*one)) == 1


@pytest.mark.parametrize(
    ("ra", "dec"), [(360.001, 0.0), (-1e-9, 0.0), (np.nan, 0.0), (10.0, 90.001), (10.0, np.nan), (np.inf, 0.0)]
)
def test_what_is_not_on_the_sky_is_refused(ra, dec):
    good, bad = (np.array([10.0]), np.array([10.0])), (np.array([10.0, ra]), np.array([0.0, dec]))
    with pytest.raises(ValueError, match=r"1 positions are not on the sky, such as .*deg"):
        SkyIndex(*bad)
    with pytest.raises(ValueError, match="not on the sky"):
        SkyIndex(*good).pairs(*bad, 1.0)


@pytest.mark.parametrize("radius_arcsec", [-1.0, np.nan, np.array([1.0, -2.0])])
def test_a_radius_is_not_negative(radius_arcsec):
    places = np.array([10.0, 11.0]), np.array([10.0, 11.0])
    with pytest.raises(ValueError, match=r"a radius is (-1|-2|nan) arcsec"):
        SkyIndex(*places).pairs(*places, radius_arcsec)


def test_an_index_of_some_sources_finds_those_alone():
    dice = np.random.default_rng(2)
    ra, dec = sky(dice)
    ra, dec = ra[-20_000:], dec[-20_000:]
    some = np.flatnonzero(dice.random(20_000) < 0.3)
    positions = ra[:500], dec[:500]
    expected = [pair for pair in found_pairs((ra, dec), positions, 60.0) if pair[1] in set(some.tolist())]
    assert len(expected) > 200
    assert sorted(zip(*(one.tolist() for one in SkyIndex(ra, dec, some).pairs(*positions, 60.0)), strict=True)) == expected
    assert len(SkyIndex(ra, dec, some)) == len(some)


def test_arrays_that_may_not_be_written_are_searched_and_left_alone():
    ra, dec = np.array([10.0, 11.0]), np.array([10.0, 11.0])
    for one in (ra, dec):
        one.flags.writeable = False
    assert found_pairs((ra, dec), (ra, dec), 1.0) == [(0, 0), (1, 1)]
