"""Points of a light curve: which there are, what they look like, and the legend that says so."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

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
_FAINT = 0.5
"""Opacity of the limits of forced photometry: most exposures have one, and they are seldom news."""
_LEGEND_COLOR = "0.3"


@dataclass(frozen=True)
class Look:
    """What a point is, which decides how it is drawn."""

    is_forced: bool
    is_limit: bool
    is_negative: bool
    is_flagged: bool

    @property
    def words(self) -> str:
        """Name in the labels of artists: ``flagged forced detection``."""
        what = "limit" if self.is_limit else "negative" if self.is_negative else "detection"
        return f"{'flagged ' * self.is_flagged}{'forced ' * self.is_forced}{what}"

    @property
    def legend(self) -> str:
        """The same for people."""
        if self.is_limit:
            what = "forced, upper limit" if self.is_forced else "upper limit"
        else:
            what = "forced photometry" if self.is_forced else "detection"
            what += ", fainter than template" if self.is_negative else ""
        return f"{what}, flagged" if self.is_flagged else what

    def style(self, color: str) -> dict[str, Any]:
        """How matplotlib draws it."""
        is_open = self.is_limit or self.is_negative or self.is_flagged
        plain = "v" if self.is_limit else "s" if self.is_forced else "o"
        marker = ("1" if self.is_limit else "D") if self.is_flagged else plain
        size = (4 if self.is_forced else 5.5) if self.is_limit else 4.5 if self.is_forced else 7
        # Forced photometry is often of the same exposure as a detection: it shows as a small square in the circle.
        framed = self.is_forced and not is_open
        return {
            "marker": marker,
            "ms": size,
            "color": color,
            "mfc": ("white" if self.is_forced else "none") if is_open else color,
            "mec": "white" if framed else color,
            "mew": 0.4 if framed else 1.0,
            "alpha": _FAINT if (self.is_forced and self.is_limit) or self.is_flagged else 1,
        }


@dataclass(frozen=True)
class Point:
    """One row of the table as it is drawn."""

    mjd: float
    value: float
    error: float
    """NaN where it is not known, and for limits."""
    band: str
    kind: str
    look: Look
    alert_id: int | None


def points_of(table: pa.Table, quantity: str, in_magnitudes: bool) -> list[Point]:
    """The rows that have something to draw: magnitudes or limits, or fluxes in nJy."""
    names = ("apparent_mag", "apparent_mag_err") if quantity == "apparent" else ("mag", "mag_err")
    value, error = names if in_magnitudes else ("flux_njy", "flux_err_njy")
    points = []
    for row in table.to_pylist():
        # A limit is one on the difference; of a flux it is nothing to be drawn beside the flux itself.
        is_limit = row[value] is None and quantity == "difference" and (in_magnitudes or row["kind"] == "limit")
        drawn = (row["limit_mag"] if in_magnitudes else None) if is_limit else row[value]
        if drawn is None:
            continue
        is_negative = bool(row["is_negative"]) and quantity == "difference" and not is_limit
        look = Look(row["kind"] == "forced", is_limit, is_negative, row["flags"] is not None)
        spread = np.nan if is_limit or row[error] is None else row[error]
        points.append(Point(row["mjd"], drawn, spread, row["band"], row["kind"], look, row["alert_id"]))
    return points


def draw(ax: Axes, points: list[Point], scale: float) -> None:
    """All points; those of one look can be read back from the artist labelled ``_band words``."""
    for (band, words), several in itertools.groupby(sorted(points, key=_group), key=_group):
        group = list(several)
        look = group[0].look
        style = look.style(BAND_COLORS.get(band, OTHER_COLOR))
        time, value, error = np.array([(point.mjd, point.value, point.error) for point in group]).T
        ax.errorbar(
            time,
            value,
            None if np.isnan(error).all() else error,
            linestyle="",
            elinewidth=1,
            zorder=2 if look.is_limit else 3.5 if look.is_forced else 3,
            label=f"_{band} {words}",
            **{**style, "ms": style["ms"] * scale},
        )


def _group(point: Point) -> tuple[str, str]:
    return point.band, point.look.words


def legend(points: list[Point]) -> list[Line2D]:
    """One entry per band, then one per look that is there, drawn like that and with its number."""
    entries = [
        Line2D([], [], ls="", marker="o", ms=6, color=BAND_COLORS.get(band, OTHER_COLOR), label=f"{band} band")
        for band in sorted({point.band for point in points}, key=band_order)
    ]
    looks = sorted({point.look for point in points}, key=lambda look: (look.is_forced, look.is_limit, look.words))
    for look in looks:
        count = sum(point.look == look for point in points)
        entries.append(Line2D([], [], ls="", label=f"{look.legend} ({count:,})", **look.style(_LEGEND_COLOR)))
    return entries


def band_order(band: str) -> int:
    """From blue to red, what is not known last."""
    return (*BAND_COLORS, band).index(band)
