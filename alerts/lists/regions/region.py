"""A region of the sky, as it was read: what is inside, and how probable it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from alerts.lists.regions.levels import Levels
from alerts.lists.regions.polygon import Polygon
from alerts.lists.regions.ranges import NO_RANGES, Mask, Ranges, within
from alerts.lists.regions.spec import LEVEL, RegionSpec
from alerts.positions import Degrees, Indices


@dataclass(frozen=True, eq=False)
class Region:
    """A region that is read, once for a process; none of its arrays is ever written to."""

    spec: RegionSpec
    event_time: datetime | None = None
    """When its event was, UTC: as it was asked for, or as the file says."""
    ranges: Ranges = field(default_factory=lambda: NO_RANGES)
    """Of ``healpix29``, [begin, end), in order and apart: the cells that are inside as wholes. Of a map in galactic coordinates
    none: its pixels have no borders there."""
    edges: Ranges = field(default_factory=lambda: NO_RANGES)
    """The same of cells that a polygon's side goes through, or near: there ``polygons`` decide."""
    polygons: tuple[Polygon, ...] = ()
    levels: Levels | None = None
    """Of a sky map."""

    @property
    def is_map(self) -> bool:
        """Whether it is a sky map, which has a credible level at each place."""
        return self.levels is not None

    @property
    def asked_level(self) -> float:
        """The credible level inside which a place of a sky map is."""
        return LEVEL if self.spec.level is None else self.spec.level

    def inside(self, healpix29: Indices, ra_deg: Degrees, dec_deg: Degrees) -> Mask:
        """Whether places are inside, of the same alerts in each array. Polygons are closed: their sides are inside."""
        if self.levels is not None and self.levels.is_galactic:
            return np.asarray(self.level(healpix29) <= self.asked_level)
        found = within(self.ranges, healpix29)
        if len(self.edges):
            (near,) = np.nonzero(within(self.edges, healpix29))
            place: Any = np.asarray(ra_deg)[near], np.asarray(dec_deg)[near]
            for polygon in self.polygons:
                found[near] |= polygon.contains(*place)
        return found

    def level(self, healpix29: Indices) -> Degrees:
        """Credible levels of places: the probability of all pixels of a sky map whose density is at least that of the place."""
        assert self.levels is not None, f"the region {self.spec.name} is no sky map"
        return self.levels.of(healpix29)
