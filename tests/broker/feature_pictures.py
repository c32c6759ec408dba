"""Pictures of what features say: the light curve of a planted object of each family, with its features drawn in."""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.io import fits
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from alerts import light_curve
from alerts.surveys import SURVEYS
from broker.pictures import plot_light_curve

INCHES = (9.0, 3.6)
SAID = "#1f3fb4"
"""What features say is drawn in this color."""
BAND = "r"
ZTF = SURVEYS["ztf"]


@dataclass(frozen=True)
class Planted:
    """A planted object: its packet, the features and the truth of that alert, and the packets of its other places."""

    packet: dict[str, Any]
    features: dict[str, Any]
    truth: dict[str, Any]
    places: list[dict[str, Any]]


def _figure(columns: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=INCHES, layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(1, columns)))


def _magnitudes(ax: Axes, planted: Planted, title: str, features: bool = False) -> None:
    plot_light_curve(planted.packet, ax=ax, features=features)
    ax.set_title(title, fontsize="medium")
    if (legend := ax.get_legend()) is not None:
        legend.remove()


def _say(ax: Axes, words: str, where: tuple[float, float], **text: Any) -> None:
    """A sentence in the axes; ``where`` in their own units of 0 to 1."""
    boxed = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 2}
    ax.text(*where, words, transform=ax.transAxes, color=SAID, fontsize="small", bbox=boxed, zorder=8, **text)


def _now(planted: Planted) -> float:
    """Time of the alert as an MJD."""
    return float(planted.packet["candidate"]["jd"]) - 2400000.5


def _arrow(ax: Axes, here: tuple[float, float], there: tuple[float, float]) -> None:
    ax.annotate("", here, there, arrowprops={"arrowstyle": "<->", "color": SAID, "shrinkA": 0, "shrinkB": 0})


def fader(planted: Planted) -> Figure:
    """The slope in magnitudes: positive."""
    figure, (ax,) = _figure()
    r = planted.features[BAND]
    _magnitudes(ax, planted, "A fader: magnitudes grow", features=True)
    _say(
        ax,
        f"features.r.slope_mag_per_day = {r['slope_mag_per_day']:+.3f} ± {r['slope_err_mag_per_day']:.3f}\n"
        f"planted: {planted.truth['slope_mag_per_day']:+.3f}",
        (0.98, 0.06),
        ha="right",
    )
    return figure


def riser(planted: Planted) -> Figure:
    """The slope in magnitudes, negative, and the rise since the last limit, a lower bound."""
    figure, (ax,) = _figure()
    r = planted.features[BAND]
    _magnitudes(ax, planted, "A riser: magnitudes shrink", features=True)
    _say(
        ax,
        f"red line: features.r.slope_mag_per_day = {r['slope_mag_per_day']:+.3f} ± {r['slope_err_mag_per_day']:.3f}, "
        f"planted: {planted.truth['slope_mag_per_day']:+.3f}\n"
        f"red dots: features.r.rise_mag_per_day_at_least = {r['rise_mag_per_day_at_least']:.3f}, "
        f"over rise_gap_days = {r['rise_gap_days']:.1f}",
        (0.02, 0.95),
        va="top",
    )
    return figure


def flare(planted: Planted) -> Figure:
    """Twice the amplitude, and the days since the brightest point."""
    figure, (ax,) = _figure()
    r = planted.features[BAND]
    _magnitudes(ax, planted, "A flare: quiet before it, and its brightest point is some days old")
    for name in ("brightest_mag", "faintest_mag"):
        ax.axhline(r[name], color=SAID, lw=0.8, ls=":")
    peak = _now(planted) - r["days_since_brightest_mag"]
    aside = peak - 0.03 * (_now(planted) - ax.get_xlim()[0])
    _arrow(ax, (aside, r["brightest_mag"]), (aside, r["faintest_mag"]))
    height = r["brightest_mag"] + 0.15 * (r["faintest_mag"] - r["brightest_mag"])
    _arrow(ax, (peak, height), (_now(planted), height))
    _say(
        ax,
        f"upright: features.r.amplitude_mag = {r['amplitude_mag']:.2f},\n"
        f"half of this range (planted: {planted.truth['amplitude_mag']:.2f})\n"
        f"level: features.r.days_since_brightest_mag = {r['days_since_brightest_mag']:.1f}",
        (0.02, 0.86),
        va="top",
    )
    return figure


def variable(planted: Planted) -> Figure:
    """Two signs: in magnitudes of the absolute difference they fold onto each other, in flux they do not."""
    figure, (left, right) = _figure(2)
    r = planted.features[BAND]
    points = [
        row
        for row in light_curve.light_curve([planted.packet], ZTF).to_pylist()
        if row["kind"] == "detection" and row["band"] == BAND
    ]
    mjd, flux, error = (np.array([row[name] for row in points]) for name in ("mjd", "flux_njy", "flux_err_njy"))
    _magnitudes(left, planted, "A variable in magnitudes (open: below the template)")
    left.title.set_fontsize("small")
    right.errorbar(mjd, flux / 1000, error / 1000, fmt="o", color="#d62728", ms=5, zorder=4)
    for name in ("brightest_njy", "faintest_njy"):
        right.axhline(r[name] / 1000, color=SAID, lw=0.8, ls=":")
    right.axhline(0, color="0.6", lw=0.8)
    right.set_title("The same in r as signed flux", fontsize="small")
    right.set_xlabel("MJD (UTC)")
    right.set_ylabel("difference flux (µJy)")
    right.locator_params(axis="x", nbins=5)
    right.grid(alpha=0.25)
    right.set_ylim(1.4 * r["faintest_njy"] / 1000, 2.3 * r["brightest_njy"] / 1000)
    _say(
        right,
        f"features.r.n_negative = {r['n_negative']} of n_detections = {r['n_detections']}\n"
        f"chi2_per_dof_njy = {r['chi2_per_dof_njy']:,.0f}\n"
        f"amplitude_njy = {r['amplitude_njy']:,.0f} (planted: {planted.truth['amplitude_njy']:,.0f})",
        (0.02, 0.98),
        va="top",
    )
    return figure


def hostless(planted: Planted) -> Figure:
    """The age, a lower bound, and what the template shows at the place: nothing."""
    figure = Figure(figsize=INCHES, layout="constrained")
    ax, template = figure.subplots(1, 2, width_ratios=(1.7, 1))
    _magnitudes(ax, planted, "A hostless transient: it was not there before")
    age = planted.features["age_history_days"]
    bottom, top = ax.get_ylim()
    height = top + 0.45 * (bottom - top)
    _arrow(ax, (_now(planted) - age, height), (_now(planted), height))
    began = (planted.truth["observed_at"] - planted.truth["began_at"]).total_seconds() / 86400
    _say(ax, f"features.age_history_days = {age:.1f}\nplanted: {began:.1f} d ago", (0.02, 0.95), va="top")
    pixels = fits.getdata(io.BytesIO(gzip.decompress(planted.packet["cutoutTemplate"]["stampData"])))
    low, middle_value, high = np.nanpercentile(pixels, [16, 50, 84])
    sigma = (high - low) / 2
    template.imshow(pixels, origin="lower", cmap="gray_r", vmin=middle_value - 3 * sigma, vmax=middle_value + 12 * sigma)
    middle, distance = pixels.shape[0] // 2, planted.packet["candidate"]["distnr"]
    template.plot(middle, middle, "+", color=SAID, ms=10)
    template.add_patch(Circle((middle, middle), distance, fill=False, color=SAID, lw=1.2))
    template.set_title("The template: nothing at the place", fontsize="small")
    template.set_xlabel(f"pixels; circle: candidate.distnr = {distance:.1f}")
    return figure


def mover(planted: Planted) -> Figure:
    """Where it was, and what one of the places had seen before: nothing."""
    figure, (sky, ax) = _figure(2)
    places = [place["candidate"] for place in planted.places]
    ra, dec = (np.array([place[name] for place in places]) for name in ("ra", "dec"))
    east, north = (ra - ra[0]) * 3600 * np.cos(np.radians(dec[0])), (dec - dec[0]) * 3600
    sky.plot(east, north, "o", color="#d62728")
    sky.annotate("", (east[-1], north[-1]), (east[0], north[0]), arrowprops={"arrowstyle": "->", "color": "0.5"})
    for x, y, place in zip(east, north, places, strict=True):
        minutes = (place["jd"] - places[0]["jd"]) * 1440
        sky.annotate(f"{minutes:.0f} min", (x, y), xytext=(8, 6), textcoords="offset points", fontsize="small")
    sky.set_title("A mover: three alerts, each of another object", fontsize="small")
    sky.set_xlabel("east of the first (arcsec)")
    sky.set_ylabel("north of the first (arcsec)")
    sky.set_aspect("equal", adjustable="datalim")
    sky.margins(0.35)
    sky.invert_xaxis()
    sky.grid(alpha=0.25)
    _magnitudes(ax, planted, "What the last place had seen before: limits")
    ax.title.set_fontsize("small")
    bands = [value for value in planted.features.values() if isinstance(value, dict)]
    limits, found = (sum(band[name] for band in bands) for name in ("n_limits", "n_detections"))
    _say(
        ax,
        f"features.age_history_days = {planted.features['age_history_days']:.0f}\n"
        f"n_detections = {found}, n_limits = {limits}, over the bands",
        (0.02, 0.95),
        va="top",
    )
    return figure


PICTURES = {"fader": fader, "riser": riser, "flare": flare, "variable": variable, "hostless": hostless, "mover": mover}
"""By family."""
