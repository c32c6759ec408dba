"""The tables of a warehouse by their names."""

from __future__ import annotations

import functools

from alerts.surveys import SURVEYS
from schemas import Table
from schemas.tables import BIGQUERY_TABLES, SHARED_TABLES


@functools.cache
def table_named(name: str) -> Table:
    """The table of that name, with all its columns. Raises ``ValueError``, which lists the known ones."""
    own = [table for survey in SURVEYS.values() for table in (survey.alerts_table, survey.cutouts_table)]
    by_name = {table.name: table for table in [*own, *SHARED_TABLES, *BIGQUERY_TABLES]}
    if name not in by_name:
        raise ValueError(f"there is no table {name!r}; known are {', '.join(by_name)}")
    return by_name[name]
