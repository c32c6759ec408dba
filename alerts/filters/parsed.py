"""Nodes of the parser's tree: where they stand in the text, how they read, and whether they have parts that nobody asked for."""

from __future__ import annotations

from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from alerts.filters.errors import FilterError, Span
from alerts.filters.limits import check_size

_MOST_SHOWN = 60


def select_of(text: str) -> exp.Select:
    """The one SELECT of a text. Raises ``FilterError``."""
    check_size(text)
    try:
        statements = [statement for statement in sqlglot.parse(text, read="bigquery") if statement is not None]
    except SqlglotError as error:
        raise _no_sql(error, text) from None
    except RecursionError:
        raise FilterError("the filter is nested too deeply") from None
    except Exception as error:  # the parser stumbles over what it takes for something else
        raise FilterError(f"it is not SQL that can be read: {type(error).__name__}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Select):
        raise FilterError("a filter is one SELECT: SELECT columns FROM alerts WHERE condition")
    return statements[0]


def _no_sql(error: SqlglotError, text: str) -> FilterError:
    told: dict[str, Any] = (getattr(error, "errors", None) or [{}])[0]
    line, column = told.get("line"), told.get("col")
    what = str(told.get("description") or error).split("\n")[0].rstrip(".")
    if not (line and column):
        return FilterError(f"it is not SQL: {what}")
    # The parser tells where the word ends.
    end = min(sum(len(each) + 1 for each in text.split("\n")[: line - 1]) + column, len(text))
    return FilterError(f"it is not SQL: {what}", Span(max(0, end - len(told.get("highlight") or "x")), end))


def at(node: Any) -> Span:
    """From the first to the last name of an expression: the parser does not keep where constants and signs were."""
    places = [part.meta for part in node.walk() if "start" in part.meta]
    if not places:
        return Span(0, 0)
    return Span(min(place["start"] for place in places), max(place["end"] for place in places) + 1)


def shown(node: Any) -> str:
    """An expression in a sentence."""
    try:
        told = str(node.sql(dialect="bigquery"))
    except Exception:  # of a tree with holes, which the parser makes of what it half understands, it raises all kinds
        told = type(node).__name__.upper()
    return told if len(told) <= _MOST_SHOWN else f"{told[: _MOST_SHOWN - 3]}..."


def only(node: Any, parts: set[str], otherwise: str) -> None:
    """Refuse what has other parts than these. Raises ``FilterError``."""
    more = [name for name, value in node.args.items() if value not in (None, False, [], "") and name not in parts]
    if more:
        raise FilterError(f"{more[0].strip('_').replace('_', ' ')} is not allowed here: {otherwise}", at(node))
