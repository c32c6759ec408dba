"""A filter as a tree of few kinds of nodes, each with its type: what is checked, compiled and written as SQL.

Nodes are equal where they say the same, wherever they stand, so that what several filters ask is computed once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime

from alerts.filters.errors import Span
from alerts.filters.row import RowField, Type

Value = bool | int | float | str | date | datetime | None
NOWHERE = Span(0, 0)


@dataclass(frozen=True)
class Node:
    """Something that has a value for each row of its scope."""

    type: Type
    at: Span = field(compare=False, repr=False)


@dataclass(frozen=True)
class Literal(Node):
    """A constant; NULL has the type ``NULL``."""

    value: Value

    # True is 1 and 1.0 to Python: they are three here.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Literal) and (self.type, repr(self.value)) == (other.type, repr(other.value))

    def __hash__(self) -> int:
        return hash((self.type, repr(self.value)))


@dataclass(frozen=True)
class Path(Node):
    """A field of the row (``scope`` 0) or of the entries of an array that a subquery goes over, the outermost 1."""

    scope: int
    names: tuple[str, ...]
    """From the scope on, as the table spells them."""
    last: RowField = field(compare=False, repr=False)


@dataclass(frozen=True)
class Operation(Node):
    """An operator or a function of values of one row."""

    name: str
    """One of ``alerts.filters.functions.FUNCTIONS``."""
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Entries:
    """The entries that a subquery goes over: of an array of the scope ``outer``."""

    outer: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Subquery(Node):
    """A value of the entries of an array, and of an array of these: an aggregate, whether there are any, or the first."""

    name: str
    """An aggregate of ``alerts.filters.functions.AGGREGATES``, ``exists`` or ``first``."""
    depth: int
    """The number of the scope that it stands in: those of its sources follow."""
    sources: tuple[Entries, ...]
    where: Node | None
    argument: Node | None = None
    order: Node | None = None
    is_descending: bool = False


@dataclass(frozen=True)
class Output:
    """A column that goes out with each alert that passes."""

    name: str
    node: Node


@dataclass(frozen=True)
class Query:
    """A filter of one survey's alerts."""

    where: Node
    columns: tuple[Output, ...]


def children(node: Node) -> tuple[Node, ...]:
    """What a node is made of."""
    if isinstance(node, Operation):
        return node.arguments
    if isinstance(node, Subquery):
        return tuple(part for part in (node.where, node.argument, node.order) if part is not None)
    return ()


def size_and_depth(node: Node) -> tuple[int, int]:
    """How many nodes a node has when all is written out, and how many levels.

    What stands there several times, as BETWEEN makes it, is one object and is looked at once.
    """
    known: dict[int, tuple[int, int]] = {}

    def of(part: Node) -> tuple[int, int]:
        if id(part) not in known:
            found = [of(child) for child in children(part)]
            known[id(part)] = (1 + sum(size for size, _ in found), 1 + max((depth for _, depth in found), default=0))
        return known[id(part)]

    return of(node)


def walk(node: Node) -> Iterator[Node]:
    """A node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)
