"""The text of a filter to its tree: GoogleSQL's grammar by sqlglot, and of that only what is named in these modules.

The tree is built anew, node by node, from what is allowed. What is not named is refused with a sentence that points into the
text; the text itself is never executed by anybody.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sqlglot import exp

from alerts.filters import subqueries  # noqa: F401 - that subqueries are read
from alerts.filters.errors import FilterError
from alerts.filters.expressions import value
from alerts.filters.limits import MOST_LEVELS, MOST_NODES
from alerts.filters.names import NamedScope
from alerts.filters.parsed import at, only, select_of
from alerts.filters.row import RowField
from alerts.filters.tree import Node, Output, Query, size_and_depth
from alerts.filters.types import must_be

UNREADABLE = "it cannot be read, though it may be SQL; please report it"
_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


def parse(text: str, row: RowField) -> Query:
    """The tree of a filter over a row (``alerts.filters.row.row_of``). Raises ``FilterError``."""
    select = select_of(text)
    try:
        return _query(select, row)
    except RecursionError:
        raise FilterError("the filter is nested too deeply") from None
    except FilterError:
        raise
    except Exception as error:  # whoever reads filters goes on with others, and between the rounds of a stream with its work
        raise FilterError(f"{UNREADABLE}: {type(error).__name__} {error}") from error


def _query(select: exp.Select, row: RowField) -> Query:
    only(select, {"kind", "expressions", "from_", "where"}, "a filter is SELECT columns FROM alerts WHERE condition")
    source = select.args.get("from_")
    table = None if source is None else source.this
    if not isinstance(table, exp.Table) or table.name.casefold() != "alerts":
        raise FilterError("a filter reads FROM alerts, and from nothing else", at(source or select))
    only(table, {"this", "alias"}, "a filter reads FROM alerts, and from nothing else")
    where = select.args.get("where")
    if where is None:
        raise FilterError("a filter has a WHERE; that all alerts pass is what the filter all is for", at(select))
    scopes = [NamedScope(table.alias_or_name, row)]
    condition = _held(must_be("BOOL", value(where.this, scopes), "WHERE"))
    return Query(condition, tuple(_outputs(select, scopes)))


def _held(node: Node) -> Node:
    """The node, if it is not too large."""
    size, depth = size_and_depth(node)
    if size > MOST_NODES:
        told = "BETWEEN and CASE x repeat what they are about"
        raise FilterError(f"written out, the filter has {size:,} parts; {MOST_NODES:,} are the most, and {told}", node.at)
    if depth > MOST_LEVELS:
        raise FilterError(
            f"the filter is nested too deeply: {depth} operations within each other; {MOST_LEVELS} are the most", node.at
        )
    return node


def _outputs(select: exp.Select, scopes: Sequence[NamedScope]) -> list[Output]:
    columns: list[Output] = []
    for each in select.expressions:
        node, name = _held(value(each.unalias(), scopes)), each.alias_or_name
        if node.type in ("RECORD", "JSON"):
            raise FilterError("a column is a number, a text, a time or a truth value; name a field of it", node.at)
        if not name:
            raise FilterError("this column has no name; write AS and one", node.at)
        if not _COLUMN.fullmatch(name):
            raise FilterError(
                f"{name!r} is no name of a column: letters of English, digits and _, a letter first, 63 at most", node.at
            )
        if name.casefold() in {column.name.casefold() for column in columns}:
            raise FilterError(f"two columns are named {name}", node.at)
        columns.append(Output(name, node))
    return columns
