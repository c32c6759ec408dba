"""What filters say of the alerts of a batch: each passed, rejected or failed, by itself.

A filter that raises is asked again about halves of the batch, until the alert is found that it fails on: that one has failed, all
others and all other filters are as if it were not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.filters.batches import Batch
from alerts.filters.tree import Query
from alerts.filters.vectors import Array, Mask, Vector

_MOST_TOLD = 300


@dataclass(frozen=True)
class Judged:
    """What one filter says of the alerts of a batch: of each exactly one of passed, rejected, failed."""

    passed: Mask
    rejected: Mask
    """Not passed: the condition is FALSE or NULL."""
    by_null: Mask
    """Of those that are rejected, where it is NULL."""
    failures: Mapping[int, str]
    """The rows on which it failed, and why."""
    columns: tuple[pa.Array, ...]
    """The filter's columns, for the rows that passed, in their order."""

    @property
    def counts(self) -> dict[str, int]:
        """As the table ``filter_counts`` has them; each is counted, and none is what is left over."""
        counted = {"passed": self.passed, "rejected": self.rejected, "rejected_by_null": self.by_null}
        return {
            "seen": len(self.passed),
            **{name: int(np.count_nonzero(mask)) for name, mask in counted.items()},
            "failed": len(self.failures),
        }


def judge(alerts: pa.RecordBatch, queries: Mapping[str, Query]) -> dict[str, Judged]:
    """What filters, by their names, say of alerts (``alerts.filters.batches.Batch``)."""
    batch = Batch(alerts)
    return {name: _judged(alerts, batch, query) for name, query in queries.items()}


def _judged(alerts: pa.RecordBatch, batch: Batch, query: Query) -> Judged:
    count = alerts.num_rows
    passed, rejected, by_null = (np.zeros(count, np.bool_) for _ in range(3))
    failures: dict[int, str] = {}
    parts: list[tuple[pa.Array, ...]] = []
    for begin, end, found in _asked(alerts, batch, query, 0):
        if isinstance(found, str):
            failures[begin] = found
            continue
        where, columns = found
        passed[begin:end] = where.true()
        by_null[begin:end] = ~where.mask
        rejected[begin:end] = ~where.data | ~where.mask
        parts.append(columns)
    columns = tuple(pa.concat_arrays(pieces) for pieces in zip(*parts, strict=True)) if parts else _none(query)
    return Judged(passed, rejected, by_null, failures, columns)


def _asked(
    alerts: pa.RecordBatch, batch: Batch, query: Query, begin: int
) -> Iterator[tuple[int, int, tuple[Vector, tuple[pa.Array, ...]] | str]]:
    """Parts of the batch in order: what the filter says of their rows, or why it fails on their one."""
    try:
        found = _answers(batch, query)
    except Exception as error:  # whatever it is, it is this filter's and these alerts' alone
        if alerts.num_rows <= 1:
            yield begin, begin + 1, f"{type(error).__name__}: {error}"[:_MOST_TOLD]
            return
        half = alerts.num_rows // 2
        for part, at in ((alerts.slice(0, half), begin), (alerts.slice(half), begin + half)):
            yield from _asked(part, Batch(part), query, at)
        return
    yield begin, begin + alerts.num_rows, found


def _answers(batch: Batch, query: Query) -> tuple[Vector, tuple[pa.Array, ...]]:
    where = batch.value(query.where)
    if where.data.dtype != np.bool_:
        # NULL as a whole condition.
        where = Vector(np.zeros(batch.length, np.bool_), np.zeros(batch.length, np.bool_))
    rows = np.flatnonzero(where.true())
    return where, tuple(_column(batch.value(column.node).take(rows), column.node.type) for column in query.columns)


_ARROW: dict[str, pa.DataType] = {
    **{"BOOL": pa.bool_(), "INT64": pa.int64(), "FLOAT64": pa.float64(), "STRING": pa.string(), "NULL": pa.float64()},
    **{"TIMESTAMP": pa.timestamp("us", "UTC"), "DATE": pa.date32()},
}


def _column(vector: Vector, kind: str) -> pa.Array:
    """Values as Arrow has them, NULL among them."""
    if vector.is_text:
        return vector.data
    data: Array | Any = vector.data
    told = pa.array(data, mask=None if vector.known is None else ~vector.known)
    if kind == "DATE":
        told = told.cast(pa.int32())
    return told.cast(_ARROW[kind])


def _none(query: Query) -> tuple[pa.Array, ...]:
    return tuple(pa.nulls(0, _ARROW[column.node.type]) for column in query.columns)
