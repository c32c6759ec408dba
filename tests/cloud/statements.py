"""What Google's client sent to BigQuery, and what its statements would make BigQuery read: by the SQL, as no emulator bills."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlglot
from sqlglot import exp

from alerts.surveys import SURVEYS
from schemas import Table
from schemas.tables import BIGQUERY_TABLES, READ_TABLES, RUNS
from tests.emulators.cloud import Cloud
from warehouses.bigquery.tables import tables_of

DIVIDED: dict[str, Table] = {
    table.name: table for table in tables_of(SURVEYS) if table not in (*READ_TABLES, RUNS, *BIGQUERY_TABLES)
}
"""The tables that are divided by night, or by the day of a failure."""
VIEWS = {**{f"{name}_alerts_unique": f"{name}_alerts" for name in SURVEYS}, "crossmatches_unique": "crossmatches"}
VIEWS |= {f"{name}_features_unique": f"{name}_features" for name in SURVEYS}
VIEWS["dead_letters_open"] = "dead_letters"


@dataclass
class Sent:
    """The query jobs of one command."""

    jobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def statements(self) -> list[str]:
        return [job["query"] for job in self.jobs]


@contextlib.contextmanager
def sent(cloud: Cloud) -> Iterator[Sent]:
    """The query jobs that are sent as long as the context lasts; they are there when it has ended."""
    found, before = Sent(), len(cloud.faults.exchanges)
    yield found
    jobs = [json.loads(one.job) for one in cloud.faults.exchanges[before:] if one.job]
    # As jobs.insert has it, beside other jobs, and as jobs.query has it.
    found.jobs = [job.get("configuration", {"query": job}).get("query") for job in jobs]
    found.jobs = [job for job in found.jobs if job is not None]


@dataclass(frozen=True)
class Reading:
    """One table or view that stands in a FROM."""

    table: str
    columns: frozenset[str]
    """Those that the SELECT around it names; ``*`` where it takes all."""
    named: bool
    """Whether that SELECT holds the column of the partitions against constants."""


def readings(sql: str) -> list[Reading]:
    """Each place where a statement reads a table that is divided."""
    found = []
    for table in sqlglot.parse_one(sql, dialect="bigquery").find_all(exp.Table):
        kept = DIVIDED.get(VIEWS.get(table.name, table.name))
        if kept is not None:
            select = table.find_ancestor(exp.Select)
            assert kept.partition_by is not None
            named = table.name in DIVIDED and any(_is_constant(one, kept.partition_by) for one in _conditions(select))
            found.append(Reading(table.name, frozenset(_columns(select)), named))
    return found


def _columns(select: exp.Select) -> Iterator[str]:
    for column in select.find_all(exp.Column, exp.Star):
        if column.find_ancestor(exp.Select) is select and not isinstance(column.parent, exp.Count):
            yield "*" if isinstance(column, exp.Star) else column.parts[0].name


def _conditions(select: exp.Select) -> Iterator[exp.Expression]:
    """What must hold for every row: the parts of the WHERE that AND joins."""
    where = select.args.get("where")
    waiting = [where.this] if where is not None else []
    while waiting:
        one = waiting.pop().unnest()
        if isinstance(one, exp.And):
            waiting += [one.left, one.right]
        else:
            yield one


def _is_constant(condition: exp.Expression, column: str) -> bool:
    """Whether a condition holds the column itself against values that stand in the statement, or come as parameters."""
    if not isinstance(condition, (exp.EQ, exp.GT, exp.GTE, exp.In, exp.Between, exp.Is)):
        return False
    asked, others = condition.this, [part for part in condition.iter_expressions() if part is not condition.this]
    if not isinstance(asked, exp.Column) or asked.name != column or not others:
        return False
    return not any(part.find(exp.Column, exp.Select, exp.Query) for part in others)
