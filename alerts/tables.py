"""The tables of a warehouse by their names."""

from __future__ import annotations

import functools

from alerts.features.table import features_table_of
from alerts.surveys import SURVEYS, Survey
from schemas import Table
from schemas.tables import BIGQUERY_TABLES, SHARED_TABLES


@functools.cache
def own_tables(survey: Survey) -> tuple[Table, ...]:
    """The survey's own tables: of its alerts, and those with a row for each of these, of their stamps and their features.

    One whose brightness nobody has told has no table of features.
    """
    features = features_table_of(survey)
    return (survey.alerts_table, survey.cutouts_table, *([features] if features else []))


@functools.cache
def table_named(name: str) -> Table:
    """The table of that name, with all its columns. Raises ``ValueError``, which lists the known ones."""
    own = [table for survey in SURVEYS.values() for table in own_tables(survey)]
    by_name = {table.name: table for table in [*own, *SHARED_TABLES, *BIGQUERY_TABLES]}
    if name not in by_name:
        raise ValueError(f"there is no table {name!r}; known are {', '.join(by_name)}")
    return by_name[name]
