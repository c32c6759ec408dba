"""Filters together as one list of steps: whatever several of them ask, or one asks twice, is one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from alerts.filters.operations import scalar
from alerts.filters.row import Type
from alerts.filters.tree import Entries, Node, Path, Query, Subquery, children
from alerts.filters.vectors import Vector

Context = tuple[Entries, ...]
"""The arrays that rows are entries of, from the alert's on; none: the alerts themselves."""


@dataclass(frozen=True)
class Step:
    """A part of a filter, computed for each row of the context that it speaks of."""

    node: Node
    context: Context
    parts: tuple[int, ...]
    """The steps before it that it is made of, as ``alerts.filters.tree.children`` has them."""
    is_level: bool
    """Whether all of these speak of the rows that it speaks of."""


@dataclass(frozen=True)
class StepsOfFilter:
    """A filter's own steps."""

    where: int
    columns: tuple[int, ...]
    types: tuple[Type, ...]
    """Of the columns."""


class Steps:
    """The steps of some filters, each after those that it is made of."""

    def __init__(self, queries: Mapping[str, Query]) -> None:
        self.steps: list[Step] = []
        self.scalars: list[Vector | None] = []
        """The value of each step that is a constant number, once and not for each row."""
        self._numbers: dict[tuple[Context, Node], int] = {}
        self.asked = {
            name: StepsOfFilter(
                self._step(query.where, ()),
                tuple(self._step(column.node, ()) for column in query.columns),
                tuple(column.node.type for column in query.columns),
            )
            for name, query in queries.items()
        }

    def _step(self, node: Node, context: Context) -> int:
        """The number of the step that computes a node in a context, or further out where it says the same there."""
        own = context[: depth_of(node)]
        key = (own, node)
        if key not in self._numbers:
            inside = (*own, *node.sources) if isinstance(node, Subquery) else own
            parts = tuple(self._step(part, inside) for part in children(node))
            self._numbers[key] = len(self.steps)
            is_level = inside == own and all(self.steps[part].context == own for part in parts)
            self.steps.append(Step(node, own, parts, is_level))
            self.scalars.append(scalar(node))
        return self._numbers[key]


def depth_of(node: Node) -> int:
    """How many arrays deep the rows are that a node speaks of: what it says is the same for all entries below these."""
    if isinstance(node, Path):
        return node.scope
    if isinstance(node, Subquery):
        return node.depth
    return max(map(depth_of, children(node)), default=0)


def steps_of(nodes: Sequence[Node]) -> Steps:
    """A program of some expressions, as filters named by their numbers."""
    return Steps({str(number): Query(node, ()) for number, node in enumerate(nodes)})
