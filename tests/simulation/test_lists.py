"""What a night has to say of lists: its map is one by anybody's reading, its watchlist finds what the truth says and no more."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy_healpix import HEALPix, uniq_to_level_ipix

from simulation import Night
from simulation.sky_maps import sky_map_around
from simulation.truth import PacketTruth

SKY = 12 * 4**29


@dataclass
class Listed:
    """A night with its truth and its two lists, as files say them."""

    told: list[PacketTruth]
    header: fits.Header
    uniq: np.ndarray
    density: np.ndarray
    rows: list[dict[str, str]]

    @property
    def levels(self) -> np.ndarray:
        return np.array([each.region_level for each in self.told])

    @property
    def places(self) -> SkyCoord:
        return SkyCoord([each.ra_deg for each in self.told], [each.dec_deg for each in self.told], unit="deg")

    def away_arcsec(self) -> np.ndarray:
        """Of each alert and each place of the list."""
        listed = SkyCoord([float(row["ra_deg"]) for row in self.rows], [float(row["dec_deg"]) for row in self.rows], unit="deg")
        return self.places[:, None].separation(listed[None, :]).arcsec

    def radii(self) -> np.ndarray:
        return np.array([float(row["radius_arcsec"]) for row in self.rows])


def listed(night: Night) -> Listed:
    table = read(night.sky_map.fits())
    rows = list(csv.DictReader(io.StringIO(night.watched.csv().decode())))
    told = [packet.truth for packet in night.packets()]
    return Listed(told, table.header, *(np.array(table.data[name]) for name in ("UNIQ", "PROBDENSITY")), rows)


def read(data: bytes) -> fits.BinTableHDU:
    with fits.open(io.BytesIO(data)) as hdus:
        hdus.verify("exception")
        return hdus[1].copy()


@pytest.fixture(scope="module", params=[("ztf", 200, 1), ("ztf", 600, 2), ("lsst", 200, 1), ("lsst", 300, 5)], ids=str)
def night(request: pytest.FixtureRequest) -> Listed:
    return listed(Night(*request.param))


def slow_level(night: Listed, ra_deg: float, dec_deg: float) -> float:
    """The greedy rule as it is written: over all cells that are at least as dense as that of the place."""
    orders, cells = uniq_to_level_ipix(night.uniq)
    for order in set(orders.tolist()):
        cell = HEALPix(2**order, "nested").lonlat_to_healpix(ra_deg * u.deg, dec_deg * u.deg)
        (found,) = np.nonzero((orders == order) & (cells == cell))
        if len(found):
            own = night.density[found[0]]
    areas = 4 * math.pi / (12 * 4.0**orders)
    return 1.0 if own == 0 else math.fsum((night.density * areas)[night.density >= own])


def test_the_map_covers_the_sky_once_and_its_sum_is_one(night: Listed):
    orders, cells = (column.astype(np.int64) for column in uniq_to_level_ipix(night.uniq))
    begins, ends = cells << 2 * (29 - orders), (cells + 1) << 2 * (29 - orders)
    order = np.argsort(begins)
    assert begins[order][0] == 0
    assert ends[order].tolist() == [*begins[order][1:].tolist(), SKY]
    assert len(set(orders.tolist())) > 1
    assert math.fsum(night.density * 4 * math.pi / (12 * 4.0**orders)) == pytest.approx(1, abs=1e-12)
    told = {key: night.header[key] for key in ("ORDERING", "COORDSYS", "PIXTYPE", "TUNIT2", "MOCORDER")}
    assert told == {"ORDERING": "NUNIQ", "COORDSYS": "C", "PIXTYPE": "HEALPIX", "TUNIT2": "sr-1", "MOCORDER": max(orders)}


def test_the_event_was_some_two_days_before_the_night(night: Listed):
    event = datetime.fromisoformat(night.header["DATE-OBS"]).replace(tzinfo=timezone.utc)
    before = (night.told[0].observed_at - event) / timedelta(days=1)
    # Small nights begin with a later block.
    assert 1.5 <= before < 3
    by_mjd = datetime(1858, 11, 17, tzinfo=timezone.utc) + timedelta(days=night.header["MJD-OBS"])
    assert abs(by_mjd - event) < timedelta(milliseconds=10)


def test_levels_are_those_of_the_greedy_rule_and_of_each_kind_there_are_some(night: Listed):
    for each in night.told[:: max(len(night.told) // 60, 1)]:
        assert each.region_level == pytest.approx(slow_level(night, each.ra_deg, each.dec_deg), abs=1e-9)
    assert [each.in_region for each in night.told] == (night.levels <= 0.9).tolist()
    assert 0.1 < (night.levels <= 0.9).mean() < 0.5
    assert (night.levels <= 0.5).any()
    assert ((night.levels > 0.5) & (night.levels <= 0.9)).any()


def test_who_is_watched_is_within_the_places_own_radius(night: Listed):
    away, radii = night.away_arcsec(), night.radii()
    assert [each.is_watched for each in night.told] == (away <= radii).any(axis=1).tolist()
    watched = {each.planted for each in night.told if each.is_watched}
    assert {each.family for each in night.told if each.is_watched} == {"variable"}
    assert watched < {each.planted for each in night.told if each.family == "variable"}


def test_one_place_misses_its_alert_and_others_are_far_from_all(night: Listed):
    away, radii = night.away_arcsec(), night.radii()
    nearest = away.min(axis=0)
    assert ((nearest > radii) & (nearest < 5)).sum() == 1
    assert (nearest > 3600).sum() == 10
    assert len({row["name"] for row in night.rows}) == len(night.rows)


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
@pytest.mark.parametrize("alerts", [1, 2, 20, 100])
def test_small_nights_have_lists_too(survey: str, alerts: int):
    for seed in range(5):
        night = listed(Night(survey, alerts, seed))
        assert any(each.in_region for each in night.told)
        assert any(each.is_watched for each in night.told) or all(each.is_solar_system for each in night.told)
        assert len(night.rows) >= 10


DIGESTS = {
    "ztf": ["4d2931c36f32393f", "4fe909797496f52d", "16284b84c65e3131"],
    "lsst": ["a9fb1da5a288defc", "48b2233c73c17dc3", "eb0ab1ae20385480"],
}
"""Of packets, map and list, the same on any machine: what is recorded of a seed's night rests on them."""


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_a_seed_has_these_bytes(survey: str):
    night = Night(survey, 60, 1, duplicates=2, damaged=3)
    packets = b"".join(packet.name.encode() + packet.data for packet in night.packets())
    made = [hashlib.sha256(data).hexdigest()[:16] for data in (packets, night.sky_map.fits(), night.watched.csv())]
    assert made == DIGESTS[survey]


def test_the_night_is_as_long_as_it_is_and_lists_are_not():
    night = Night("ztf", 50_000, 1)
    assert len(night.sky_map.fits()) < 100_000
    assert len(night.watched.names) == 61


@pytest.mark.parametrize(("ra", "dec"), [(0.0, 0.0), (359.9, -45.0), (120.0, 90.0), (10.0, -90.0), (45.0, 41.8)])
@pytest.mark.parametrize("sigma", [0.5, 7.0, 30.0])
def test_half_and_nine_tenths_of_the_probability_are_where_a_gaussian_has_them(ra: float, dec: float, sigma: float):
    table = read(sky_map_around(ra, dec, sigma, datetime(2026, 1, 1, tzinfo=timezone.utc)).fits())
    orders, cells = uniq_to_level_ipix(table.data["UNIQ"])
    inside = np.zeros(2)
    for order in set(orders.tolist()):
        some = orders == order
        lon, lat = HEALPix(2**order, "nested").healpix_to_lonlat(cells[some])
        away = SkyCoord(lon, lat).separation(SkyCoord(ra, dec, unit="deg")).deg
        parts = table.data["PROBDENSITY"][some] * 4 * math.pi / (12 * 4.0**order)
        inside += [parts[away <= radius * sigma].sum() for radius in (1.17741, 2.14597)]
    # On the sphere a wide one has less room outside.
    assert inside == pytest.approx([0.5, 0.9], abs=0.06)
