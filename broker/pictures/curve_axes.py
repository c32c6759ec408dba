"""Axes of a light curve: limits that a few wild points do not set, and AB magnitudes beside fluxes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from alerts.surveys.magnitudes import ab_mag, flux_njy
from broker.pictures.curve_points import Point

_SHORTEST_DAYS = 0.01
_FENCE = 3.0
"""A point so many times the spread of the others away from them sets no axis."""
_FEW = 5
_MARGIN = 0.08


def fit_axes(ax: Axes, points: list[Point], in_magnitudes: bool) -> int:
    """Brighter is up, a single night does not shrink to a stroke, and wild points do not squash the rest; gives their number."""
    ax.ticklabel_format(axis="x", useOffset=False, style="plain")
    ax.locator_params(axis="x", nbins=6)
    ax.grid(alpha=0.25)
    times = [point.mjd for point in points]
    if max(times) - min(times) < _SHORTEST_DAYS:
        middle = (min(times) + max(times)) / 2
        ax.set_xlim(middle - _SHORTEST_DAYS, middle + _SHORTEST_DAYS)
    if in_magnitudes:
        ax.yaxis.set_inverted(True)
    else:
        ax.axhline(0, color="0.6", lw=0.8, zorder=1)
    low, high = _range(points)
    shown = [point for point in points if low <= point.value <= high]
    errors = [point.error for point in shown if np.isfinite(point.error)]
    # The usual error bar is seen whole, a huge one is not.
    room = float(np.median(errors)) if errors else 0.0
    bottom, top = min(point.value for point in shown) - room, max(point.value for point in shown) + room
    margin = _MARGIN * (top - bottom) or _MARGIN
    ax.set_ylim((top + margin, bottom - margin) if in_magnitudes else (bottom - margin, top + margin))
    return len(points) - len(shown)


def _range(points: list[Point]) -> tuple[float, float]:
    """Between which values points are shown.

    Of detections that are not flagged only those far outside the middle nine tenths are left out: the peak of a transient is
    none of them. Forced photometry, limits and what is flagged, of which there is much more, is held against their range too.
    """
    good = np.array([point.value for point in points if point.kind == "detection" and not point.look.is_flagged])
    rest = np.array([point.value for point in points if point.kind != "detection" or point.look.is_flagged])
    low, high = _fences(good)
    inside = good[(good >= low) & (good <= high)]
    more = np.concatenate([inside, rest])
    lowest, highest = _fences(rest if rest.size else more)
    if inside.size:
        lowest, highest = min(lowest, inside.min()), max(highest, inside.max())
    return float(lowest), float(highest)


def _fences(values: np.ndarray) -> tuple[float, float]:
    if len(values) < _FEW:
        return (float(values.min()), float(values.max())) if len(values) else (np.inf, -np.inf)
    low, high = np.quantile(values, [0.05, 0.95])
    spread = _FENCE * (high - low)
    return float(low - spread), float(high + spread)


def mark_beyond(ax: Axes, count: int) -> None:
    """Say how many points are not within the axes."""
    if count:
        words = f"{count:,} point{'s' * (count > 1)} beyond the axes"
        ax.text(0.01, 0.98, words, transform=ax.transAxes, ha="left", va="top", fontsize="small", color="#b00020", zorder=6)


def ab_axis(ax: Axes) -> bool:
    """A second axis that reads positive fluxes (nJy) as AB magnitudes; gives whether there was anything to read."""
    low, high = sorted(ax.get_ylim())
    if high <= 0:
        return False
    brightest = ab_mag(high)
    for step in (0.1, 0.2, 0.5, 1.0):
        mags = np.arange(np.ceil(brightest / step) * step, brightest + 6, step)
        places = [flux_njy(mag) for mag in mags]
        kept = [0] if places else []
        for number in range(1, len(places)):
            # Toward zero magnitudes come closer and closer together.
            if places[kept[-1]] - places[number] >= 0.07 * (high - low) and places[number] > max(low, 0):
                kept.append(number)
        if len(kept) <= 8 and (step == 1.0 or len(kept) >= 3):
            break
    side = ax.secondary_yaxis("right")
    side.set_yticks([places[number] for number in kept], [f"{mags[number]:.1f}" for number in kept])
    side.set_ylabel("AB magnitude of a positive flux", fontsize="small")
    return True
