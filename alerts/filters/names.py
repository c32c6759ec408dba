"""Names in a filter: the field of a row, or of an array's entries, that dotted names lead to."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from alerts.filters.errors import FilterError, Span
from alerts.filters.row import RowField
from alerts.filters.tree import Path

_FLAGS = {"watchlists": "--watchlist", "regions": "--region"}
"""What names lists of one's own."""


@dataclass(frozen=True)
class NamedScope:
    """Rows that expressions are about: of the alerts, or of the entries of an array."""

    alias: str
    """Their name in the text."""
    record: RowField


@dataclass(frozen=True)
class Name:
    """One of dotted names, and where it stands."""

    text: str
    at: Span


def find(names: Sequence[Name], scopes: Sequence[NamedScope], at: Span) -> Path:
    """Where names lead, from the innermost scope that the first one names, else from the row of the alert.

    Raises ``FilterError``.
    """
    scope, rest = _begin(names, scopes)
    if not rest:
        raise FilterError(f"{names[0].text} is a whole row; name a field of it", at)
    here, spelled = scopes[scope].record, list[str]()
    for number, name in enumerate(rest):
        path = ".".join(spelled)
        if spelled and here.is_array:
            raise FilterError(ask_a_subquery(path), at)
        if here.type != "RECORD":
            raise FilterError(f"{path} is of type {here.type} and has no fields", at)
        found = here.by_name.get(name.text.casefold())
        if found is None:
            raise FilterError(_unknown([each.text for each in rest[: number + 1]], here, scopes), name.at)
        here = found
        spelled.append(found.name)
    return Path(here.type, at, scope, tuple(spelled), here)


def ask_a_subquery(path: str) -> str:
    """What to say of an array that is taken for a value."""
    return f"{path} is an array: ask a subquery about it, (SELECT ... FROM UNNEST({path}) AS p)"


def _begin(names: Sequence[Name], scopes: Sequence[NamedScope]) -> tuple[int, Sequence[Name]]:
    first = names[0].text.casefold()
    places = [place for place, scope in enumerate(scopes) if scope.alias.casefold() == first]
    return (places[-1], names[1:]) if places else (0, names)


def _unknown(names: Sequence[str], within: RowField, scopes: Sequence[NamedScope]) -> str:
    start = ".".join([*names[:-1], ""])
    nothing = f"there is no {start}{names[-1]}"
    near = difflib.get_close_matches(names[-1].casefold(), within.by_name, n=1, cutoff=0.6)
    if near:
        return f"{nothing}; did you mean {start}{within.by_name[near[0]].name}?"
    # A field by its bare name, as it is called in some record of the row.
    records = [field for field in scopes[0].record.fields if field.type == "RECORD" and names[-1].casefold() in field.by_name]
    if len(names) == 1 and records:
        return f"{nothing}; did you mean {records[0].name}.{records[0].by_name[names[-1].casefold()].name}?"
    if flag := _FLAGS.get(within.name):
        return f"{nothing}; name it where the filter is asked: {flag} {names[-1]}=FILE"
    if not within.fields:
        return f"{nothing}: {within.name} has no fields here"
    return f"{nothing}; broker filter columns lists what there is"
