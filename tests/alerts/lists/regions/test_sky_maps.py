"""Sky maps of each form against a loop over the pixels, which knows nothing of ranges."""

from __future__ import annotations

import functools
import gzip
import math
import pickle
import time
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from alerts.lists.named import BadList
from alerts.lists.regions import RegionSpec, read_region
from alerts.positions import healpix29
from tests.alerts.lists.regions.making import DATE, Form, MadeMap, around, flat_map, multi_order_map, read_map, written

ORDER = 3
KINDS = [
    ("PROB", "pix-1"),
    ("PROBABILITY", None),
    ("PROB", "1 / pix"),
    ("PROBDENSITY", "sr-1"),
    ("PROBDENSITY", None),
    ("PROB", "sr-1"),
]


@functools.cache
def made_map(ordering: str) -> MadeMap:
    return multi_order_map() if ordering == "NUNIQ" else flat_map(ORDER)


@functools.cache
def levels_by_loop(ordering: str) -> list[float]:
    """Of each pixel the probability of all that are at least as dense, one after the other."""
    made, found = made_map(ordering), []
    for density in made.density:
        total = math.fsum(p for p, d in zip(made.probability, made.density, strict=True) if d >= density * (1 - 1e-12))
        found.append(1.0 if density == 0 else total)
    return found


def places(made: MadeMap, frame: str) -> tuple[Any, Any, Any]:
    # The two matrices to galactic coordinates agree to some mas.
    lon, lat, whose = around(made.cells, made.orders, 1e-6 if frame == "C" else 1e-4)
    if frame == "G":
        turned = SkyCoord(lon, lat, unit="deg", frame="galactic").icrs
        lon, lat = turned.ra.deg, turned.dec.deg
    return lon, lat, whose


@pytest.mark.parametrize("frame", ["C", "G"])
@pytest.mark.parametrize("ordering", ["RING", "NESTED", "NUNIQ"])
@pytest.mark.parametrize(("column", "unit"), KINDS)
def test_levels_are_those_of_a_loop_over_all_pixels(ordering: str, column: str, unit: str | None, frame: str) -> None:
    made = made_map(ordering)
    region = read_map(made, Form(ordering, column, unit, frame), level=0.7)
    ra, dec, whose = places(made, frame)
    expected = np.array(levels_by_loop(ordering))[whose]
    cells = healpix29(ra, dec)
    np.testing.assert_allclose(region.level(cells), np.minimum(expected, 1), rtol=0, atol=1e-9)
    clear = np.abs(expected - 0.7) > 1e-9
    assert (region.inside(cells, ra, dec) == (expected <= 0.7))[clear].all()
    assert 20 < region.inside(cells, ra, dec).sum() < len(ra) / 2
    assert region.is_map
    assert region.event_time == datetime.fromisoformat(DATE).replace(tzinfo=UTC)


@pytest.mark.parametrize("ordering", ["RING", "NESTED", "NUNIQ"])
def test_ranges_are_what_is_inside(ordering: str) -> None:
    made = made_map(ordering)
    region = read_map(made, Form(ordering), level=0.5)
    ra, dec, _ = places(made, "C")
    cells = healpix29(ra, dec)
    inside = [any(begin <= cell < end for begin, end in region.ranges.tolist()) for cell in cells[:3000].tolist()]
    assert region.inside(cells, ra, dec)[:3000].tolist() == inside
    assert (region.ranges[1:, 0] > region.ranges[:-1, 1]).all()
    assert len(region.edges) == 0


@pytest.mark.parametrize(
    "form",
    [
        Form("RING"),
        Form("NEST"),
        Form("NESTED", row_length=64),
        Form("RING", row_length=256),
        Form("NESTED", is_partial=True, seed=4),
        Form("RING", is_partial=True, seed=5),
        Form("NESTED", coordsys="EQU"),
        Form("NESTED", coordsys="ICRS "),
    ],
)
def test_a_map_is_the_same_in_each_form(form: Form) -> None:
    """To the last bit: the sums are made in an order that the file has no part in."""
    plain, other = read_map(flat_map(ORDER), Form("NESTED")), read_map(flat_map(ORDER), form)
    assert plain.levels is not None
    assert other.levels is not None
    np.testing.assert_array_equal(plain.levels.begins, other.levels.begins)
    np.testing.assert_array_equal(plain.levels.levels, other.levels.levels)


def test_pixels_of_equal_density_have_one_level() -> None:
    order = 2
    values = np.tile([4.0, 1.0, 1.0, 2.0], 12 * 4**order // 4)
    made = MadeMap(np.full(len(values), order), np.arange(len(values)), values / values.sum())
    region = read_map(made, Form("NESTED"))
    ra, dec, whose = around(made.cells, made.orders, 1e-6)
    expected = np.select([values == 4, values == 2], [0.5, 0.75], 1.0)
    np.testing.assert_allclose(region.level(healpix29(ra, dec)), expected[whose], atol=1e-12)
    # All of equal density are in, or none: 0.6 takes those of 0.5 alone.
    assert set(read_map(made, Form("NESTED"), level=0.6).inside(healpix29(ra, dec), ra, dec)[values[whose] == 2].tolist()) == {
        False
    }


def test_what_a_multi_order_map_does_not_speak_of_has_level_1() -> None:
    made = multi_order_map()
    kept = made.density > 0
    assert 0 < np.count_nonzero(~kept) < len(kept)
    part = MadeMap(made.orders[kept], made.cells[kept], made.probability[kept])
    whole, region = read_map(made, Form("NUNIQ")), read_map(part, Form("NUNIQ", seed=1))
    ra, dec, whose = around(made.cells, made.orders, 1e-6)
    cells = healpix29(ra, dec)
    np.testing.assert_array_equal(region.level(cells), whole.level(cells))
    assert set(region.level(cells)[~kept[whose]].tolist()) == {1.0}
    assert not region.inside(cells, ra, dec)[~kept[whose]].any()


def test_the_whole_map_has_level_1_and_no_level_is_above_it() -> None:
    made = flat_map(2)
    scaled = MadeMap(made.orders, made.cells, made.probability * 1.0009)
    region = read_map(scaled, Form("NESTED"), level=1.0)
    ra, dec, _ = around(made.cells, made.orders, 1e-6)
    assert region.level(healpix29(ra, dec)).max() == 1.0
    assert region.inside(healpix29(ra, dec), ra, dec).all()


def test_where_the_density_is_0_the_level_is_1_whatever_the_sum() -> None:
    made = flat_map(3)
    scaled = MadeMap(made.orders, made.cells, made.probability * 0.9991)
    ra, dec, whose = around(made.cells, made.orders, 1e-6)
    levels = read_map(scaled, Form("NESTED")).level(healpix29(ra, dec))
    none = made.density[whose] == 0
    assert set(levels[none].tolist()) == {1.0}
    assert levels[~none].max() == pytest.approx(0.9991, abs=1e-12)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"DATE-OBS": "2026-11-01T00:00:37", "TIMESYS": "TAI"}, "2026-11-01T00:00:00+00:00"),
        ({"DATE-OBS": "2026-11-01T05:13:22.25Z", "TIMESYS": "UTC"}, "2026-11-01T05:13:22.250000+00:00"),
        ({"MJD-OBS": 61345.25}, "2026-11-01T06:00:00+00:00"),
        ({"MJD-OBS": 61345.25, "DATE-OBS": "2026-11-02T00:00:00"}, "2026-11-02T00:00:00+00:00"),
        ({"DATE-OBS": "", "MJD-OBS": 61345.25}, "2026-11-01T06:00:00+00:00"),
        ({}, None),
    ],
)
def test_the_event_s_time_is_the_header_s(header: dict[str, Any], expected: str | None) -> None:
    region = read_map(flat_map(ORDER), Form("NESTED", header=tuple(header.items())))
    assert (None if region.event_time is None else region.event_time.isoformat()) == expected


def test_t0_wins_also_where_the_header_has_no_time() -> None:
    t0 = datetime(2026, 11, 3, tzinfo=UTC)
    for header in ({"DATE-OBS": "2026-11-01T00:00:00"}, {"DATE-OBS": "yesterday"}):
        assert read_map(flat_map(ORDER), Form("NESTED", header=tuple(header.items())), t0=t0).event_time == t0


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"DATE-OBS": "yesterday"}, "its DATE-OBS is 'yesterday', which is no time; say when the event was by t0="),
        ({"MJD-OBS": "x"}, "its MJD-OBS is 'x'"),
        ({"MJD-OBS": True}, "its MJD-OBS is True, which is no time"),
        ({"DATE-OBS": DATE, "TIMESYS": "GPS"}, "in TIMESYS GPS, which is no time"),
    ],
)
def test_a_time_that_is_none_is_refused(header: dict[str, Any], told: str) -> None:
    with pytest.raises(BadList, match=told):
        read_map(flat_map(ORDER), Form("NESTED", header=tuple(header.items())))


def test_gzip_of_several_streams_is_unpacked_whole() -> None:
    data = written(multi_order_map(), Form("NUNIQ"))
    packed = gzip.compress(data[:3000]) + gzip.compress(data[3000:])
    spec = RegionSpec("gw", "map.fits.gz")
    np.testing.assert_array_equal(read_region(spec, packed).ranges, read_region(spec, data).ranges)


def test_gzip_is_unpacked_and_a_region_can_be_pickled() -> None:
    data = gzip.compress(written(multi_order_map(), Form("NUNIQ")))
    region = read_region(RegionSpec("gw", "map.fits.gz"), data)
    again = pickle.loads(pickle.dumps(region))
    assert again.spec == region.spec
    np.testing.assert_array_equal(again.ranges, region.ranges)
    np.testing.assert_array_equal(again.levels.levels, region.levels.levels)


@pytest.mark.cost
def test_a_million_places_are_quick() -> None:
    """Against drawing so many numbers and looking them up one by one in Python, of which it takes a small part."""
    region = read_map(multi_order_map(), Form("NUNIQ"))
    cells = np.random.default_rng(1).integers(0, 12 * 4**29, 10**6)
    begin = time.process_time()
    region.level(cells)
    quick = time.process_time() - begin
    begin = time.process_time()
    for cell in cells[:100_000].tolist():
        region.level(np.array([cell]))
    assert quick < time.process_time() - begin
