"""Which records are points, in order of time, each once: compiled, since of most alerts there is nothing to be done.

Of several records of one point one counts: the alert's own, then a detection before a limit, then one without a flag, then the
one with the smaller error; by the other numbers where these are equal, so that the order in which they were sent says nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alerts.compiling import later
from alerts.features.unhurried import unhurried

Array = np.ndarray[Any, Any]
Number = Any  # numba's numbers are numpy's while Python's annotations say int and float

SAME_TIME_DAYS = 1e-5
"""Points of one band that are no farther apart are one, where no exposure tells them apart: 0.9 s, less than any exposure."""
_BY_TIME, _BY_EXPOSURE, _BY_BOTH = 0, 1, 2


@unhurried
def gather(  # noqa: PLR0917 - numba calls by position
    counts: Array, days: Array, own_days: Array, is_limit: Array, value: Array, place: Array, time: Array, starts: Array
) -> Number:
    """Where the points are among the records of several series, one series after the other; gives their number.

    ``counts`` (series, alert) is how many records each alert has. Fills ``place``, ``time`` (days after the alert's own
    measurement) and ``starts``, alert by alert. Of an alert the last series comes first: its own measurement, the newest
    mostly, is the last of its points.
    """
    found, total = 0, 0
    begins = np.zeros(len(counts), np.int64)
    for series in range(len(counts)):
        begins[series] = total
        total += counts[series].sum()
    for alert in range(len(own_days)):
        starts[alert] = found
        for series in range(len(counts) - 1, -1, -1):
            end = begins[series] + counts[series, alert]
            for record in range(begins[series], end):
                since = days[record] - own_days[alert]
                if np.isfinite(since) and (is_limit[record] or not np.isnan(value[record])):
                    place[found], time[found] = record, since
                    found += 1
            begins[series] = end
    starts[len(own_days)] = found
    return found


@unhurried
def each_once(  # noqa: PLR0917
    starts: Array, place: Array, time: Array, band: Array, visit: Array, detector: Array, is_limit: Array, is_history: Array,
    is_flagged: Array, error: Array, value: Array, limit_mag: Array, is_negative: Array
) -> Number:  # fmt: skip
    """Put the points of each alert in order of time, and band and exposure where times are the same, and leave each once.

    ``starts``, ``place`` and ``time`` are those of ``gather``, and are changed; gives how many points are left.
    """
    left = 0
    begin = starts[0]
    for alert in range(len(starts) - 1):
        end = starts[alert + 1]
        starts[alert] = left
        if _is_in_order(time, begin, end):
            for point in range(begin, end):
                place[left], time[left] = place[point], time[point]
                left += 1
        else:
            where, when = place[begin:end].copy(), time[begin:end].copy()
            order, beside = np.arange(len(where)), np.empty(len(where), np.int64)
            _sort(order, beside, len(order), _BY_TIME, when, where, band, visit, detector)
            first = 0
            while first < len(order):
                last = first + 1
                while last < len(order) and when[order[last]] - when[order[last - 1]] <= SAME_TIME_DAYS:
                    last += 1
                if last - first > 1:
                    crowd = order[first:last]
                    _sort(crowd, beside, len(crowd), _BY_EXPOSURE, when, where, band, visit, detector)
                    kept = _best(
                        crowd, when, where, band, visit, detector, is_limit, is_history, is_flagged, error, value, limit_mag,
                        is_negative,
                    )  # fmt: skip
                    if kept > 1:
                        _sort(crowd, beside, kept, _BY_BOTH, when, where, band, visit, detector)
                else:
                    kept = 1
                for point in order[first : first + kept]:
                    place[left], time[left] = where[point], when[point]
                    left += 1
                first = last
        begin = end
    starts[len(starts) - 1] = left
    return left


@later
def _is_in_order(time: Array, begin: Number, end: Number) -> Number:
    for point in range(begin + 1, end):  # noqa: SIM110 - numba knows no all()
        if not time[point] - time[point - 1] > SAME_TIME_DAYS:
            return False
    return True


@later
def _best(  # noqa: PLR0917
    crowd: Array, time: Array, place: Array, band: Array, visit: Array, detector: Array, is_limit: Array, is_history: Array,
    is_flagged: Array, error: Array, value: Array, limit_mag: Array, is_negative: Array
) -> Number:  # fmt: skip
    """Put the best record of each point first, of a crowd that is in order of exposure and time; gives how many these are."""
    kept, before = 0, crowd[0]
    for member in crowd:
        a, b = place[member], place[crowd[kept]]
        same = band[a] == band[place[before]] and visit[a] == visit[place[before]] and detector[a] == detector[place[before]]
        if not same or time[member] - time[before] > SAME_TIME_DAYS:
            kept += 1
            crowd[kept] = member
        else:
            better = 0
            if better == 0:
                better = int(is_limit[b]) - int(is_limit[a])
            if better == 0:
                better = int(is_history[b]) - int(is_history[a])
            if better == 0:
                better = int(is_flagged[b]) - int(is_flagged[a])
            if better == 0:
                better = _smaller(error[a], error[b])
            if better == 0:
                better = _smaller(value[a], value[b])
            if better == 0:
                better = _smaller(limit_mag[a], limit_mag[b])
            if better == 0:
                better = int(is_negative[b]) - int(is_negative[a])
            if better > 0:
                crowd[kept] = member
        before = member
    return kept + 1


@later
def _smaller(a: Number, b: Number) -> Number:
    """1 where a is smaller, -1 where b is; a number is smaller than NaN."""
    if np.isnan(a) or np.isnan(b):
        return int(np.isnan(b)) - int(np.isnan(a))
    return int(a < b) - int(b < a)


@later
def _sort(  # noqa: PLR0917
    order: Array, beside: Array, count: Number, by: Number, time: Array, place: Array, band: Array, visit: Array, detector: Array
) -> None:
    """Sort the first ``count`` by merging; equal ones stay as they are. Histories may be long, and in whatever order."""
    width = 1
    while width < count:
        for begin in range(0, count, 2 * width):
            middle, end = min(begin + width, count), min(begin + 2 * width, count)
            beside[begin:end] = order[begin:end]
            if middle == end or not _is_before(
                order[middle], order[middle - 1], by, time, place, band, visit, detector
            ):  # in order as they are, as most are
                continue
            a, b = begin, middle
            for slot in range(begin, end):
                take_b = b < end and (a == middle or _is_before(order[b], order[a], by, time, place, band, visit, detector))
                if take_b:
                    beside[slot] = order[b]
                    b += 1
                else:
                    beside[slot] = order[a]
                    a += 1
        order[:count] = beside[:count]
        width *= 2


@later
def _is_before(  # noqa: PLR0917
    a: Number, b: Number, by: Number, time: Array, place: Array, band: Array, visit: Array, detector: Array
) -> Number:
    if by != _BY_EXPOSURE and time[a] != time[b]:
        return time[a] < time[b]
    if by == _BY_TIME:
        return False
    first, second = place[a], place[b]
    if band[first] != band[second]:
        return band[first] < band[second]
    if visit[first] != visit[second]:
        return visit[first] < visit[second]
    if detector[first] != detector[second]:
        return detector[first] < detector[second]
    return by == _BY_EXPOSURE and time[a] < time[b]


def compile_now() -> None:
    """Compile them, by calling them with an alert that has no points."""
    none, number, truth = np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_)
    starts = np.zeros(2, np.int64)
    gather(np.zeros((1, 1), np.int64), number, np.zeros(1), truth, number, none, number, starts)
    each_once(starts, none, number, none, none, none, truth, truth, truth, number, number, number, truth)
