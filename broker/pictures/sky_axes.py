"""The piece of sky that a map shows: all of it, or as much as its points take."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS
from matplotlib.axes import Axes

Values = np.ndarray[Any, np.dtype[np.float64]]
_LARGEST_PART_DEG = 60.0
"""What lies within so many degrees of its middle is shown as a part of the sky."""
_SMALLEST_DEG, _MARGIN = 0.1, 1.15
_GALAXY_COLOR = "#555555"
_GRID_HOURS = range(0, 24, 2)


class Piece(abc.ABC):
    """A piece of sky and its projection; right ascension increases to the left."""

    axes: dict[str, Any]
    """What matplotlib wants to be told to make the axes."""

    @abc.abstractmethod
    def place(self, ra_deg: Any, dec_deg: Any) -> tuple[Any, Any]:
        """Coordinates on the axes of positions (ICRS, degrees)."""

    @abc.abstractmethod
    def grid(self) -> tuple[Values, Values, Values, Values]:
        """Edges of a fine grid on the axes in x and y, and position (degrees, NaN off the sky) of each of its cells."""

    @abc.abstractmethod
    def frame(self, ax: Axes) -> None:
        """Limits, ticks and grid lines, when all is drawn."""

    def galaxy(self, ax: Axes) -> None:
        """Galactic plane and center, as far as they are in the piece."""
        plane = SkyCoord(np.linspace(0, 360, 7201), 0, unit="deg", frame="galactic").icrs
        x, y = self.seen(*self.place(plane.ra.deg, plane.dec.deg))
        if np.isfinite(x).any():
            ax.plot(x, y, color=_GALAXY_COLOR, lw=1.2, label="galactic plane", zorder=2)
        center = SkyCoord([0], [0], unit="deg", frame="galactic").icrs
        x, y = self.seen(*self.place(center.ra.deg, center.dec.deg))
        if np.isfinite(x).any():
            ax.plot(x, y, "x", color=_GALAXY_COLOR, ms=7, label="galactic center", zorder=2)

    @abc.abstractmethod
    def seen(self, x: Values, y: Values) -> tuple[Values, Values]:
        """A line on the axes, in an order in which it can be drawn, NaN where it is outside."""


class WholeSky(Piece):
    """All of it: Mollweide's projection, right ascension 0 in the middle. Coordinates are radians."""

    def __init__(self) -> None:
        self.axes = {"projection": "mollweide"}

    def place(self, ra_deg: Any, dec_deg: Any) -> tuple[Any, Any]:  # noqa: D102
        return -np.radians((np.asarray(ra_deg) + 180) % 360 - 180), np.radians(np.asarray(dec_deg))

    def seen(self, x: Values, y: Values) -> tuple[Values, Values]:  # noqa: D102
        order = np.argsort(x)
        return x[order], y[order]

    def grid(self) -> tuple[Values, Values, Values, Values]:  # noqa: D102
        x, y = np.radians(np.linspace(-180, 180, 1441)), np.radians(np.linspace(-90, 90, 721))
        middle_x, middle_y = np.meshgrid((x[1:] + x[:-1]) / 2, (y[1:] + y[:-1]) / 2)
        return x, y, np.degrees(-middle_x) % 360, np.degrees(middle_y)

    def frame(self, ax: Axes) -> None:  # noqa: D102
        hours = [hour for hour in _GRID_HOURS if hour != 12]
        ax.set_xticks(self.place(np.array(hours) * 15.0, 0)[0], [f"{hour}h" for hour in hours])
        ax.tick_params(axis="x", labelsize="small", labelcolor="0.35")
        ax.tick_params(axis="y", labelsize="small")
        ax.grid(alpha=0.3)


@dataclass
class PartOfSky(Piece):
    """As much as the points take, about their middle: zenithal equal-area projection. Coordinates are degrees."""

    middle: SkyCoord
    half_deg: float

    def __post_init__(self) -> None:
        self._wcs = WCS(naxis=2)
        self._wcs.wcs.ctype = ["RA---ZEA", "DEC--ZEA"]
        self._wcs.wcs.crval = [self.middle.ra.deg, self.middle.dec.deg]
        # Pixels of one degree, counted from the middle.
        self._wcs.wcs.crpix, self._wcs.wcs.cdelt = [1, 1], [-1, 1]
        self.axes = {"projection": self._wcs}

    def place(self, ra_deg: Any, dec_deg: Any) -> tuple[Any, Any]:  # noqa: D102
        x, y = self._wcs.wcs_world2pix(np.asarray(ra_deg, float), np.asarray(dec_deg, float), 0)
        return x, y

    def seen(self, x: Values, y: Values) -> tuple[Values, Values]:  # noqa: D102
        outside = (np.abs(x) > self.half_deg) | (np.abs(y) > self.half_deg)
        return np.where(outside, np.nan, x), np.where(outside, np.nan, y)

    def grid(self) -> tuple[Values, Values, Values, Values]:  # noqa: D102
        edges = np.linspace(-self.half_deg, self.half_deg, 601)
        middle_x, middle_y = np.meshgrid((edges[1:] + edges[:-1]) / 2, (edges[1:] + edges[:-1]) / 2)
        ra, dec = self._wcs.wcs_pix2world(middle_x, middle_y, 0)
        return edges, edges, ra % 360, dec

    def frame(self, ax: Axes) -> None:  # noqa: D102
        ax.set_xlim(-self.half_deg, self.half_deg)
        ax.set_ylim(-self.half_deg, self.half_deg)
        ax.set_aspect("equal")
        coords: Any = ax.coords  # type: ignore[attr-defined]
        for coordinate, label in zip(coords, ("RA (deg, ICRS)", "Dec (deg, ICRS)"), strict=True):
            coordinate.set_axislabel(label)
            coordinate.set_major_formatter("d.dd" if self.half_deg < 1 else "d.d" if self.half_deg < 10 else "d")
        coords.grid(alpha=0.3)


def piece_of(ra_deg: Any, dec_deg: Any) -> Piece:
    """The piece of sky for points at these positions (ICRS, degrees): a part of it where they are all near to each other."""
    points = SkyCoord(ra_deg, dec_deg, unit="deg")
    if not len(points):
        return WholeSky()
    mean = points.cartesian.mean()
    if mean.norm() < np.cos(np.radians(_LARGEST_PART_DEG)) / 2:
        return WholeSky()
    middle = SkyCoord(mean, representation_type="cartesian").represent_as("unitspherical")
    middle = SkyCoord(middle.lon, middle.lat)
    radius = float(points.separation(middle).max().deg)
    # Equal areas: a degree near the rim is a little shorter.
    return WholeSky() if radius > _LARGEST_PART_DEG else PartOfSky(middle, max(_MARGIN * radius, _SMALLEST_DEG))
