"""The brightness of an object over time: from one packet and its history, or from all its alerts in a warehouse."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from alerts.surveys import Survey
from broker import warehouse as warehouses
from broker.pictures.figure import canvas
from broker.pictures.history import packets_of_object
from broker.pictures.packets import Packet, object_name, survey_of
from broker.pictures.photometry import Measurement, measurements, own_measurement, photometry_of
from broker.warehouse import Warehouse

BAND_COLORS = {
    "u": "#7b3fb5",
    "g": "#1b9e4b",
    "r": "#d62728",
    "i": "#c28f00",
    "z": "#7f4a2a",
    "y": "#444444",
    "Y": "#444444",
    "J": "#1f6fb4",
    "H": "#d95f02",
    "K": "#a3195b",
}
OTHER_COLOR = "#888888"
_INCHES = (9.0, 5.0)
_FAINT = 0.5
"""Opacity of the limits of forced photometry: most exposures have one, and they are seldom news."""
_MANY = 150
"""More points are drawn smaller."""
_SHORTEST_DAYS = 0.01


def plot_light_curve(
    what: Packet | str | int,
    warehouse: Warehouse | str | None = None,
    *,
    survey: str | None = None,
    ax: Axes | None = None,
    fig: Figure | SubFigure | None = None,
) -> Figure:
    """The light curve of a packet (as fastavro gives it), or of an object (its id) over all its alerts in a warehouse.

    Magnitudes (up is brighter) or fluxes over time in MJD, in the survey's own scale, UTC or TAI. Circles with errors are
    detections, open where the source was fainter than in the template and a magnitude cannot say so; triangles are upper
    limits; squares are forced photometry; the alert itself has a ring. Each measurement is drawn once.
    ``survey`` names whose packet or object it is, where that is not plain. Raises ``NoPicture`` for a packet of an unknown
    survey, ``QueryError`` for an object that the warehouse does not hold.
    """
    ring: Measurement | None = None
    if isinstance(what, (str, int)):
        one, packets, name = _from_warehouse(str(what), warehouse, survey)
    else:
        one = survey_of(what, survey)
        packets, name, ring = [what], object_name(what, one), own_measurement(what, one)
    points = measurements(packets, one)
    # Beside the axes there is room only in a figure of our own.
    beside = fig is None and ax is None
    figure, ax = canvas(fig, ax, _INCHES)
    for key, group in itertools.groupby(sorted(points, key=_look), key=_look):
        _draw(ax, key, list(group), one, 0.7 if len(points) > _MANY else 1.0)
    if ring is not None:
        ax.plot(ring.mjd, ring.value, "o", ms=13, mfc="none", mec="0.3", mew=1, label="_this alert", zorder=4)
    _label(ax, one, points, name)
    if points:
        _scale(ax, points, photometry_of(one).quantity == "magnitude")
        place = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if beside else {"loc": "best", "fontsize": "small"}
        ax.legend(handles=_legend(points, photometry_of(one).quantity == "magnitude", ring is not None), **place)
    else:
        ax.text(0.5, 0.5, "no photometry", transform=ax.transAxes, ha="center", va="center", color="0.35")
    return figure


def _from_warehouse(object_id: str, warehouse: Warehouse | str | None, survey: str | None) -> tuple[Survey, list[Packet], str]:
    if warehouse is None:
        raise TypeError(f"object {object_id!r} needs a warehouse to take its alerts from: plot_light_curve(object_id, warehouse)")
    if isinstance(warehouse, Warehouse):
        return packets_of_object(warehouse, object_id, survey)
    with warehouses.open(warehouse) as opened:
        return packets_of_object(opened, object_id, survey)


_Look = tuple[str, bool, bool, bool]


def _look(point: Measurement) -> _Look:
    return point.band, point.is_forced, point.is_limit, point.is_negative


def _draw(ax: Axes, look: _Look, points: list[Measurement], survey: Survey, scale: float) -> None:
    """All points of one look: their data can be read back from the artist labelled ``band kind``."""
    band, is_forced, is_limit, is_negative = look
    color = BAND_COLORS.get(band, OTHER_COLOR)
    # A negative flux shows itself.
    is_open = is_limit or (is_negative and photometry_of(survey).quantity == "magnitude")
    marker = "v" if is_limit else "s" if is_forced else "o"
    size = (4 if is_forced else 5.5) if is_limit else 4.5 if is_forced else 7
    kind = f"{'forced ' if is_forced else ''}{'limit' if is_limit else 'negative' if is_open else 'detection'}"
    time, value, error = np.array([(one.mjd, one.value, one.error) for one in points]).T
    bars = None if is_limit or np.isnan(error).all() else error
    ax.errorbar(
        time,
        value,
        bars,
        fmt=marker,
        ms=size * scale,
        color=color,
        mfc=("white" if is_forced else "none") if is_open else color,
        # Forced photometry is often of the same exposure as a detection: it shows as a small square in the circle.
        mec="white" if is_forced and not is_open else color,
        mew=0.4 if is_forced and not is_open else 1.0,
        elinewidth=1,
        alpha=_FAINT if is_forced and is_limit else 1,
        zorder=2 if is_limit else 3.5 if is_forced else 3,
        label=f"_{band} {kind}",
    )


def _label(ax: Axes, survey: Survey, points: list[Measurement], name: str) -> None:
    counts = Counter(_kind(point) for point in points)
    said = ", ".join(f"{n:,} {kind}{'s' * (n > 1)}" for kind in ("detection", "limit", "forced point") if (n := counts[kind]))
    ax.set_title(f"{survey.name.upper()} {name}: {said or 'no photometry'}", fontsize="medium")
    ax.set_xlabel(f"MJD ({survey.time_scale.upper()})")
    ax.set_ylabel(photometry_of(survey).label)


def _scale(ax: Axes, points: list[Measurement], in_magnitudes: bool) -> None:
    """Brighter is up; a single night does not shrink to a stroke."""
    ax.ticklabel_format(axis="x", useOffset=False, style="plain")
    ax.locator_params(axis="x", nbins=6)
    ax.grid(alpha=0.25)
    first, last = points[0].mjd, points[-1].mjd
    if last - first < _SHORTEST_DAYS:
        middle = (first + last) / 2
        ax.set_xlim(middle - _SHORTEST_DAYS, middle + _SHORTEST_DAYS)
    if in_magnitudes:
        ax.yaxis.set_inverted(True)
    else:
        ax.axhline(0, color="0.6", lw=0.8, zorder=1)


def _kind(point: Measurement) -> str:
    return "forced point" if point.is_forced else "limit" if point.is_limit else "detection"


def _legend(points: list[Measurement], in_magnitudes: bool, ring: bool) -> list[Line2D]:
    """One entry per band, then one per kind of point that is there."""
    bands = sorted({point.band for point in points}, key=lambda band: (*BAND_COLORS, band).index(band))
    entries = [_entry(f"{band} band", "o", BAND_COLORS.get(band, OTHER_COLOR)) for band in bands]
    plain = [point for point in points if not point.is_forced]
    forced = [point for point in points if point.is_forced]
    if in_magnitudes and any(point.is_negative for point in points):
        entries.append(_entry("fainter than template", "o", "0.3", mfc="none"))
    if any(point.is_limit for point in plain):
        entries.append(_entry("upper limit", "v", "0.3", mfc="none"))
    if any(not point.is_limit for point in forced):
        entries.append(_entry("forced photometry", "s", "0.3", ms=5))
    if any(point.is_limit for point in forced):
        entries.append(_entry("forced, upper limit", "v", "0.3", mfc="none", ms=4, alpha=_FAINT))
    if ring:
        entries.append(_entry("this alert", "o", "0.3", mfc="none", ms=13))
    return entries


def _entry(label: str, marker: str, color: str, **style: Any) -> Line2D:
    return Line2D([], [], ls="", marker=marker, color=color, label=label, **({"ms": 6} | style))
