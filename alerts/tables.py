"""The tables of a warehouse by their names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from alerts.features.table import features_table_of
from alerts.surveys import SURVEYS, Survey
from schemas import Table, views
from schemas.filter_tables import FILTER_COUNTS, FILTER_HISTORY, VERDICTS
from schemas.outbox import OUTBOX
from schemas.tables import BIGQUERY_TABLES, CROSSMATCHES, DEAD_LETTERS, RUNS, SHARED_TABLES


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


def derived_views(
    surveys: Iterable[str], dialect: views.Dialect, named: Callable[[str], str] = str
) -> dict[str, tuple[str, str]]:
    """The views beside the tables of surveys and those that they share: by its name the table that each shows, and its SQL.

    ``named`` gives a table's name as the SQL has it.
    """
    shown: dict[str, tuple[str, Callable[[str], str]]] = {}
    for facts in (SURVEYS[name] for name in surveys):
        table = facts.alerts_table.name
        shown[f"{table}_unique"] = (table, lambda of: views.unique_alerts_sql(of, dialect))
        if features := features_table_of(facts):
            shown[f"{features.name}_unique"] = (features.name, views.newest_features_sql)
    shown["crossmatches_unique"] = (CROSSMATCHES.name, views.newest_matches_sql)
    shown["dead_letters_open"] = (DEAD_LETTERS.name, lambda of: views.open_letters_sql(of, dialect))
    shown["runs_by_hour"] = (RUNS.name, lambda of: views.runs_by_sql(of, "hour", dialect))
    shown["runs_by_night"] = (RUNS.name, lambda of: views.runs_by_sql(of, "night", dialect))
    shown["verdicts_unique"] = (VERDICTS.name, views.newest_verdicts_sql)
    shown["filter_counts_unique"] = (FILTER_COUNTS.name, views.newest_filter_counts_sql)
    shown["filter_history_unique"] = (FILTER_HISTORY.name, views.newest_history_sql)
    shown["outbox_open"] = (OUTBOX.name, views.open_outbox_sql)
    return {name: (table, sql(named(table))) for name, (table, sql) in shown.items()}
