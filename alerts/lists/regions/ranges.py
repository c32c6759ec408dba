"""Ranges of ``healpix29``: arrays of [begin, end), in order, with gaps between them."""

from __future__ import annotations

from typing import Any

import numpy as np

from alerts.positions import HEALPIX_ORDER, Indices

Mask = np.ndarray[Any, np.dtype[np.bool_]]
Ranges = Indices
"""Shape (n, 2)."""
ALL_CELLS = 12 << (2 * HEALPIX_ORDER)
"""Cells of order 29."""
NO_RANGES: Ranges = np.empty((0, 2), np.int64)


def of_cells(cells: Indices, orders: Any) -> Ranges:
    """The ranges of nested cells, one each, of one order or an order each, as they come."""
    shift = 2 * (HEALPIX_ORDER - np.asarray(orders, np.int64))
    return np.stack([cells << shift, (cells + 1) << shift], axis=1)


def joined(ranges: Ranges) -> Ranges:
    """Ranges in whatever order, that may overlap, in order, those that touch made one."""
    if not len(ranges):
        return NO_RANGES
    found = ranges[np.argsort(ranges[:, 0], kind="stable")]
    ends = np.maximum.accumulate(found[:, 1])
    first = np.append(True, found[1:, 0] > ends[:-1])
    last = np.append(np.flatnonzero(first)[1:], len(found)) - 1
    return np.stack([found[first, 0], ends[last]], axis=1)


def without(ranges: Ranges, others: Ranges) -> Ranges:
    """What is in the ranges and not in the others."""
    bounds = np.unique(np.concatenate([ranges.ravel(), others.ravel()]))
    pieces = np.stack([bounds[:-1], bounds[1:]], axis=1)
    return joined(pieces[within(ranges, pieces[:, 0]) & ~within(others, pieces[:, 0])])


def within(ranges: Ranges, healpix29: Indices) -> Mask:
    """Whether cells are in any of the ranges."""
    # The bounds in one row go up: an odd number of them is below what is inside.
    return np.asarray(np.searchsorted(ranges.ravel(), healpix29, side="right") % 2 == 1)
