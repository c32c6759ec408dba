"""A batch of rows that filters are asked about: every step of their program is computed once, and only if somebody asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.filters import operations
from alerts.filters.aggregates import aggregate
from alerts.filters.steps import Context, Step, Steps
from alerts.filters.tree import Literal, Operation, Path, Subquery
from alerts.filters.vectors import Array, Vector, constant, null, of_column


@dataclass(frozen=True)
class _Rows:
    """The rows of a context."""

    length: int
    column: Callable[[str], pa.Array | None]
    """By the name of a field; None where these rows have no such field, which is then NULL."""
    around: Array | None = None
    """Of entries: the row of the context around that each belongs to."""


class Batch:
    """The rows, and what was computed of them so far.

    ``alerts`` has columns of ``{survey}_alerts`` and, as far as filters ask for them, ``features``, ``matches``, ``scores``,
    ``watchlists`` and ``regions``; what it does not have is NULL.
    """

    def __init__(self, alerts: pa.RecordBatch, program: Steps) -> None:
        names = {name: place for place, name in enumerate(alerts.schema.names)}
        self._rows: dict[Context, _Rows] = {
            (): _Rows(alerts.num_rows, lambda name: alerts.column(names[name]) if name in names else None)
        }
        self._steps, self._scalars = program.steps, program.scalars
        self._held: list[Vector | None] = [None] * len(program.steps)
        self._around: dict[tuple[Context, int], Array] = {}
        self.length = alerts.num_rows
        self.computed = 0
        """How many steps were computed."""

    def value(self, number: int) -> Vector:
        """What a step gives, for each row of its own context."""
        held = self._held[number]
        if held is None:
            held = self._held[number] = self._compute(self._steps[number])
            self.computed += 1
        return held

    def _part(self, number: int, context: Context) -> Vector:
        """What a step gives, for each row of a context that is its own or deeper."""
        own = self._steps[number].context
        vector = self.value(number)
        return vector if len(own) == len(context) else vector.take(self._rows_around(context, len(own)))

    def _compute(self, step: Step) -> Vector:
        node = step.node
        if step.is_level and isinstance(node, Operation):
            return self._level(node, step)
        if isinstance(node, Literal):
            return constant(node.value, node.type, self._at(step.context).length)
        if isinstance(node, Path):
            return self._field(node, self._at(step.context))
        if isinstance(node, Subquery):
            return self._subquery(node, step)
        assert isinstance(node, Operation)
        if node.name in operations.WITH_CONSTANTS:
            given = [self._scalars[part] or self._part(part, step.context) for part in step.parts]
            if any(isinstance(vector.data, np.ndarray) for vector in given):
                return operations.run(node, given)
        return operations.run(node, [self._part(part, step.context) for part in step.parts])

    def _level(self, node: Operation, step: Step) -> Vector:
        """An operation on values of its own rows, as nearly all are."""
        held, scalars, parts = self._held, self._scalars, step.parts
        if node.name in operations.WITH_CONSTANTS:
            given = [scalars[part] or held[part] or self.value(part) for part in parts]
            # Two constants: their result is to have a row for each alert.
            if not all(scalars[part] for part in parts):
                return operations.run(node, given)
        return operations.run(node, [held[part] or self.value(part) for part in parts])

    def _field(self, node: Path, rows: _Rows) -> Vector:
        names = list(node.names)
        if node.last.scale is not None:
            names[-1] = node.last.scale[0]
        values = _follow(rows, names)
        return null(node.type, rows.length) if values is None else of_column(values, node.last)

    def _subquery(self, node: Subquery, step: Step) -> Vector:
        inner = (*step.context, *node.sources)
        parts: list[Any] = [self._part(part, inner) for part in step.parts]
        where, argument, order = (parts.pop(0) if part is not None else None for part in (node.where, node.argument, node.order))
        kept = np.ones(self._at(inner).length, np.bool_) if where is None else where.true()
        around = self._rows_around(inner, len(step.context))
        return aggregate(node, self._at(step.context).length, around, kept, argument, order)

    def _rows_around(self, context: Context, depth: int) -> Array:
        """The row of a context further out that each row belongs to."""
        key = (context, depth)
        if key not in self._around:
            found = np.arange(self._at(context).length)
            for level in range(len(context), depth, -1):
                around = self._at(context[:level]).around
                assert around is not None
                found = around[found]
            self._around[key] = found
        return self._around[key]

    def _at(self, context: Context) -> _Rows:
        if context not in self._rows:
            self._rows[context] = _entries(context, self._at(context[:-1]))
        return self._rows[context]


def _entries(context: Context, outside: _Rows) -> _Rows:
    """The entries of an array, one row's after another's."""
    held = _follow(outside, context[-1].names)
    if held is None:
        return _Rows(0, lambda name: None, np.empty(0, np.int64))
    counts = np.asarray(pc.fill_null(pc.list_value_length(held), 0), np.int64)
    items = held.flatten()
    return _Rows(len(items), lambda name: _within(items, name), np.repeat(np.arange(outside.length), counts))


def _follow(rows: _Rows, names: list[str] | tuple[str, ...]) -> pa.Array | None:
    values = rows.column(names[0])
    for name in names[1:]:
        values = None if values is None else _within(values, name)
    return values


def _within(values: pa.Array, name: str) -> pa.Array | None:
    place = values.type.get_field_index(name)
    if place < 0:
        return None
    # A field by itself knows nothing of records that are NULL as a whole.
    return pc.struct_field(values, [place]) if values.null_count else values.field(place)
