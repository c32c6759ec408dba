"""Times: a survey's dates, in their scale, to UTC and to the night; and the clock's, for rows of which the newest counts."""

from __future__ import annotations

import warnings
from datetime import datetime, timedelta, timezone
from typing import Any, Literal

import erfa
import numpy as np

Micros = np.ndarray[Any, np.dtype[np.datetime64]]

_MJD_OF_JD_ZERO = -2400000.5
_MJD_OF_1970 = 40587.0
_EARLIEST_MJD, _LATEST_MJD = 36934.0, 88069.0  # 1960-01-01, when UTC begins, and 2100-01-01


def to_utc(
    values: np.ndarray[Any, Any],
    date_format: Literal["jd", "mjd"],
    scale: Literal["utc", "tai"],
    seconds_from: float = np.inf,
) -> Micros:
    """UTC times to 1 us (``datetime64[us]``) for Julian or Modified Julian Dates of the given scale, by ERFA.

    Values of ``seconds_from`` and more are taken as seconds since 1970-01-01 of the same scale.
    A value that is not finite or not between 1960 and 2100 gives NaT. The 61st second of a minute with a leap second is
    told as the first of the next, as Unix time does: no database has a name for it.
    """
    values = np.asarray(values, dtype=np.float64)
    in_seconds = values >= seconds_from
    if in_seconds.any():
        days = _MJD_OF_1970 + values / 86400 - (_MJD_OF_JD_ZERO if date_format == "jd" else 0)
        values = np.where(in_seconds, days, values)
    mjd = values + _MJD_OF_JD_ZERO if date_format == "jd" else values
    with np.errstate(invalid="ignore"):
        readable = (mjd >= _EARLIEST_MJD) & (mjd < _LATEST_MJD)
    times = np.full(values.shape, np.datetime64("NaT"), dtype="datetime64[us]")
    if readable.any():
        with warnings.catch_warnings():
            # Nobody knows the leap seconds of years to come, and erfa warns of each.
            warnings.filterwarnings("ignore", message=".*dubious year")
            year, month, day, clock = _calendar(values[readable], 0.0 if date_format == "jd" else -_MJD_OF_JD_ZERO, scale)
        months = (year - 1970) * 12 + month - 1
        days = months.astype("datetime64[M]").astype("datetime64[D]") + (day - 1).astype("timedelta64[D]")
        minutes = (clock["h"] * 60 + clock["m"]).astype("timedelta64[m]")
        micros = np.rint((clock["s"] + clock["f"] * 1e-9) * 1e6).astype("timedelta64[us]")
        times[readable] = days.astype("datetime64[us]") + minutes + micros
    return times


def _calendar(days: np.ndarray[Any, Any], zero_jd: float, scale: Literal["utc", "tai"]) -> tuple[Any, Any, Any, Any]:
    """Year, month, day, and hours, minutes, seconds and ns of dates, UTC.

    As ``astropy.time`` does it, from which it does not differ (``tests/alerts/test_times.py``), and which takes a third of a
    second to load: dates are split in two numbers, of which the smaller keeps what the sum would round away.
    """
    whole = np.round(days)
    jd1, jd2 = whole + zero_jd, days - whole
    if scale == "tai":
        jd1, jd2 = erfa.taiutc(jd1, jd2)
    return tuple(erfa.d2dtf("UTC", 9, jd1, jd2))


def now_after(before: datetime | None) -> datetime:
    """The time (UTC), for a row that has to be newer than one of the time ``before``, whatever the clock has done since."""
    now = datetime.now(timezone.utc)
    return now if before is None else max(now, before + timedelta(microseconds=1))


def night_of(observed_at: Micros, night_starts_utc_hours: int) -> Micros:
    """The night (``datetime64[D]``) of UTC times, for a site whose nights begin at that hour of UTC."""
    return (observed_at - np.timedelta64(night_starts_utc_hours, "h")).astype("datetime64[D]")
