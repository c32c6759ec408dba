"""The cells of ``healpix29`` that a polygon holds as wholes, and those that its sides go through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alerts.lists.regions.polygon import Polygon, vectors
from alerts.lists.regions.ranges import NO_RANGES, Ranges, joined, of_cells, without
from alerts.positions import HEALPIX_ORDER, Degrees, cell_reach_arcsec, centers

_EDGE_CELLS = 4096
"""Of a file's polygons; more would leave fewer places to be told exactly, and take longer to make and to search."""
_LEAST_EDGE_CELLS = 256
"""Of each polygon."""
_AT_ONCE = 2**18
"""Distances from centers to sides that are computed at once."""


def covering(polygons: Sequence[Polygon]) -> tuple[Ranges, Ranges]:
    """The ranges that are inside any of the polygons, and those near a side, where a place itself has to be held to them."""
    parts = [_of_polygon(polygon, max(_EDGE_CELLS // len(polygons), _LEAST_EDGE_CELLS)) for polygon in polygons]
    inside = joined(np.concatenate([ranges for ranges, _ in parts]))
    return inside, without(joined(np.concatenate([edges for _, edges in parts])), inside)


def _of_polygon(polygon: Polygon, most_edges: int) -> tuple[Ranges, Ranges]:
    """Cells are divided in four as long as there are not too many that a side may go through.

    A cell is inside or outside as a whole if its center is, and is farther from all sides than any of its points from it.
    """
    cells, order, inside = np.arange(12), 0, [NO_RANGES]
    while True:
        lon_deg, lat_deg = centers(cells, order)
        near = _nearest_rad(polygon, lon_deg, lat_deg) <= np.radians(cell_reach_arcsec(order) / 3600)
        whole = cells[~near][polygon.contains(lon_deg[~near], lat_deg[~near])]
        inside.append(of_cells(whole, order))
        cells = cells[near]
        # Half of what a side's cell is divided into has the side again.
        if order == HEALPIX_ORDER or 2 * len(cells) > most_edges:
            return joined(np.concatenate(inside)), joined(of_cells(cells, order))
        cells, order = (cells[:, None] * 4 + np.arange(4)).ravel(), order + 1


def _nearest_rad(polygon: Polygon, lon_deg: Degrees, lat_deg: Degrees) -> Degrees:
    places = vectors(lon_deg, lat_deg)
    step = max(_AT_ONCE // len(polygon.corners), 1)
    pieces = [polygon.distances_rad(places[start : start + step]).min(axis=1) for start in range(0, len(places), step)]
    return np.concatenate(pieces) if pieces else np.empty(0)
