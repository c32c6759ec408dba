"""The three stamps of an alert side by side."""

from __future__ import annotations

import math
import textwrap
from typing import Any, cast

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.visualization import ZScaleInterval
from astropy.wcs import WCS
from matplotlib import colormaps, patheffects
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm, Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import Affine2D, Transform

from alerts.cutouts import JPEG_SIDE, NOT_COVERED, BadStamp, Image, Stamp, read_stamp, source_pixel
from alerts.surveys import Survey
from broker.pictures.figure import Picture
from broker.pictures.packets import Packet, first, object_name, observed_at, survey_of
from broker.pictures.photometry import band_of, own_measurement

NAN_COLOR = "#e8a33d"
_MARK_COLOR = "#007a94"
_HALO: list[patheffects.AbstractPathEffect] = [patheffects.withStroke(linewidth=3, foreground="white", alpha=0.7)]
_INCHES = (10.0, 4.0)
_HIGHEST_PERCENT = 99.7
_SKY_WIDTH = 0.4
_GAUSSIAN_SIGMA_OF_MAD = 1.4826
_SHOWN_CHARACTERS = 90
_REVERSED = "refmsci"


def plot_stamps(packet: Packet, fig: Figure | SubFigure | None = None, *, survey: str | None = None) -> Figure:
    """Science, template and difference stamp of a packet as fastavro gives it, on a new figure or on ``fig``.

    Where a stamp has celestial coordinates north is up and east is left, and the axes are arcsec from the source; else it
    is shown as the detector saw it, in pixels from the source. A missing or damaged stamp is an empty panel that says so.
    ``survey`` names whose packet it is, which its fields tell else. Raises ``NoPicture`` where they do not.
    """
    one = survey_of(packet, survey)
    figure: Any = Picture(figsize=_INCHES, layout="constrained") if fig is None else fig
    figure.suptitle(_title(packet, one), fontsize="medium")
    place = [_float(first(packet, (f"candidate.{name}",))) for name in ("xpos", "ypos")]
    side = one.stamp_side
    panels = figure.subplots(1, len(one.stamps))
    for ax, (role, paths) in zip(panels, one.stamps.items(), strict=True):
        ax.set_title(_panel_title(packet, role))
        data = first(packet, paths)
        if data is None:
            _say(ax, f"no {role} stamp")
            continue
        try:
            _draw(ax, role, read_stamp(data), side, place)
        except BadStamp as error:
            _say(ax, f"the {role} stamp is damaged:\n{_wrapped(str(error))}")
    return cast(Figure, figure)


def _title(packet: Packet, survey: Survey) -> str:
    """Two lines: object and alert id; time, band and brightness."""
    name = f"{survey.name.upper()} {object_name(packet, survey)}   alert {first(packet, survey.alert_id)}"
    facts, own = survey.photometry, own_measurement(packet, survey)
    brightness = "brightness unknown"
    if facts is not None and own is not None:
        figures = 2 if facts.quantity == "magnitude" else 0 if abs(own.value) >= 100 else 1
        error = "" if math.isnan(own.error) else f" ± {own.error:.{figures}f}"
        brightness = f"{own.value:.{figures}f}{error} {facts.unit}".replace("-", "\N{MINUS SIGN}")
        if own.is_negative and facts.quantity == "magnitude":
            brightness += " (fainter than the template)"
    band = band_of(packet, survey)
    return f"{name}\n{observed_at(packet, survey)}   {f'{band} band   ' if band else ''}{brightness}"


def _panel_title(packet: Packet, role: str) -> str:
    """The role of a stamp. Where a source has faded ZTF sends the difference the other way round, and its name says so."""
    name = first(packet, ("cutoutDifference.fileName",)) if role == "difference" else None
    return "difference (template \N{MINUS SIGN} science)" if name and _REVERSED in name else role


def _draw(ax: Axes, role: str, stamp: Stamp, side: int | None, place: list[float]) -> None:
    """One stamp, its source at (0, 0)."""
    pixels = np.where(stamp.pixels == NOT_COVERED, np.float32(np.nan), stamp.pixels)
    whole = JPEG_SIDE if stamp.is_jpeg else side or max(pixels.shape)
    source = stamp.reference or _source(pixels.shape, whole, place)
    wcs = stamp.world_coordinates
    to_axes = _to_arcsec(wcs, source) if wcs is not None else Affine2D().translate(-source[0], -source[1])
    if role == "difference":
        # Gray levels have no zero: in a JPEG most of the sky has not changed.
        norm, colors = _difference_norm(pixels, float(np.median(pixels)) if stamp.is_jpeg else 0.0), "RdBu_r"
    else:
        norm, colors = _sky_norm(pixels), "gray"
    ax.set_facecolor("0.93")
    # The picture is turned as it is drawn: its pixels stay those of the stamp.
    ax.imshow(
        np.ma.masked_invalid(pixels),
        origin="lower",
        interpolation="nearest",
        cmap=colormaps[colors].with_extremes(bad=NAN_COLOR),
        norm=norm,
        transform=to_axes + ax.transData,
    )
    ax.set_aspect("equal")
    if wcs is not None:
        _frame_in_arcsec(ax, pixels.shape, to_axes)
    else:
        _frame_in_pixels(ax, stamp, whole)
    ax.locator_params(nbins=6)
    _mark_source(ax)
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


def _to_arcsec(wcs: WCS, source: tuple[float, float]) -> Transform:
    """Pixels to arcsec east and north of the source, as an affine map: over a stamp the sky is flat."""
    x, y = source
    center, along_x, along_y = (wcs.celestial.pixel_to_world(*at) for at in ((x, y), (x + 1, y), (x, y + 1)))
    (a, b), (c, d) = (_offset_arcsec(center, one) for one in (along_x, along_y))
    return Affine2D().translate(-x, -y) + Affine2D.from_values(a, b, c, d, 0, 0)


def _offset_arcsec(center: SkyCoord, other: SkyCoord) -> tuple[float, float]:
    east, north = center.spherical_offsets_to(other)
    return float(east.arcsec), float(north.arcsec)


def _frame_in_arcsec(ax: Axes, shape: tuple[int, ...], to_axes: Transform) -> None:
    rows, columns = shape
    corners = to_axes.transform([(x, y) for x in (-0.5, columns - 0.5) for y in (-0.5, rows - 0.5)])
    half = float(np.abs(corners).max())
    ax.set_xlim(half, -half)
    ax.set_ylim(-half, half)
    ax.set_xlabel("arcsec east")
    ax.set_ylabel("arcsec north")
    _compass(ax)


def _frame_in_pixels(ax: Axes, stamp: Stamp, whole: int) -> None:
    half = max(whole / 2, *(length / 2 for length in stamp.pixels.shape))
    ax.set_xlim(-half, half)
    ax.set_ylim(-half, half)
    kind = "JPEG, " if stamp.is_jpeg else ""
    ax.set_xlabel(f"pixels ({kind}detector orientation)")


def _compass(ax: Axes) -> None:
    """Two arrows in the lower right corner of the frame: north up, east left."""
    style = {"arrowstyle": "-|>", "color": _MARK_COLOR, "lw": 1.2, "shrinkA": 0, "shrinkB": 0, "path_effects": _HALO}
    for name, tip, at, (across, along) in (
        ("N", (0.94, 0.2), (0.94, 0.22), ("center", "bottom")),
        ("E", (0.8, 0.06), (0.77, 0.06), ("right", "center_baseline")),
    ):
        ax.annotate("", tip, (0.94, 0.06), xycoords="axes fraction", textcoords="axes fraction", arrowprops=style)
        text = ax.text(*at, name, transform=ax.transAxes, color=_MARK_COLOR, ha=across, va=along, fontsize="small", zorder=5)
        text.set_path_effects(_HALO)


def _mark_source(ax: Axes) -> None:
    """Two strokes that point at the source and leave it free."""
    low, high = sorted(ax.get_xlim())
    inner, outer = 0.08 * (high - low) / 2, 0.22 * (high - low) / 2
    right = -1 if ax.xaxis_inverted() else 1
    for x, y in (((right * inner, right * outer), (0, 0)), ((0, 0), (inner, outer))):
        ax.plot(x, y, color=_MARK_COLOR, lw=1.2, path_effects=_HALO)


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
