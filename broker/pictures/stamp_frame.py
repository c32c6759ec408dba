"""What stands about a stamp in a picture: axes in arcsec, a compass, a scale, and strokes that point at the source."""

from __future__ import annotations

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.transforms import Affine2D, Transform

from alerts.surveys.orientation import Matrix

MARK_COLOR = "#007a94"
_HALO: list[patheffects.AbstractPathEffect] = [patheffects.withStroke(linewidth=3, foreground="white", alpha=0.7)]
_SCALES_ARCSEC = (0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)
_LONGEST_SCALE = 0.3
"""Of the width of the frame."""

Corners = list[tuple[float, float]]


def frame(ax: Axes, matrix: Matrix | None, source: tuple[float, float], corners: Corners) -> Transform:
    """Frame the axes for a stamp and say how it lies; gives the transform from its pixels to the axes' data.

    ``source`` and ``corners`` are pixels (x, y), the corners as seen from the source. With a ``matrix`` (see
    ``alerts.surveys.orientation``) north is up and east is left; without one the stamp stands as sent.
    """
    to_source: Transform = Affine2D().translate(-source[0], -source[1])
    if matrix is None:
        half = float(np.abs(corners).max())
        ax.set_xlim(-half, half)
        ax.set_ylim(-half, half)
        ax.set_xlabel("pixels, as sent (orientation not known)", fontsize="small")
    else:
        (a, c), (b, d) = matrix
        half = float(np.abs(np.asarray(corners) @ matrix.T).max())
        ax.set_xlim(half, -half)
        ax.set_ylim(-half, half)
        ax.set_xlabel("arcsec east")
        ax.set_ylabel("arcsec north")
        to_source += Affine2D.from_values(a, b, c, d, 0, 0)
        _compass(ax)
        _scale(ax, 2 * half)
    ax.set_aspect("equal")
    ax.locator_params(nbins=6)
    _mark_source(ax)
    return to_source


def _compass(ax: Axes) -> None:
    """Two arrows in the lower right corner of the frame: north up, east left."""
    style = {"arrowstyle": "-|>", "color": MARK_COLOR, "lw": 1.2, "shrinkA": 0, "shrinkB": 0, "path_effects": _HALO}
    for name, tip, at, (across, along) in (
        ("N", (0.94, 0.2), (0.94, 0.22), ("center", "bottom")),
        ("E", (0.8, 0.06), (0.77, 0.06), ("right", "center_baseline")),
    ):
        ax.annotate("", tip, (0.94, 0.06), xycoords="axes fraction", textcoords="axes fraction", arrowprops=style)
        _text(ax, at, name, across, along)


def _scale(ax: Axes, width_arcsec: float) -> None:
    """A bar of a round length in the upper left corner."""
    length = max((scale for scale in _SCALES_ARCSEC if scale <= _LONGEST_SCALE * width_arcsec), default=_SCALES_ARCSEC[0])
    share = length / width_arcsec
    bar = ax.plot((0.05, 0.05 + share), (0.94, 0.94), transform=ax.transAxes, color=MARK_COLOR, lw=2, label="_scale")
    bar[0].set_path_effects(_HALO)
    _text(ax, (0.05 + share / 2, 0.91), f"{length:g}″", "center", "top")


def _text(ax: Axes, at: tuple[float, float], words: str, across: str, along: str) -> None:
    text = ax.text(*at, words, transform=ax.transAxes, color=MARK_COLOR, ha=across, va=along, fontsize="small", zorder=5)
    text.set_path_effects(_HALO)


def _mark_source(ax: Axes) -> None:
    """Two strokes that point at the source and leave it free."""
    low, high = sorted(ax.get_xlim())
    inner, outer = 0.08 * (high - low) / 2, 0.22 * (high - low) / 2
    right = -1 if ax.xaxis_inverted() else 1
    for x, y in (((right * inner, right * outer), (0, 0)), ((0, 0), (inner, outer))):
        ax.plot(x, y, color=MARK_COLOR, lw=1.2, path_effects=_HALO)
