"""Probability maps of HEALPix pixels, of one order or of several, to credible levels.

Whether the numbers are the probability of a pixel or its density per steradian is told by their unit, or else by the column's
name; their sum over the sky, which is 1, has to agree. The densities by which pixels are put in order are exact: probabilities
are multiplied by a power of 4, and by nothing else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alerts.limits import MAX_REGION_PIXELS
from alerts.lists.named import BadList
from alerts.lists.regions.fits_files import is_galactic, text
from alerts.lists.regions.levels import Levels, levels_of
from alerts.lists.regions.ranges import of_cells
from alerts.positions import HEALPIX_ORDER, Degrees, Indices

_SUM_TOLERANCE = 1e-3
_SPHERE_SR = 4 * np.pi
_COLUMNS = ("PROBDENSITY", "PROB", "PROBABILITY")


def levels_of_map(table: Any) -> Levels:
    """The levels of the pixels of a FITS table. Raises ``BadList``."""
    galactic, ordering = is_galactic(table), text(table, "ORDERING")
    column = next((name for name in table.columns.names if str(name).upper() in _COLUMNS), None)
    if column is None:
        raise BadList(f"its columns are {', '.join(table.columns.names)[:200]}; a probability map has PROB or PROBDENSITY")
    if ordering == "NUNIQ":
        cells, orders = _multi_order(table)
    elif ordering in ("RING", "NESTED", "NEST"):
        cells, orders = _flat(table, column, is_ring=ordering == "RING")
    else:
        raise BadList(f"its ORDERING is {ordering!r}; maps are RING, NESTED or NUNIQ")
    values = _values(table, column, len(cells))
    ranges = of_cells(cells, orders)
    del cells
    # Maps of one order have millions of pixels, and NESTED ones are in order.
    if not (ranges[1:, 0] >= ranges[:-1, 0]).all():
        order = np.argsort(ranges[:, 0], kind="stable")
        ranges, values, orders = ranges[order], values[order], orders[order]
        del order
    if (ranges[1:, 0] < ranges[:-1, 1]).any():
        number = int(np.argmax(ranges[1:, 0] < ranges[:-1, 1]))
        raise BadList(f"two of its pixels cover the same place (NESTED index {ranges[number + 1, 0]} of order 29)")
    density, probability = _told(table, column, values, orders)
    return levels_of(ranges, density, probability, galactic)


def _multi_order(table: Any) -> tuple[Indices, Indices]:
    """The NESTED cells and their orders, of a column UNIQ."""
    name = next((name for name in table.columns.names if str(name).upper() == "UNIQ"), None)
    if name is None:
        raise BadList("its ORDERING is NUNIQ, and it has no column UNIQ")
    _check_count(len(table.data))
    uniq = np.asarray(table.data[name])
    if uniq.ndim != 1 or uniq.dtype.kind not in "iu" or not len(uniq):
        raise BadList("its column UNIQ has no whole numbers, one in a row")
    uniq = uniq.astype(np.int64)
    if uniq.min() < 4 or uniq.max() >= 16 << (2 * HEALPIX_ORDER):
        bad = uniq[(uniq < 4) | (uniq >= 16 << (2 * HEALPIX_ORDER))][0]
        raise BadList(f"its column UNIQ has {bad}, which is no pixel of orders 0 to 29")
    # By whole numbers: the logarithm of one just below a power of four rounds up.
    orders = np.searchsorted(4 << (2 * np.arange(HEALPIX_ORDER + 1)), uniq, side="right") - 1
    return uniq - (4 << (2 * orders)), orders


def _flat(table: Any, column: str, is_ring: bool) -> tuple[Indices, Indices]:
    """The NESTED cells and their order, of a map of one order: all of them, or those of a column PIXEL."""
    nside = table.header.get("NSIDE")
    if type(nside) is not int or nside < 1 or nside & (nside - 1) or nside > 2**HEALPIX_ORDER:
        raise BadList(f"its NSIDE is {nside!r}; it is a power of two")
    order, count = nside.bit_length() - 1, 12 * nside * nside
    scheme = text(table, "INDXSCHM") or ("EXPLICIT" if text(table, "OBJECT") == "PARTIAL" else "IMPLICIT")
    if scheme == "IMPLICIT":
        _check_count(count)
        cells = np.arange(count)
        held = len(table.data) * _row_length(table, column)
        if held != count:
            raise BadList(f"it has {held:,} pixels, and its NSIDE {nside} takes {count:,}; is it whole?")
    elif scheme == "EXPLICIT":
        cells = _explicit(table, count)
    else:
        raise BadList(f"its INDXSCHM is {scheme!r}; it is IMPLICIT or EXPLICIT")
    if is_ring:
        from astropy_healpix import HEALPix  # noqa: PLC0415 - it takes half a second

        cells = HEALPix(nside, order="ring").ring_to_nested(cells)
    return np.asarray(cells, np.int64), np.full(len(cells), order, np.int8)


def _explicit(table: Any, count: int) -> Indices:
    name = next((name for name in table.columns.names if str(name).upper() in ("PIXEL", "PIX", "INDEX", "HPX_INDEX")), None)
    if name is None:
        raise BadList("its INDXSCHM is EXPLICIT, and it has no column PIXEL")
    _check_count(len(table.data) * _row_length(table, name))
    cells = np.asarray(table.data[name]).ravel()
    if cells.dtype.kind not in "iu" or not len(cells) or cells.min() < 0 or cells.max() >= count:
        raise BadList(f"its column {name} has other numbers than pixels from 0 to {count - 1:,}")
    return cells.astype(np.int64)


def _row_length(table: Any, column: str) -> int:
    """Old maps have 1,024 pixels in a row of the table."""
    return int(np.prod(table.data[column].shape[1:], dtype=np.int64))


def _check_count(count: int) -> None:
    if count > MAX_REGION_PIXELS:
        raise BadList(f"it has {count:,} pixels; {MAX_REGION_PIXELS:,} are the most, so write it multi-order (NUNIQ), or coarser")


def _values(table: Any, column: str, count: int) -> Degrees:
    values = np.asarray(table.data[column]).ravel()
    if values.dtype.kind != "f" or len(values) != count:
        raise BadList(f"its column {column} has {len(values):,} values of type {values.dtype} for {count:,} pixels; give floats")
    values = values.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(bad):
        told = f"{values[bad[0]]:g} in row {bad[0] + 1}" + f", and {len(bad) - 1:,} more such" * (len(bad) > 1)
        raise BadList(f"its column {column} has {told}, which is no probability; write 0 where there is none")
    return values


def _told(table: Any, column: str, values: Degrees, orders: Indices) -> tuple[Degrees, Degrees]:
    """Numbers that go up with the density, and probabilities, of pixels."""
    relative = np.exp2(2.0 * orders)
    if _is_density(table, column):
        density, probability = values, values * (_SPHERE_SR / 12 / relative)
    else:
        density, probability = values * relative, values
    total = float(probability.sum())
    if not abs(total - 1) <= _SUM_TOLERANCE:
        what = "densities per steradian" if probability is not values else "probabilities of pixels"
        raise BadList(f"its column {column}, read as {what}, has the sum {total:.6g} over the sky and not 1; it is another map")
    return density, probability


def _is_density(table: Any, column: str) -> bool:
    """Whether the numbers are per steradian, else of a pixel each. Raises ``BadList`` for other units."""
    from astropy import units  # noqa: PLC0415 - half a second

    number = list(table.columns.names).index(column) + 1
    unit = str(table.header.get(f"TUNIT{number}", "")).strip()
    if not unit:
        return column.upper() == "PROBDENSITY"
    known = {"pix-1": False, "1/pix": False, "1": False, "none": False, "prob": False, "sr-1": True, "1/sr": True}
    if unit.casefold() in known:
        return known[unit.casefold()]
    parsed = units.Unit(unit, parse_strict="silent")
    for inverse, is_density in ((units.pix, False), (units.sr, True)):
        if parsed == inverse**-1:
            return is_density
    raise BadList(f"its column {column} has the unit {unit!r}; probabilities are pix-1, densities sr-1")
