"""What an alert's features say, drawn into its light curve: lines through the points that they are made of, and the numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from alerts.features import words
from alerts.features.of_packet import features_of_packet, row_of_packet
from alerts.features.points import MEASURED, Points, points_of, read
from alerts.light_curve import MJD_OF_JD_ZERO, facts_of
from alerts.surveys import Survey
from broker.pictures.curve_points import BAND_COLORS, OTHER_COLOR

_BEYOND = 0.06
"""A line goes so much of its length beyond its points, so that it is seen where there are only two."""
_WIDTH, _OPACITY = 1.4, 0.8
_PER_DAY = {True: "mag_per_day", False: "njy_per_day"}
"""By whether the picture is in magnitudes."""
_Ends = tuple[float, float]


@dataclass(frozen=True)
class _Line:
    band: str
    mjd: _Ends
    value: _Ends
    words: str
    is_bound: bool = False
    """Whether it is what a limit allows, and not what points are."""


def draw_features(ax: Axes, packet: Mapping[str, Any], survey: Survey, in_magnitudes: bool) -> list[Line2D]:
    """Slopes and rises of an alert; gives the legend's entries, which tell the numbers. Raises ``NoPhotometry``."""
    features = features_of_packet(packet, survey)
    entries = []
    for line in _lines(packet, features, survey, in_magnitudes):
        color, dashes = BAND_COLORS.get(line.band, OTHER_COLOR), ":" if line.is_bound else "-"
        name = f"_{line.band} {'rise' if line.is_bound else 'slope'}"
        ax.plot(line.mjd, line.value, ls=dashes, color=color, lw=_WIDTH, alpha=_OPACITY, zorder=2.5, label=name)
        entries.append(Line2D([], [], ls=dashes, color=color, lw=_WIDTH, alpha=_OPACITY, label=line.words))
    whole = words.summary(features, survey)[0].split(", ")
    return entries + [Line2D([], [], ls="", label=part) for part in [*_undrawn(features, survey, in_magnitudes), *whole]]


def _undrawn(features: Mapping[str, Any], survey: Survey, in_magnitudes: bool) -> Iterator[str]:
    """Of sources that are fainter than the template there is no slope in magnitudes."""
    for band in facts_of(survey).band_names if in_magnitudes else ():
        if features[band]["slope_mag_per_day"] is None and features[band].get("slope_njy_per_day") is not None:
            yield f"{band}: slope {words.rate(features[band], 'slope', 'njy_per_day')}"


def _lines(packet: Mapping[str, Any], features: Mapping[str, Any], survey: Survey, in_magnitudes: bool) -> Iterator[_Line]:
    told = read(row_of_packet(packet, survey), survey)
    if not (told and told[0].is_own):
        return
    now_mjd = float(told[0].raw["days"][0]) + (MJD_OF_JD_ZERO if survey.time_format == "jd" else 0)
    points = points_of(told, "detection", 1)
    for place, name in enumerate(facts_of(survey).band_names):
        slope = _slope(points, place, features[name], in_magnitudes)
        if slope is not None:
            days, values = slope
            told_rate = words.rate(features[name], "slope", _PER_DAY[in_magnitudes])
            yield _Line(name, (now_mjd + days[0], now_mjd + days[1]), values, f"{name}: slope {told_rate}")
        rise = features[name].get("rise_mag_per_day_at_least")
        if rise is not None and in_magnitudes:
            first, gap = now_mjd - features[name]["days_since_first"], features[name]["rise_gap_days"]
            found = features[name]["first_mag"]
            at_least = f"{name}: rose by {words.number(rise)} mag/d or more"
            yield _Line(name, (first - gap, first), (found + rise * gap, found), at_least, is_bound=True)


def _slope(points: Points, place: int, band: Mapping[str, Any], in_magnitudes: bool) -> tuple[_Ends, _Ends] | None:
    """Days after the alert and values of the ends of a band's line, through the weighted mean of its points."""
    slope = band.get(f"slope_{_PER_DAY[in_magnitudes]}")
    if slope is None:
        return None
    value, error = (points.mag, points.mag_err) if in_magnitudes else (points.flux_njy, points.flux_err_njy)
    used = (points.kind == MEASURED) & (points.band == place) & ~np.isnan(value) & (error > 0)
    days, weight = points.days[used], error[used] ** -2.0
    middle, at_middle = (float(np.average(numbers, weights=weight)) for numbers in (days, value[used]))
    margin = _BEYOND * float(np.ptp(days))
    begin, end = float(days.min()) - margin, float(days.max()) + margin
    return (begin, end), (at_middle + slope * (begin - middle), at_middle + slope * (end - middle))
