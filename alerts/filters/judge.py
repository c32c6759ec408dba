"""What filters say of the alerts of a batch: each passed, rejected or failed, by itself.

A filter that raises is asked again about halves of the batch, until the alert is found that it fails on: that one has failed, all
others and all other filters are as if it were not there.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.filters.batches import Batch
from alerts.filters.steps import Steps
from alerts.filters.vectors import Array, Mask, Vector

MOST_TOLD = 300
"""Characters that are kept of why a filter failed."""


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

    def failing(self, reasons: Mapping[int, str]) -> Judged:
        """The same, where it has failed on these rows for reasons that it does not know itself."""
        if not reasons:
            return self
        known = np.ones(len(self.passed), np.bool_)
        known[list(reasons)] = False
        kept = pa.array(known[self.passed])
        return replace(
            self,
            passed=self.passed & known,
            rejected=self.rejected & known,
            by_null=self.by_null & known,
            failures={**self.failures, **reasons},
            columns=tuple(column.filter(kept) for column in self.columns),
        )

    @property
    def counts(self) -> dict[str, int]:
        """As the table ``filter_counts`` has them; each is counted, and none is what is left over."""
        counted = {"passed": self.passed, "rejected": self.rejected, "rejected_by_null": self.by_null}
        return {
            "seen": len(self.passed),
            **{name: int(np.count_nonzero(mask)) for name, mask in counted.items()},
            "failed": len(self.failures),
        }


def judge(alerts: pa.RecordBatch, program: Steps) -> dict[str, Judged]:
    """What the filters of a program, by their names, say of alerts (``alerts.filters.batches.Batch``)."""
    batch = Batch(alerts, program)
    return {name: judged(alerts, batch, program, name) for name in program.asked}


def judged(alerts: pa.RecordBatch, batch: Batch, program: Steps, name: str) -> Judged:
    """What one filter of a program says of alerts, of which ``batch`` was made."""
    parts, failures = [], dict[int, str]()
    for begin, found in _asked(alerts, batch, program, name, 0):
        if isinstance(found, str):
            failures[begin] = found
            none = np.zeros(1, np.bool_)
            parts.append((none, none, none, _none(program.asked[name].types)))
        else:
            where, columns = found
            nulls = np.zeros(len(where.data), np.bool_) if where.known is None else ~where.known
            parts.append((where.true(), ~where.data | nulls, nulls, columns))
    if len(parts) == 1:
        passed, rejected, by_null, columns = parts[0]
        return Judged(passed, rejected, by_null, failures, columns)
    masks = [np.concatenate([part[number] for part in parts]) for number in range(3)]
    columns = tuple(pa.concat_arrays(pieces) for pieces in zip(*(part[3] for part in parts), strict=True))
    return Judged(masks[0], masks[1], masks[2], failures, columns)


def _asked(
    alerts: pa.RecordBatch, batch: Batch, program: Steps, name: str, begin: int
) -> Iterator[tuple[int, tuple[Vector, tuple[pa.Array, ...]] | str]]:
    """Parts of the batch in order: what the filter says of their rows, or why it fails on their one."""
    try:
        found = _answers(batch, program, name)
    except Exception as error:  # whatever it is, it is this filter's and these alerts' alone
        if alerts.num_rows <= 1:
            yield begin, f"{type(error).__name__}: {error}"[:MOST_TOLD]
            return
        half = alerts.num_rows // 2
        for part, at in ((alerts.slice(0, half), begin), (alerts.slice(half), begin + half)):
            yield from _asked(part, Batch(part, program), program, name, at)
        return
    yield begin, found


def _answers(batch: Batch, program: Steps, name: str) -> tuple[Vector, tuple[pa.Array, ...]]:
    asked = program.asked[name]
    where = batch.value(asked.where)
    if where.data.dtype != np.bool_:
        # NULL as a whole condition.
        where = Vector(np.zeros(batch.length, np.bool_), np.zeros(batch.length, np.bool_))
    rows = np.flatnonzero(where.true())
    if not len(rows):
        return where, _none(asked.types)
    columns = zip(asked.columns, asked.types, strict=True)
    return where, tuple(_column(batch.value(number).take(rows), kind) for number, kind in columns)


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


@functools.cache
def _none(types: tuple[str, ...]) -> tuple[pa.Array, ...]:
    return tuple(pa.nulls(0, _ARROW[kind]) for kind in types)
