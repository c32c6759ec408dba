"""The three stamps of an alert side by side."""

from __future__ import annotations

import math
import textwrap
from typing import Any, cast

import numpy as np
from astropy.visualization import ZScaleInterval
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure, SubFigure

from alerts.cutouts import JPEG_SIDE, NOT_COVERED, BadStamp, Image, Stamp, read_stamp, source_pixel
from alerts.surveys import Survey
from alerts.surveys.orientation import sky_of_pixels
from broker.pictures.figure import Picture
from broker.pictures.packets import Packet, first, object_name, observed_at, packet_of, survey_of
from broker.pictures.photometry import band_of, brightness
from broker.pictures.stamp_frame import frame
from warehouses.warehouse import Warehouse

NAN_COLOR = "#e8a33d"
_INCHES = (10.0, 4.0)
_MARGINS = {"left": 0.075, "right": 0.985, "bottom": 0.15, "top": 0.81, "wspace": 0.3}
"""Fixed: where a panel has no labels matplotlib's own layouts forget those of the others, as their frames are square."""
_HIGHEST_PERCENT = 99.7
_SKY_WIDTH = 0.4
_GAUSSIAN_SIGMA_OF_MAD = 1.4826
_SHOWN_CHARACTERS = 90
_REVERSED = "refmsci"


def plot_stamps(
    alert: Any,
    warehouse: Warehouse | str | Figure | SubFigure | None = None,
    *,
    survey: str | None = None,
    fig: Figure | SubFigure | None = None,
) -> Figure:
    """Science, template and difference stamp of an alert, on a new figure or on ``fig``.

    ``alert``: a packet as fastavro gives it; or an alert of a warehouse: its id, a row with ``alert_id``, an object of
    ``broker.orm`` (``warehouse``: an open one, or its place; by default the object's own, else ./warehouse).

    North is up and east is left, and the axes are arcsec from the source, where the stamp's header or the facts of its survey
    tell how it lies on the sky; else it stands as sent, in pixels from the source, and says so. The arrays that are drawn
    are those sent. A missing or damaged stamp is an empty panel that says so.
    ``survey`` names whose packet it is, which its fields tell else. Raises ``NoPicture`` where they do not, ``QueryError`` for an
    alert that the warehouse does not hold.
    """
    if isinstance(warehouse, (Figure, SubFigure)):
        # plot_stamps(packet, figure): so it was before alerts could come from a warehouse.
        warehouse, fig = None, warehouse
    packet, named = packet_of(alert, warehouse, survey)
    facts = survey_of(packet, named)
    figure: Any = Picture(figsize=_INCHES) if fig is None else fig
    figure.suptitle(_title(packet, facts), fontsize="medium")
    place = [_float(first(packet, (f"candidate.{name}",))) for name in ("xpos", "ypos")]
    panels = figure.subplots(1, len(facts.stamps), gridspec_kw=_MARGINS)
    for ax, (role, paths) in zip(panels, facts.stamps.items(), strict=True):
        ax.set_title(_panel_title(packet, role))
        data = first(packet, paths)
        if data is None:
            _say(ax, f"no {role} stamp")
            continue
        try:
            _draw(ax, role, read_stamp(data), facts, place)
        except BadStamp as error:
            _say(ax, f"the {role} stamp is damaged:\n{_wrapped(str(error))}")
    return cast(Figure, figure)


def _title(packet: Packet, survey: Survey) -> str:
    """Two lines: object and alert id; time, band and brightness."""
    name = f"{survey.name.upper()} {object_name(packet, survey)}   alert {first(packet, survey.alert_id)}"
    band = band_of(packet, survey)
    return f"{name}\n{observed_at(packet, survey)}   {f'{band} band   ' if band else ''}{brightness(packet, survey)}"


def _panel_title(packet: Packet, role: str) -> str:
    """The role of a stamp. Where a source has faded ZTF sends the difference the other way round, and its name says so."""
    name = first(packet, ("cutoutDifference.fileName",)) if role == "difference" else None
    return "difference (template \N{MINUS SIGN} science)" if name and _REVERSED in name else role


def _draw(ax: Axes, role: str, stamp: Stamp, survey: Survey, place: list[float]) -> None:
    """One stamp, its source at (0, 0)."""
    pixels = np.where(stamp.pixels == NOT_COVERED, np.float32(np.nan), stamp.pixels)
    rows, columns = pixels.shape
    whole = JPEG_SIDE if stamp.is_jpeg else survey.stamp_side or max(rows, columns)
    source = stamp.reference or _source(pixels.shape, whole, place)
    matrix = sky_of_pixels(stamp, survey, source)
    # Of a cut stamp the frame is that of a whole one; a reference pixel need not be in the middle.
    half = max(whole, rows, columns) / 2
    sides = (-half, half) if stamp.reference is None else (-0.5 - source[0], columns - 0.5 - source[0])
    ends = (-half, half) if stamp.reference is None else (-0.5 - source[1], rows - 0.5 - source[1])
    to_axes = frame(ax, matrix, source, [(x, y) for x in sides for y in ends])
    if role == "difference":
        # Gray levels have no zero: in a JPEG most of the sky has not changed.
        norm, colors = _difference_norm(pixels, float(np.median(pixels)) if stamp.is_jpeg else 0.0), "RdBu_r"
    else:
        norm, colors = _sky_norm(pixels), "gray"
    ax.set_facecolor("0.93")
    limits = ax.get_xlim(), ax.get_ylim()
    # The picture is turned as it is drawn: its pixels stay those of the stamp.
    ax.imshow(
        np.ma.masked_invalid(pixels),
        origin="lower",
        interpolation="nearest",
        cmap=colormaps[colors].with_extremes(bad=NAN_COLOR),
        norm=norm,
        transform=to_axes + ax.transData,
    )
    ax.set(xlim=limits[0], ylim=limits[1])
    missing = int(np.isnan(pixels).sum())
    if missing:
        text = f"{missing:,} pixel{'s' * (missing > 1)} missing"
        ax.text(0.02, 0.02, text, transform=ax.transAxes, fontsize="small", bbox={"facecolor": NAN_COLOR, "lw": 0, "pad": 2})


def _source(shape: tuple[int, ...], whole: int, place: list[float]) -> tuple[float, float]:
    try:
        return source_pixel(shape, None, whole, *place)
    except BadStamp:
        # Nobody knows where it is; a picture may show the stamp all the same.
        return shape[1] // 2, shape[0] // 2


def _sky_norm(pixels: Image) -> Normalize:
    """Sky and noise by ZScale, and what is brighter compressed, so that cores keep a shape."""
    finite = pixels[np.isfinite(pixels)]
    low, high = map(float, ZScaleInterval().get_limits(finite)) if finite.size else (0.0, 1.0)
    width = _SKY_WIDTH * (high - low) if high > low else 1.0
    highest = float(np.percentile(finite, _HIGHEST_PERCENT)) if finite.size else high
    return _asinh(low, width, low, max(highest, low + width))


def _difference_norm(pixels: Image, middle: float) -> Normalize:
    """No change in the middle of the colors; linear within the noise, compressed beyond, the same to both sides."""
    away = np.abs(pixels[np.isfinite(pixels)] - middle)
    noise = _GAUSSIAN_SIGMA_OF_MAD * float(np.median(away)) if away.size else 0.0
    highest = max(float(np.percentile(away, _HIGHEST_PERCENT)) if away.size else 0.0, 4 * noise) or 1.0
    return _asinh(middle, 2 * noise or highest, middle - highest, middle + highest)


def _asinh(center: float, width: float, low: float, high: float) -> Normalize:
    def forward(value: Any) -> Any:
        return np.arcsinh((value - center) / width)

    def inverse(value: Any) -> Any:
        return center + width * np.sinh(value)

    # Unlike astropy's ImageNormalize it leaves NaN what it is.
    return FuncNorm((forward, inverse), vmin=low, vmax=high, clip=True)


def _say(ax: Axes, text: str) -> None:
    ax.set_facecolor("0.93")
    ax.set_aspect("equal")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", fontsize="small", color="0.35")


def _wrapped(text: str, width: int = 34) -> str:
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
    return "\n".join(textwrap.wrap(shown, width))


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)
