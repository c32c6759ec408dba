"""Numbers of single light curves, compiled: one alert and band after the other, in the order of time of ``Points``.

What each of them is stands in ``alerts.features.definitions``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alerts.compiling import later
from alerts.features.once import SAME_TIME_DAYS
from alerts.features.points import FLAGGED, LIMIT, MEASURED
from alerts.features.unhurried import unhurried

Array = np.ndarray[Any, Any]
Number = Any  # numba's numbers are numpy's while Python's annotations say int and float

NIGHT_DAYS = 0.5
"""Points that are no farther apart are of one night; a rate over nights is over at least as much."""
LEAST_NIGHT_GAP_DAYS = 0.02
"""Over less than half an hour a rate within the night is mostly noise."""

VALUES = (
    *("n", "days_since_first", "days_since_last", "span", "first", "last", "brightest", "days_since_brightest"),
    *("days_to_brightest", "faintest", "days_since_faintest", "mean", "std", "amplitude", "weighted_mean", "chi2_per_dof"),
    *("slope", "slope_err", "last_rate", "last_rate_err", "last_rate_gap", "night_rate", "night_rate_err", "night_rate_gap"),
)
"""What ``curves`` gives, in the order of the numbers that follow."""
N, SINCE_FIRST, SINCE_LAST, SPAN, FIRST, LAST, BRIGHTEST, SINCE_BRIGHTEST = range(8)
TO_BRIGHTEST, FAINTEST, SINCE_FAINTEST, MEAN, STD, AMPLITUDE, WEIGHTED_MEAN, CHI2 = range(8, 16)
SLOPE, SLOPE_ERR, LAST_RATE, LAST_RATE_ERR, LAST_GAP, NIGHT_RATE, NIGHT_RATE_ERR, NIGHT_GAP = range(16, 24)

COLOR, COLOR_ERR, COLOR_GAP, COLOR_SINCE = range(4)


@unhurried
def curves(  # noqa: PLR0917 - numba calls by position
    starts: Array, days: Array, band: Array, used: Array, value: Array, error: Array, is_mag: Number, rows: Array, out: Array
) -> None:
    """Fill ``out`` (band, row, alert), NaN before, from the points that are used: magnitudes or fluxes.

    ``rows``: in which row each of ``VALUES`` is wanted, -1: in none. Where values are NaN, as of fluxes that nobody knows,
    number and times are told all the same.
    """
    t, y, e, found = np.empty(len(days)), np.empty(len(days)), np.empty(len(days)), np.empty(len(rows))
    for alert in range(len(starts) - 1):
        for which in range(out.shape[0]):
            count = 0
            for place in range(starts[alert], starts[alert + 1]):
                if band[place] == which and used[place]:
                    t[count], y[count], e[count] = days[place], value[place], error[place]
                    count += 1
            found[:] = np.nan
            found[N] = count
            if count:
                _extremes(t, y, count, is_mag, found)
                _weighed(t, y, e, count, found)
                _rates(t, y, e, count, found)
            for number in range(len(rows)):
                if rows[number] >= 0:
                    out[which, rows[number], alert] = found[number]


@later
def _extremes(t: Array, y: Array, count: Number, is_mag: Number, found: Array) -> None:
    """Ends, brightest and faintest (of equal ones the first), mean and spread."""
    last, low, high, total = count - 1, 0, 0, 0.0
    for place in range(count):
        total += y[place]
        if y[place] < y[low]:
            low = place
        if y[place] > y[high]:
            high = place
    bright, faint = (low, high) if is_mag else (high, low)
    found[SINCE_FIRST], found[SINCE_LAST], found[SPAN] = 0 - t[0], 0 - t[last], t[last] - t[0]
    found[FIRST], found[LAST], found[BRIGHTEST], found[FAINTEST] = y[0], y[last], y[bright], y[faint]
    if not np.isnan(total):
        found[SINCE_BRIGHTEST], found[TO_BRIGHTEST], found[SINCE_FAINTEST] = 0 - t[bright], t[bright] - t[0], 0 - t[faint]
    mean = total / count
    found[MEAN] = mean
    if count > 1:
        # About the mean, so that the sum keeps its digits.
        square = 0.0
        for place in range(count):
            off = y[place] - mean
            square += off * off
        found[STD], found[AMPLITUDE] = np.sqrt(square / (count - 1)), (y[high] - y[low]) / 2


@later
def _weighed(t: Array, y: Array, e: Array, count: Number, found: Array) -> None:
    """By weights of 1/error^2, of the points that have an error: mean, chi2 about it, and the slope of the best line."""
    number, weights, by_y, by_t, begin, end = 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for place in range(count):
        if e[place] * e[place] > 0:
            weight = 1 / (e[place] * e[place])
            weights += weight
            by_y += weight * (y[place] - y[0])
            by_t += weight * (t[place] - t[0])
            begin = t[place] if number == 0 else begin
            end = t[place]
            number += 1
    if not 0 < weights < np.inf:
        return
    y_mean, t_mean = y[0] + by_y / weights, t[0] + by_t / weights
    chi2, tt, ty = 0.0, 0.0, 0.0
    for place in range(count):
        if e[place] * e[place] > 0:
            weight = 1 / (e[place] * e[place])
            y_off, t_off = y[place] - y_mean, t[place] - t_mean
            chi2 += weight * (y_off * y_off)
            tt += weight * (t_off * t_off)
            ty += weight * t_off * y_off
    found[WEIGHTED_MEAN] = y_mean
    if number > 1:
        found[CHI2] = chi2 / (number - 1)
    if end - begin > SAME_TIME_DAYS and tt > 0:
        found[SLOPE], found[SLOPE_ERR] = ty / tt, np.sqrt(1 / tt)


@later
def _rates(t: Array, y: Array, e: Array, count: Number, found: Array) -> None:
    """The newest point against the latest one that is a night older, and against the latest one within the night."""
    last = count - 1
    for place in range(last - 1, -1, -1):
        gap = t[last] - t[place]
        if gap < LEAST_NIGHT_GAP_DAYS:
            continue
        rate, error = (y[last] - y[place]) / gap, np.nan
        if e[last] > 0 and e[place] > 0:
            error = np.hypot(e[last], e[place]) / gap
        if gap >= NIGHT_DAYS:
            found[LAST_RATE], found[LAST_RATE_ERR], found[LAST_GAP] = rate, error, gap
            return
        if np.isnan(found[NIGHT_GAP]):
            found[NIGHT_RATE], found[NIGHT_RATE_ERR], found[NIGHT_GAP] = rate, error, gap


@unhurried
def counts(  # noqa: PLR0917
    starts: Array, band: Array, kind: Array, is_negative: Array, rows: Array, out: Array
) -> None:
    """Fill the ``rows`` of ``out`` (band, row, alert), of which -1 is none: points fainter than the template, flagged, limits."""
    for alert in range(len(starts) - 1):
        for which in range(out.shape[0]):
            negative, flagged, limits = 0, 0, 0
            for place in range(starts[alert], starts[alert + 1]):
                if band[place] == which:
                    negative += kind[place] == MEASURED and is_negative[place]
                    flagged += kind[place] == FLAGGED
                    limits += kind[place] == LIMIT
            for number, found in enumerate((negative, flagged, limits)):
                if number < len(rows) and rows[number] >= 0:
                    out[which, rows[number], alert] = found


@unhurried
def rises(  # noqa: PLR0917
    starts: Array, days: Array, band: Array, kind: Array, mag: Array, limit_mag: Array, rows: Array, out: Array
) -> None:
    """Fill the ``rows`` for rise and gap of ``out`` (band, row, alert): the first detection against the last limit before it."""
    for alert in range(len(starts) - 1):
        for which in range(out.shape[0]):
            limit = -1
            for place in range(starts[alert], starts[alert + 1]):
                if band[place] != which:
                    continue
                if kind[place] == LIMIT:
                    limit = place
                elif kind[place] == MEASURED:
                    # A detection that is fainter than the template has no magnitude, which compares with nothing.
                    if limit >= 0 and limit_mag[limit] > mag[place] and days[place] > days[limit]:
                        gap = days[place] - days[limit]
                        out[which, rows[0], alert], out[which, rows[1], alert] = (limit_mag[limit] - mag[place]) / gap, gap
                    break


@unhurried
def colors(  # noqa: PLR0917
    starts: Array, days: Array, band: Array, used: Array, mag: Array, mag_err: Array, rows: Array, out: Array
) -> None:
    """Fill ``out`` (row, alert), NaN before: of the newest pair of a night, of each pair of neighboring bands.

    ``rows`` (pair, value): where color, error, gap and age are wanted.
    """
    for alert in range(len(starts) - 1):
        for which in range(len(rows)):
            blue, red = starts[alert + 1] - 1, starts[alert + 1] - 1
            while True:
                while blue >= starts[alert] and not (band[blue] == which and used[blue]):
                    blue -= 1
                while red >= starts[alert] and not (band[red] == which + 1 and used[red]):
                    red -= 1
                if blue < starts[alert] or red < starts[alert]:
                    break
                if abs(days[blue] - days[red]) <= NIGHT_DAYS:
                    out[rows[which, COLOR], alert] = mag[blue] - mag[red]
                    if mag_err[blue] > 0 and mag_err[red] > 0:
                        out[rows[which, COLOR_ERR], alert] = np.hypot(mag_err[blue], mag_err[red])
                    out[rows[which, COLOR_GAP], alert] = abs(days[blue] - days[red])
                    out[rows[which, COLOR_SINCE], alert] = 0 - max(days[blue], days[red])
                    break
                # The newer of them has no partner.
                if days[blue] > days[red]:
                    blue -= 1
                else:
                    red -= 1


def compile_now() -> None:
    """Compile them, by calling them with an alert that has no points."""
    starts, numbers, whole, chosen = np.zeros(2, np.int64), np.empty(0), np.empty(0, np.int64), np.empty(0, np.bool_)
    curves(starts, numbers, whole, chosen, numbers, numbers, True, np.zeros(len(VALUES), np.int64), np.empty((1, 1, 1)))
    counts(starts, whole, whole, chosen, np.zeros(3, np.int64), np.empty((1, 1, 1)))
    rises(starts, numbers, whole, whole, numbers, numbers, np.zeros(2, np.int64), np.empty((1, 1, 1)))
    colors(starts, numbers, whole, chosen, numbers, numbers, np.zeros((1, 4), np.int64), np.empty((1, 1)))
