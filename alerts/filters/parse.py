"""The text of a filter to its tree: GoogleSQL's grammar by sqlglot, and of that only what is named in these modules.

The tree is built anew, node by node, from what is allowed. What is not named is refused with a sentence that points into the
text; the text itself is never executed by anybody.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from alerts.filters import subqueries  # noqa: F401 - that subqueries are read
from alerts.filters.errors import FilterError
from alerts.filters.expressions import value
from alerts.filters.names import NamedScope
from alerts.filters.parsed import at, only, select_of
from alerts.filters.row import RowField
from alerts.filters.tree import Output, Query
from alerts.filters.types import must_be


def parse(text: str, row: RowField) -> Query:
    """The tree of a filter over a row (``alerts.filters.row.row_of``). Raises ``FilterError``."""
    select = select_of(text)
    try:
        return _query(select, row)
    except RecursionError:
        raise FilterError("the filter is nested too deeply") from None


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
    condition = must_be("BOOL", value(where.this, scopes), "WHERE")
    return Query(condition, tuple(_outputs(select, scopes)))


def _outputs(select: exp.Select, scopes: Sequence[NamedScope]) -> list[Output]:
    columns: list[Output] = []
    for each in select.expressions:
        node, name = value(each.unalias(), scopes), each.alias_or_name
        if node.type in ("RECORD", "JSON"):
            raise FilterError("a column is a number, a text, a time or a truth value; name a field of it", node.at)
        if not name:
            raise FilterError("this column has no name; write AS and one", node.at)
        if name.casefold() in {column.name.casefold() for column in columns}:
            raise FilterError(f"two columns are named {name}", node.at)
        columns.append(Output(name, node))
    return columns
