"""The cells of ``healpix29`` that a polygon holds as wholes, and those that its sides go through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alerts.lists.regions.polygon import Polygon, vectors
from alerts.lists.regions.ranges import Ranges, joined, of_cells, without
from alerts.positions import HEALPIX_ORDER, Degrees, cell_reach_arcsec, centers

_EDGE_CELLS = 4096
"""Of a file's polygons; more would leave fewer places to be told exactly, and take longer to make and to search."""
_LEAST_EDGE_CELLS = 256
"""Of each polygon."""


def covering(polygons: Sequence[Polygon]) -> tuple[Ranges, Ranges]:
    """The ranges that are inside any of the polygons, and those near a side, where a place itself has to be held to them."""
    parts = [_of_polygon(polygon, max(_EDGE_CELLS // len(polygons), _LEAST_EDGE_CELLS)) for polygon in polygons]
    inside = joined(np.concatenate([ranges for ranges, _ in parts]))
    return inside, without(joined(np.concatenate([edges for _, edges in parts])), inside)


def _of_polygon(polygon: Polygon, most_edges: int) -> tuple[Ranges, Ranges]:
    """Cells are divided in four as long as there are not too many that a side may go through.

    A cell is inside or outside as a whole if its center is, and is farther from all sides than any of its points from it. The
    sides that a cell is held to are those that are near the one that it is a part of.
    """
    order, sides, whole = 0, len(polygon.corners), list[tuple[Ranges, Degrees, Degrees]]()
    cells, pairs = np.arange(12), (np.repeat(np.arange(12), sides), np.tile(np.arange(sides), 12))
    while True:
        lon_deg, lat_deg = centers(cells, order)
        which, side = pairs
        close = polygon.distances_rad(vectors(lon_deg, lat_deg)[which], side) <= np.radians(cell_reach_arcsec(order) / 3600)
        near = np.zeros(len(cells), np.bool_)
        near[which[close]] = True
        whole.append((of_cells(cells[~near], order), lon_deg[~near], lat_deg[~near]))
        # Half of what a side's cell is divided into has the side again.
        if order == HEALPIX_ORDER or 2 * np.count_nonzero(near) > most_edges:
            ranges, lon_deg, lat_deg = (np.concatenate(parts) for parts in zip(*whole, strict=True))
            return joined(ranges[polygon.contains(lon_deg, lat_deg)]), joined(of_cells(cells[near], order))
        places = np.cumsum(near) - 1
        pairs = (places[which[close]][:, None] * 4 + np.arange(4)).ravel(), np.repeat(side[close], 4)
        cells, order = (cells[near][:, None] * 4 + np.arange(4)).ravel(), order + 1
