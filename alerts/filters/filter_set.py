"""Filters that run together: plain values that go to workers, and there a program for each survey."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from alerts.filters import python_form
from alerts.filters.check import check
from alerts.filters.errors import FilterError
from alerts.filters.findings import Finding
from alerts.filters.inputs import LISTS, UsedField, catalogs_named, used_fields
from alerts.filters.parse import parse
from alerts.filters.row import RowField, row_of
from alerts.filters.steps import Steps
from alerts.filters.text import FilterText, version_of
from alerts.filters.tree import Query
from alerts.filters.write import canonical
from alerts.lists.own_lists import NO_OWN_LISTS, OwnLists
from alerts.surveys import survey


@dataclass(frozen=True)
class Compiled:
    """The filters of one survey's alerts."""

    queries: Mapping[str, Query]
    """By their names."""
    versions: Mapping[str, str]
    program: Steps
    functions: Mapping[str, FilterText]
    """Those in Python, by their names; the others are queries."""
    row: RowField
    """What they can ask about."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all."""
        return (*self.queries, *self.functions)

    @functools.cached_property
    def used_by(self) -> Mapping[str, Mapping[str, UsedField]]:
        """By the names of the queries the columns of the row that each reads, with the fields of it."""
        return {name: used_fields([query]) for name, query in self.queries.items()}

    @functools.cached_property
    def columns(self) -> Mapping[str, frozenset[str]]:
        """By their names the columns of the row that they read."""
        return {name: frozenset(used) for name, used in self.used_by.items()}

    @functools.cached_property
    def used(self) -> Mapping[str, UsedField]:
        """The columns of the row that any of them may read, and which fields of these; in Python all of them."""
        found = used_fields(self.queries.values())
        return found | _whole(self.row) if self.functions else found

    def asked(self, name: str) -> frozenset[str]:
        """The columns of the row that a filter is known to read; of one in Python none."""
        return self.columns.get(name, frozenset())


@dataclass(frozen=True)
class FilterSet:
    """Filters of different names. Hashable, so that a process compiles them once."""

    texts: tuple[FilterText, ...]
    lists: OwnLists = NO_OWN_LISTS
    """What they can ask about besides."""

    @property
    def surveys(self) -> frozenset[str]:
        """Those whose alerts any of them is about."""
        return frozenset(name for text in self.texts for name in text.surveys)

    def of_survey(self, name: str) -> Compiled:
        """The filters of a survey's alerts. Raises ``FilterError`` whose message names the filter and points into it."""
        return _compiled(self, name)

    @property
    def versions(self) -> dict[tuple[str, str], str]:
        """The versions of all filters, by survey and name."""
        return {(name, each): version for name in sorted(self.surveys) for each, version in self.of_survey(name).versions.items()}

    def reads_matches(self, text: FilterText) -> bool:
        """Whether a filter asks what catalogs have answered."""
        return not text.is_python and any("matches" in self.of_survey(name).asked(text.name) for name in text.surveys)

    def parted(self) -> tuple[FilterSet | None, FilterSet | None]:
        """Those that can be asked as alerts come in, and those that ask what catalogs have answered; None for none."""
        behind = tuple(text for text in self.texts if self.reads_matches(text))
        at_once = tuple(text for text in self.texts if text not in behind)
        return (
            FilterSet(at_once, self.lists) if at_once else None,
            FilterSet(behind, self.lists) if behind else None,
        )

    def catalogs_of(self, text: FilterText) -> frozenset[str]:
        """The catalogs that a filter names (``alerts.filters.inputs.catalogs_named``)."""
        queries = [self.of_survey(name).queries[text.name] for name in text.surveys if not text.is_python]
        return frozenset(catalog for query in queries for catalog in catalogs_named(query))

    def findings(self) -> Iterator[tuple[FilterText, Finding]]:
        """What there is to say of the filters, each said once for all of its surveys. Raises ``FilterError``."""
        for text in self.texts:
            if text.is_python:
                python_form.compiled(text)
                continue
            found = [
                each
                for name in text.surveys
                for each in check(self.of_survey(name).queries[text.name], survey(name), self.lists.names)
            ]
            for finding in dict.fromkeys(found):
                yield text, finding


@functools.lru_cache(maxsize=64)
def _compiled(filters: FilterSet, name: str) -> Compiled:
    row, queries = row_of(survey(name), filters.lists.names), {}
    own = [text for text in filters.texts if name in text.surveys]
    for text in own:
        if not text.is_python:
            try:
                queries[text.name] = parse(text.text, row)
            except FilterError as error:
                raise FilterError(error.told(f"{text.name}.sql", text.text)) from None
    versions = {each: version_of(canonical(query)) for each, query in queries.items()}
    functions = {text.name: text for text in own if text.is_python}
    versions |= {each: python_form.version_of_python(text.text) for each, text in functions.items()}
    return Compiled(queries, versions, Steps(queries), functions, row)


def _whole(row: RowField) -> dict[str, UsedField]:
    """All columns of a row; of those that are made of lists all fields."""
    return {
        field.name: UsedField({inner.name: UsedField() for inner in field.fields if field.name in LISTS}) for field in row.fields
    }
