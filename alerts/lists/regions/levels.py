"""Credible levels of the pixels of a sky map, by the greedy rule.

The level of a place is the probability of all pixels whose density is at least that of the place's own. What belongs to the most
probable 90 percent has a level of at most 0.9. Pixels of equal density have one level, whatever their order in the file.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerts.lists.regions.ranges import ALL_CELLS, Ranges, joined
from alerts.positions import HEALPIX_ORDER, Degrees, Indices, healpix29, to_galactic_deg
from alerts.positions import centers as centers_deg


@dataclass(frozen=True, eq=False)
class Levels:
    """Pieces of the sky, in order of their NESTED indices of order 29: where each begins, and its level.

    The first begins at 0, so that each cell is of one piece.
    """

    begins: Indices
    levels: Degrees
    is_galactic: bool
    """Whether the indices are of galactic coordinates, else of ICRS."""

    def of(self, healpix29_icrs: Indices) -> Degrees:
        """The levels at places, of galactic indices by the center of the place's own cell, 0.2 mas from it at most."""
        cells = np.asarray(healpix29_icrs, np.int64)
        if self.is_galactic:
            cells = healpix29(*to_galactic_deg(*centers_deg(cells, HEALPIX_ORDER)))
        return self.levels[np.searchsorted(self.begins, cells, side="right") - 1]

    def inside(self, level: float) -> Ranges:
        """The ranges of the pieces of at most that level."""
        ends = np.append(self.begins[1:], ALL_CELLS)
        chosen = self.levels <= level
        return joined(np.stack([self.begins[chosen], ends[chosen]], axis=1))


def levels_of(ranges: Ranges, density: Degrees, probability: Degrees, is_galactic: bool) -> Levels:
    """Levels of pixels, given as ranges that are apart, in order; what is in none of them has density 0.

    Where the density is 0 the level is 1: all of the sky is at least as probable.
    """
    # Of equal densities in the order of the ranges.
    order = np.argsort(-density, kind="stable")
    # Added in an order that the file has no part in, so that the sums are the same of each file of one map.
    sums = np.minimum(np.cumsum(probability[order]), 1.0)
    sorted_density = density[order]
    # Of each run of equal densities the last sum counts for all.
    last = np.append(np.flatnonzero(sorted_density[1:] != sorted_density[:-1]), len(order) - 1)
    run = np.append(0, np.cumsum(sorted_density[1:] != sorted_density[:-1]))
    levels = np.empty(len(order))
    levels[order] = sums[last][run]
    levels[density == 0] = 1.0
    return _pieces(ranges, levels, is_galactic)


def _pieces(ranges: Ranges, levels: Degrees, is_galactic: bool) -> Levels:
    """Pieces of the whole sky: those of the map, and between them what it does not speak of."""
    begins, ends = ranges[:, 0], ranges[:, 1]
    gaps = ends != np.append(begins[1:], ALL_CELLS)
    starts = np.concatenate([[0], begins, ends[gaps]])
    values = np.concatenate([[1.0], levels, np.ones(np.count_nonzero(gaps))])
    order = np.argsort(starts, kind="stable")
    starts, values = starts[order], values[order]
    if len(starts) > 1 and starts[1] == 0:
        starts, values = starts[1:], values[1:]
    kept = np.append(True, values[1:] != values[:-1])
    return Levels(starts[kept].astype(np.int64), values[kept], is_galactic)
