"""Times of observation to UTC and to nights, held against astropy and the table of leap seconds."""

from __future__ import annotations

import warnings
from datetime import datetime, timezone

import numpy as np
import pytest
from astropy.time import Time
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro import envelope
from alerts.surveys import SURVEYS
from alerts.times import night_of, to_utc
from tests.alerts.making import examples

MICRO = np.timedelta64(1, "us")
LEAP_SECONDS = [41317, 41499, 41683, 50083, 54832, 56109, 57204, 57754]  # MJD of the days that begin after one


def utc_by_astropy(value: float, date_format: str, scale: str) -> np.datetime64:
    """The same by astropy's text of the time; a 61st second is the first of the next minute."""
    utc = Time(value, format=date_format, scale=scale).utc
    utc.precision = 9
    minute, _, seconds = utc.isot.rpartition(":")
    return np.datetime64(minute, "us") + np.timedelta64(round(float(seconds) * 1e6), "us")


@pytest.mark.parametrize(
    ("value", "date_format", "scale", "utc"),
    [
        # TAI was 36 s ahead of UTC in 2016 and is 37 s ahead since.
        (57753.5, "mjd", "tai", "2016-12-31T11:59:24"),
        (57754.0, "mjd", "tai", "2016-12-31T23:59:24"),
        (57754.5, "mjd", "tai", "2017-01-01T11:59:23"),
        (57754.0 + 36 / 86400, "mjd", "tai", "2017-01-01T00:00:00"),  # 23:59:60
        (57754.0 + 37.001 / 86400, "mjd", "tai", "2017-01-01T00:00:00.001"),
        (61109.25, "mjd", "tai", "2026-03-10T05:59:23"),
        (2457754.5, "jd", "utc", "2017-01-01T00:00:00"),
        (2458451.5, "jd", "utc", "2018-11-29T00:00:00"),
        (2451545.0, "jd", "utc", "2000-01-01T12:00:00"),
        (2458451.7036458, "jd", "utc", "2018-11-29T04:53:14.997"),
        (60000.0, "mjd", "utc", "2023-02-25T00:00:00"),
    ],
)
def test_known_times(value, date_format, scale, utc):
    (found,) = to_utc(np.array([value]), date_format, scale)
    # A float64 resolves 40 us of a Julian Date and 0.6 us of a Modified one.
    assert abs(found - np.datetime64(utc, "us")) < (130 if date_format == "jd" else 2) * MICRO


@pytest.mark.parametrize("leap", LEAP_SECONDS)
def test_times_around_every_kind_of_leap_second_agree_with_astropy(leap):
    seconds = np.concatenate([np.arange(-90, 90, 0.5), np.arange(-3, 3, 0.01)]) / 86400
    for date_format, scale, zero in (("mjd", "tai", leap + 37 / 86400), ("jd", "utc", leap + 2400000.5), ("mjd", "utc", leap)):
        values = zero + seconds
        found = to_utc(values, date_format, scale)
        expected = np.array([utc_by_astropy(value, date_format, scale) for value in values])
        assert (np.abs(found - expected) <= MICRO).all()


def test_the_leap_second_itself_is_told_as_the_first_second_of_the_year():
    # The 61st second of 2016-12-31 in TAI, and of a UTC day that is a second longer than others.
    in_tai = to_utc(np.array([57754.0 + 36.25 / 86400]), "mjd", "tai")
    in_utc = to_utc(np.array([57753 + 86400.25 / 86401]), "mjd", "utc")
    for (found,) in (in_tai, in_utc):
        assert abs(found - np.datetime64("2017-01-01T00:00:00.25", "us")) < 2 * MICRO


@examples(30)
@given(
    st.lists(st.floats(41317, 88068), min_size=1, max_size=20), st.sampled_from([("mjd", "tai"), ("mjd", "utc"), ("jd", "utc")])
)
def test_times_agree_with_astropy_on_any_day_of_this_and_the_last_century(days, kind):
    date_format, scale = kind
    values = np.array(days) + (2400000.5 if date_format == "jd" else 0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*dubious year")
        expected = [utc_by_astropy(value, date_format, scale) for value in values]
    assert (np.abs(to_utc(values, date_format, scale) - np.array(expected)) <= MICRO).all()


def test_a_time_of_years_to_come_is_no_cause_for_a_warning():
    (found,) = to_utc(np.array([80000.0]), "mjd", "tai")  # warnings are errors here
    assert found == np.datetime64("2077-11-27T23:59:23", "us")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0, -999.0, -99999.0, 36933.9, 88069.0, 1e9, 1e308, -1e308])
@pytest.mark.parametrize("scale", ["utc", "tai"])
def test_what_is_no_date_of_our_time_is_no_time(value, scale):
    there = [60000.0, value, 60001.0]
    assert np.isnat(to_utc(np.array(there), "mjd", scale)).tolist() == [False, True, False]
    assert np.isnat(to_utc(np.array(there) + 2400000.5, "jd", scale)).tolist() == [False, True, False]


def test_the_first_and_the_last_time_we_take():
    found = to_utc(np.array([36934.0, np.nextafter(88069.0, 0)]), "mjd", "utc")
    assert [str(one)[:10] for one in found] == ["1960-01-01", "2099-12-31"]


def test_seconds_since_1970_where_a_survey_sends_them():
    sent = np.array([1480360995.0, 57720.8, np.nan])
    found = to_utc(sent, "mjd", "tai", seconds_from=1e8)
    assert abs(found[0] - np.datetime64("2016-11-28T19:22:39", "us")) < 2 * MICRO  # 19:23:15 TAI
    assert abs(found[1] - np.datetime64("2016-11-28T19:11:24", "us")) < 2 * MICRO
    assert np.isnat(found[2])


def test_no_times_give_no_times():
    assert len(to_utc(np.array([]), "jd", "utc")) == 0
    assert len(night_of(to_utc(np.array([]), "jd", "utc"), 12)) == 0


@pytest.mark.parametrize(
    ("utc", "starts_hours", "night"),
    [
        ("2018-11-29T00:00:00", 0, "2018-11-29"),
        ("2018-11-29T23:59:59.999999", 0, "2018-11-29"),
        # Cerro Pachon: the night of March 9 begins on March 9 and ends on the morning of March 10.
        ("2026-03-10T00:30:00", 12, "2026-03-09"),
        ("2026-03-10T11:59:59.999999", 12, "2026-03-09"),
        ("2026-03-10T12:00:00", 12, "2026-03-10"),
    ],
)
def test_nights_begin_when_their_site_says(utc, starts_hours, night):
    assert night_of(np.array([utc], "datetime64[us]"), starts_hours) == np.datetime64(night)


def test_nights_of_no_time_are_no_nights():
    assert np.isnat(night_of(np.array(["NaT"], "datetime64[us]"), 12)).all()


def test_times_become_python_times_without_loss():
    (found,) = to_utc(np.array([61109.25]), "mjd", "utc").tolist()
    assert found.replace(tzinfo=timezone.utc) == datetime(2026, 3, 10, 6, tzinfo=timezone.utc)


def test_times_that_were_met_are_not_kept_without_end(monkeypatch):
    """Each time is asked of astropy once, as all alerts of an exposure have the same; a year of nights has many."""
    monkeypatch.setattr(envelope, "_KNOWN_TIMES", 3)
    lsst, times = SURVEYS["lsst"], np.arange(61109.0, 61119.0)
    for time in times:
        found = envelope._to_utc(np.array([time, time]), lsst)
        assert found.tolist() == to_utc(np.array([time, time]), "mjd", "tai").tolist()
        assert len(envelope._known_times(lsst)) <= 4
