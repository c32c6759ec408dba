"""Regions as they are asked for."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime

import pytest

from alerts.lists.named import BadList
from alerts.lists.regions import RegionSpec, parse_region


def test_a_region_has_a_level_and_a_time() -> None:
    spec = parse_region("gw=gs://b/map.fits.gz?level=0.5&t0=2026-11-01T05:13:22.5Z")
    assert spec == RegionSpec("gw", "gs://b/map.fits.gz", 0.5, datetime(2026, 11, 1, 5, 13, 22, 500000, tzinfo=UTC))
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert len({spec, parse_region("gw=gs://b/map.fits.gz")}) == 2
    assert parse_region(spec.text) == spec
    assert spec.text == "gw=gs://b/map.fits.gz?level=0.5&t0=2026-11-01T05:13:22.500000%2B00:00"
    assert parse_region("f=a.moc").text == "f=a.moc"
    assert parse_region("f=a.moc") == RegionSpec("f", "a.moc", None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01T06:13:22+01:00", datetime(2026, 11, 1, 5, 13, 22, tzinfo=UTC)),
        ("2026-11-01T06:13:22%2B01:00", datetime(2026, 11, 1, 5, 13, 22, tzinfo=UTC)),
        ("2026-10-31T23:13:22-0600", datetime(2026, 11, 1, 5, 13, 22, tzinfo=UTC)),
        ("MJD:61345.25", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ("mjd:61345.25", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ],
)
def test_times_are_utc(text: str, expected: datetime) -> None:
    assert parse_region(f"gw=map.fits?t0={text}").t0 == expected


@pytest.mark.parametrize("level", ["0", "-0.1", "1.0001", "nan", "inf", "x", "", "90%"])
def test_a_level_is_above_0_and_at_most_1(level: str) -> None:
    with pytest.raises(BadList, match=r"the region gw has the level '.*'; write a number above 0 and at most 1"):
        parse_region(f"gw=map.fits?level={level}")
    assert parse_region("gw=map.fits?level=1").level == 1.0


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-11-01", "2026-11-01T05:13:22", "2026-11-01 05:13:22", "61345.25", "MJD:", "MJD:nan", "MJD:1"]
)
def test_a_time_says_its_zone(text: str) -> None:
    with pytest.raises(BadList, match=r"the region gw has t0=.*; write a UTC time such as t0=2026"):
        parse_region(f"gw=map.fits?t0={text}")


def test_what_a_region_does_not_take_is_refused() -> None:
    with pytest.raises(BadList, match="has the parameter 'radius'; such a list takes level, t0"):
        parse_region("gw=map.fits?radius=3")
