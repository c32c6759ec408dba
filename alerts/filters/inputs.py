"""What filters read of an alert: the columns and fields that some of them name, and no others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from alerts.filters.tree import Literal, Node, Operation, Path, Query, Subquery, children, walk

LISTS = ("watchlists", "regions")
"""Columns of the row that lists of one's own make, of an alert's place and times."""
BESIDE = ("features", "matches", "scores", *LISTS)
"""Columns of the row that are no columns of ``{survey}_alerts``."""


@dataclass
class UsedField:
    """A field of the row that is read, and which of its own fields are."""

    fields: dict[str, UsedField] = field(default_factory=dict)
    """None: it is a value, or an array whose entries are only counted."""

    def take(self, names: Iterable[str]) -> UsedField:
        """The field below this one that dotted names lead to, read from now on."""
        found = self
        for name in names:
            found = found.fields.setdefault(name, UsedField())
        return found

    def join(self, other: UsedField) -> None:
        """Take what another reads, too; a record of which no field is named is read whole."""
        for name, used in other.fields.items():
            self.take([name]).join(used)


def used_fields(queries: Iterable[Query]) -> dict[str, UsedField]:
    """By their names the columns of the row that filters read, each with the fields of it that are read."""
    row = UsedField()
    for query in queries:
        for node in (query.where, *(column.node for column in query.columns)):
            _take(node, [row])
    return row.fields


def _take(node: Node, scopes: list[UsedField]) -> None:
    """Take what a node reads; ``scopes`` are the row and the entries that subqueries around it go over."""
    if isinstance(node, Path):
        names = node.names if node.last.scale is None else (*node.names[:-1], node.last.scale[0])
        scopes[node.scope].take(names)
        return
    inside = scopes
    if isinstance(node, Subquery):
        inside = scopes[: node.depth + 1]
        for source in node.sources:
            inside = [*inside, inside[source.outer].take(source.names)]
    for child in children(node):
        _take(child, inside)


def catalogs_named(query: Query) -> frozenset[str]:
    """The catalogs whose matches a filter names; none where it reads those of whatever was asked, or no matches."""
    named = set[str]()
    for top in (query.where, *(column.node for column in query.columns)):
        for node in walk(top):
            if isinstance(node, Operation) and node.name in ("eq", "in"):
                is_catalog = any(isinstance(part, Path) and part.scope and part.names == ("catalog",) for part in node.arguments)
                texts = [part.value for part in node.arguments if isinstance(part, Literal) and isinstance(part.value, str)]
                named.update(texts if is_catalog else ())
    return frozenset(named)
