"""Which alerts are looked for: as a condition of SQL, and by the key under which an index has them."""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouses.errors import QueryError
from warehouses.sql import check_unicode

_WIDE = 12 * 4**29 // 4096


@dataclass(frozen=True)
class Sought:
    """All alerts of an object, of some places or with some ids, and no others."""

    column: str
    """``object_id``, ``healpix29`` or ``alert_id``."""
    condition: str
    """In SQL of both dialects; ``{name}`` stands for one of ``values``."""
    values: Mapping[str, str] = field(default_factory=dict)
    ranges: Sequence[tuple[int, int]] = ()
    """Of integers, first and last: outside of them no alert meets the condition."""

    @property
    def is_wide(self) -> bool:
        """Whether it is more than some ten square degrees of the sky, whose alerts are in many files."""
        return sum(last - first + 1 for first, last in self.ranges) > _WIDE if self.column == "healpix29" else False

    def meet(self, values: pa.ChunkedArray) -> pa.Array:
        """Which values of ``column`` meet the condition; NULL does not."""
        if self.column == "object_id":
            return pc.fill_null(pc.equal(values, self.values["object_id"]), False)
        ranges = np.array(self.ranges, np.int64).reshape(-1, 2)
        # The last range that begins no later.
        numbers = pc.fill_null(values, 0).to_numpy()
        place = np.searchsorted(ranges[:, 0], numbers, side="right") - 1
        inside = (place >= 0) & (numbers <= ranges[np.maximum(place, 0), 1]) if len(ranges) else np.zeros(len(numbers), bool)
        return pc.and_(pc.is_valid(values), pa.array(inside))


def of_object(object_id: str | int) -> Sought:
    """Those of an object; the id is a text, or the packet's integer. Raises ``QueryError`` for a float."""
    return Sought("object_id", "object_id = {object_id}", {"object_id": id_text(object_id)})


def in_ranges(ranges: Sequence[tuple[int, int]]) -> Sought:
    """Those whose ``healpix29`` is in one of some ranges (first, last), which are in order."""
    return Sought("healpix29", ranges_sql(ranges), ranges=tuple(ranges))


def ranges_sql(ranges: Sequence[tuple[int, int]]) -> str:
    """The condition that ``healpix29`` is in one of some ranges (first, last), which are in order."""
    near = " OR ".join(f"healpix29 BETWEEN {first} AND {last}" for first, last in ranges)
    # The one range around all of them is what statistics of files and row groups can be held against.
    return f"healpix29 BETWEEN {ranges[0][0]} AND {ranges[-1][1]} AND ({near})"


def of_ids(alert_ids: Collection[int]) -> Sought:
    """Those with some ids."""
    ids = sorted({int(each) for each in alert_ids})
    listed = ", ".join(map(str, ids)) or "NULL"
    # An id of more than 64 bits is no alert's.
    return Sought("alert_id", f"alert_id IN ({listed})", ranges=[(each, each) for each in ids if -(2**63) <= each < 2**63])


def id_text(object_id: str | int) -> str:
    """An object's id as the tables have it. Raises ``QueryError`` for a float, which has rounded it, or a text without bytes."""
    if isinstance(object_id, str):
        check_unicode(object_id)
        return object_id
    try:
        return str(operator.index(object_id))
    except TypeError:
        raise QueryError(
            f"object id {object_id!r} is no integer and no text; ids exceed 2^53, which a float rounds: take it from the table"
        ) from None
