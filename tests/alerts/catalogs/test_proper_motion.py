"""Stars moved between the epochs at which they were measured, against what was measured."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time

from alerts.catalogs.catalog import Candidates, SourceColumns
from alerts.catalogs.matching import places, separations
from alerts.catalogs.proper_motion import move
from tests.alerts.catalogs.stars import BARNARD, STARS, Star


def one(*values):
    return [np.array([value]) for value in values]


def moved(star: Star, place, from_jyear, to_jyear):
    return move(*one(*place), *one(*star.pm), from_jyear=from_jyear, to_jyear=to_jyear)


def mas(place, other):
    return separations(*place, *one(*other))[0] * 1000


@pytest.mark.parametrize("star", STARS, ids=lambda star: star.name)
def test_measured_positions_follow_from_each_other(star):
    # Barnard's star comes nearer: its proper motion grows, by 0.3 arcsec in these 25 years.
    close_mas = 400 if star is BARNARD else 40
    epochs = [(1991.25, star.at_1991_25), (2000.0, star.at_2000), (2016.0, star.at_2016)]
    for begin, place in epochs:
        for end, measured in epochs:
            assert mas(moved(star, place, begin, end), measured) < close_mas


@pytest.mark.parametrize("star", STARS, ids=lambda star: star.name)
def test_a_wrong_epoch_would_be_seen(star):
    years = 16
    wrong = mas(moved(star, star.at_2016, 2016.0 - years, 2000.0), star.at_2000)
    assert wrong > 0.9 * years * np.hypot(*star.pm)


@pytest.mark.parametrize("star", STARS, ids=lambda star: star.name)
def test_today_by_the_plain_formula(star):
    """Ten years and more on from Gaia's epoch, along the tangent: dec + pm t, ra + pm t / cos dec."""
    years = 2026.9 - 2016.0
    ra, dec = star.at_2016
    expected = ra + star.pm[0] * years / 3.6e6 / np.cos(np.radians(dec)), dec + star.pm[1] * years / 3.6e6
    assert mas(moved(star, star.at_2016, 2016.0, 2026.9), expected) < 10


def test_it_is_what_astropy_computes_even_near_the_pole():
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 500), np.degrees(np.arcsin(rng.uniform(-1, 1, 500)))
    ra[:3], dec[:3] = [0.0, 359.9999999, 37.9], [89.99999, -89.9999, 89.264]
    pmra, pmdec = rng.normal(0, 3000, (2, 500))
    stars = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        distance=1e8 * u.kpc,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2016.0, format="jyear", scale="tdb"),
    )
    with pytest.warns(match="distance overridden"):
        there = stars.apply_space_motion(Time(1991.25, format="jyear", scale="tdb"))
    ours = move(ra, dec, pmra, pmdec, from_jyear=2016.0, to_jyear=1991.25)
    assert separations(*ours, there.ra.deg, there.dec.deg).max() < 1e-4
    assert ((ours[0] >= 0) & (ours[0] < 360)).all()


def test_a_source_without_proper_motion_stays():
    ra, dec = move(*one(10.0), *one(20.0), *one(np.nan), *one(5.0), from_jyear=2016.0, to_jyear=2026.0)
    assert (ra[0], dec[0]) == (10.0, 20.0)


def test_each_source_to_its_own_epoch():
    ra, dec = BARNARD.at_2016
    there = move(
        np.full(2, ra),
        np.full(2, dec),
        np.full(2, BARNARD.pm[0]),
        np.full(2, BARNARD.pm[1]),
        from_jyear=2016.0,
        to_jyear=np.array([2000.0, 2016.0]),
    )
    assert there[1][1] == dec
    assert (there[1][1] - there[1][0]) * 3600 == pytest.approx(16 * 10.362, abs=0.2)


def test_a_catalog_that_does_not_say_when_it_is_matched_is_taken_as_it_stands():
    """Its epoch is known, not the one that the service moves its stars to: without an epoch asked for nothing moves."""
    star = {"ra": [BARNARD.at_2016[0]], "dec": [BARNARD.at_2016[1]], "pmra": [BARNARD.pm[0]], "pmdec": [BARNARD.pm[1]]}
    found = Candidates(np.array([0]), pa.RecordBatch.from_pydict(star))
    columns = SourceColumns("ra", "dec", None, "pmra", "pmdec", position_epoch_jyear=2016.0)
    assert [value.tolist() for value in places(found, columns, None)] == [[BARNARD.at_2016[0]], [BARNARD.at_2016[1]], [2016.0]]
    matched = replace(columns, match_epoch_jyear=2000.0)
    ra, dec, epoch = places(found, matched, None)
    assert (separations(ra, dec, *one(*BARNARD.at_2000))[0] < 0.1, epoch.tolist()) == (True, [2000.0])
