"""Filters over a batch of rows: every part of any filter is computed once, whoever asks for it, and only if somebody does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.filters import operations
from alerts.filters.aggregates import aggregate
from alerts.filters.tree import Entries, Literal, Node, Operation, Path, Subquery, children
from alerts.filters.vectors import Array, Vector, constant, null, of_column

Context = tuple[Entries, ...]
"""The arrays that rows are entries of, from the alert's on; none: the alerts themselves."""


@dataclass(frozen=True)
class _Rows:
    """The rows of a context."""

    length: int
    column: Callable[[str], pa.Array | None]
    """By the name of a field; None where these rows have no such field, which is then NULL."""
    around: Array | None = None
    """Of entries: the row of the context around that each belongs to."""


class Batch:
    """The rows that filters are asked about, and what was computed of them so far.

    ``alerts`` has columns of ``{survey}_alerts`` and, as far as filters ask for them, ``features``, ``matches``, ``scores``,
    ``watchlists`` and ``regions``; what it does not have is NULL.
    """

    def __init__(self, alerts: pa.RecordBatch) -> None:
        names = {name: place for place, name in enumerate(alerts.schema.names)}
        self._rows: dict[Context, _Rows] = {
            (): _Rows(alerts.num_rows, lambda name: alerts.column(names[name]) if name in names else None)
        }
        self._held: dict[tuple[Context, Node], Vector] = {}
        self.length = alerts.num_rows

    def value(self, node: Node, context: Context = ()) -> Vector:
        """An expression for each row of a context."""
        own = context[: depth_of(node)]
        key = (own, node)
        if key not in self._held:
            self._held[key] = self._compute(node, own)
        return self._lifted(self._held[key], own, context)

    def _compute(self, node: Node, context: Context) -> Vector:
        rows = self._at(context)
        if isinstance(node, Literal):
            return constant(node.value, node.type, rows.length)
        if isinstance(node, Path):
            return self._field(node, rows)
        if isinstance(node, Subquery):
            return self._subquery(node, context)
        assert isinstance(node, Operation)
        return operations.run(node, [self.value(argument, context) for argument in node.arguments])

    def _field(self, node: Path, rows: _Rows) -> Vector:
        first, *rest = node.names
        if node.last.scale is not None:
            last = node.last.scale[0]
            first, rest = (last, []) if not rest else (first, [*rest[:-1], last])
        values = rows.column(first)
        for name in rest:
            values = None if values is None else _within(values, name)
        return null(node.type, rows.length) if values is None else of_column(values, node.last)

    def _subquery(self, node: Subquery, context: Context) -> Vector:
        inner = (*context[: node.depth], *node.sources)
        rows = self._at(inner)
        outside = self._at(context)
        around = self._rows_around(inner, len(context))
        kept = np.ones(rows.length, np.bool_) if node.where is None else self.value(node.where, inner).true()
        argument = None if node.argument is None else self.value(node.argument, inner)
        order = None if node.order is None else self.value(node.order, inner)
        return aggregate(node, outside.length, around, kept, argument, order)

    def _rows_around(self, context: Context, depth: int) -> Array:
        """The row of a context further out that each row belongs to."""
        found = np.arange(self._at(context).length)
        for level in range(len(context), depth, -1):
            around = self._at(context[:level]).around
            assert around is not None
            found = around[found]
        return found

    def _lifted(self, vector: Vector, own: Context, context: Context) -> Vector:
        """A value of rows further out, for the entries in a context."""
        return vector if own == context else vector.take(self._rows_around(context, len(own)))

    def _at(self, context: Context) -> _Rows:
        if context not in self._rows:
            self._rows[context] = self._entries(context)
        return self._rows[context]

    def _entries(self, context: Context) -> _Rows:
        """The entries of an array, one row after another."""
        entries, outside = context[-1], self._at(context[:-1])
        first, *rest = entries.names
        held = outside.column(first)
        for name in rest:
            held = None if held is None else _within(held, name)
        if held is None:
            return _Rows(0, lambda name: None, np.empty(0, np.int64))
        counts = np.asarray(pc.fill_null(pc.list_value_length(held), 0), np.int64)
        items = held.flatten()
        return _Rows(len(items), lambda name: _within(items, name), np.repeat(np.arange(outside.length), counts))


def _within(values: pa.Array, name: str) -> pa.Array | None:
    place = values.type.get_field_index(name)
    if place < 0:
        return None
    # A field by itself knows nothing of records that are NULL as a whole.
    return pc.struct_field(values, [place]) if values.null_count else values.field(place)


def depth_of(node: Node) -> int:
    """How many arrays deep the rows are that a node speaks of: what it says is the same for all entries below these."""
    if isinstance(node, Path):
        return node.scope
    if isinstance(node, Subquery):
        return node.depth
    return max((depth_of(child) for child in children(node)), default=0)
