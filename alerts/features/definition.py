"""What there is to say of a feature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

POINTS = {
    "detections": "detections, brighter and fainter than the template (fluxes are signed), but for those that the survey flags",
    "magnitudes": "those of the detections that are brighter than the template; where packets have fluxes, by 5 sigma or more",
    "forced": "forced photometry of any sign and significance (fluxes are signed), but for what the survey flags",
    "limits": "exposures that showed nothing, with their upper limit",
    "limit": "the first detection and the last upper limit before it",
    "flagged detections": "detections that the survey flags",
    "flagged forced": "forced photometry that the survey flags",
    "all": "detections, limits and forced photometry, flagged or not",
    "pair": "the newest pair of magnitudes, one in each band, that are no more than 0.5 d apart",
    "own": "the alert's own measurement",
    "position": "the alert's position (ICRS)",
}
"""The kinds of points that features are made of. Those of one exposure and band are one point."""


@dataclass(frozen=True)
class Definition:
    """A feature: what it is, of which points, and when it is NULL."""

    name: str
    unit: str
    """``mag``, ``nJy``, ``d``, ``mag/d``, ``nJy/d``, ``deg``; ``1`` of numbers without a unit."""
    formula: str
    points: str
    """The kind of points that it is made of, one of ``POINTS``."""
    least: int
    """So many of these points it takes; with fewer it is NULL."""
    sign: str = ""
    """What a positive or a growing number means."""
    null: str = ""
    """When it is NULL besides."""
    source: str = ""
    """Whose formula it is."""
    type: Literal["FLOAT64", "INT64"] = "FLOAT64"

    @property
    def means_null(self) -> str:
        """When it is NULL."""
        if self.points in ("own", "position"):
            return self.null or "without it"
        few = {0: [], 1: ["no such point"]}.get(self.least, [f"fewer than {self.least} such points"])
        return "; ".join(few + [self.null] * bool(self.null)) or "never"

    @property
    def description(self) -> str:
        """All of it in one line, for schemas."""
        unit = "" if self.unit == "1" else f" Unit: {self.unit}."
        sign = f" Sign: {self.sign}." if self.sign else ""
        return f"{self.formula}.{unit}{sign} Of {POINTS[self.points]}. NULL: {self.means_null}."
