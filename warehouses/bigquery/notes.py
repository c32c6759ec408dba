"""What the table ``unit_streams`` tells: which runs have written a unit, and whether their rows are still there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from google.cloud import bigquery

from alerts.surveys import SURVEYS
from alerts.tables import own_tables
from schemas.tables import DEAD_LETTERS, UNIT_STREAMS
from schemas.views import json_text_sql
from warehouses.bigquery.written_streams import Noted
from warehouses.letters import failed_since
from warehouses.standing import Standing, began
from warehouses.units import Unit, printable

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse

_TABLE = UNIT_STREAMS.name


def noted_of(client: bigquery.Client, dataset: str, units: Collection[str]) -> dict[tuple[str, str], list[Noted]]:
    """By unit and table, what runs have noted of units, each by itself.

    Of a run that died between two requests with notes some streams may not be noted: it has committed none, and is left out.
    """
    if not units:
        return {}
    sql = (
        "SELECT unit, table_name, written_by, write_stream, MAX(stream_count) AS stream_count, "
        "MAX(row_count) AS row_count, MAX(digest) AS digest, "
        "MIN(first_night) AS first_night, MAX(last_night) AS last_night, MIN(noted_at) AS noted_at, "
        f"LOGICAL_OR(committed) AS committed FROM `{client.project}.{dataset}.{_TABLE}` "
        "WHERE unit IN UNNEST(@units) GROUP BY 1, 2, 3, 4"
    )
    parts: dict[tuple[str, str, str], list[bigquery.Row]] = defaultdict(list)
    for row in _ask(client, sql, units=sorted(units)):
        parts[row["unit"], row["table_name"], row["written_by"]].append(row)
    found: dict[tuple[str, str], list[Noted]] = defaultdict(list)
    for (unit, table, run), some in sorted(parts.items()):
        first = some[0]
        if len(some) < first["stream_count"]:
            continue
        noted = Noted(
            run,
            tuple(sorted(row["write_stream"] for row in some)),
            first["row_count"],
            int(first["digest"], 16),
            None if first["first_night"] is None else (first["first_night"], first["last_night"]),
            min(row["noted_at"] for row in some),
            committed=all(row["committed"] for row in some),
        )
        found[unit, table].append(noted)
    return found


def rows_gone(client: bigquery.Client, dataset: str, runs: Collection[str]) -> set[tuple[str, str]]:
    """Runs and tables that have fewer rows than were committed: somebody has deleted some, and wants them again.

    Stamps and features go with the alerts of their survey: those do not say which run wrote them, these may be computed again.
    """
    sql = (
        "SELECT table_name, SUM(row_count) AS row_count, MIN(first_night) AS first_night, MAX(last_night) AS last_night FROM "
        f"(SELECT DISTINCT unit, table_name, row_count, first_night, last_night FROM `{client.project}.{dataset}.{_TABLE}` "
        "WHERE written_by = @run_id AND committed) GROUP BY 1"
    )
    gone = set()
    for run in sorted(runs):
        for row in _ask(client, sql, run_id=run):
            table, place = row["table_name"], f"`{client.project}.{dataset}.{row['table_name']}`"
            if table.endswith("_alerts"):
                between = f"night BETWEEN DATE '{row['first_night']}' AND DATE '{row['last_night']}'"
                there = _ask(client, f"SELECT COUNT(*) AS n FROM {place} WHERE run_id = @run_id AND {between}", run_id=run)
            elif table == DEAD_LETTERS.name:
                of_run = f"{json_text_sql('attributes', 'run_id', 'bigquery')} = @run_id"
                since = failed_since(began(run, (), datetime.now(timezone.utc)))
                of_days = "failed_at >= @since AND stage <> 'replayed'"
                there = _ask(client, f"SELECT COUNT(*) AS n FROM {place} WHERE {of_days} AND {of_run}", run_id=run, since=since)
            else:
                continue
            if there[0]["n"] < row["row_count"]:
                gone |= {(run, name) for name in _going_with(table)}
    return gone


def _going_with(table: str) -> list[str]:
    """A table, and those whose rows go with its own."""
    own = [[own.name for own in own_tables(survey)] for survey in SURVEYS.values()]
    return next((names for names in own if names[0] == table), [table])


def _ask(client: bigquery.Client, sql: str, **values: Any) -> list[bigquery.Row]:
    parameters: list[Any] = []
    for name, value in values.items():
        if isinstance(value, list):
            parameters.append(bigquery.ArrayQueryParameter(name, "STRING", value))
        else:
            kind = "TIMESTAMP" if isinstance(value, datetime) else "STRING"
            parameters.append(bigquery.ScalarQueryParameter(name, kind, value))
    return list(client.query(sql, job_config=bigquery.QueryJobConfig(query_parameters=parameters)).result())


def standing_for(warehouse: Warehouse, run_id: str, units: Iterable[Unit]) -> tuple[Standing, ...]:
    """Whose rows stand for those of a run, by table. ``units`` are asked for only where a run had written others beside."""
    if _TABLE not in warehouse.tables:
        return ()
    own = (
        f"SELECT DISTINCT table_name, written_by, unit FROM {_TABLE} "
        "WHERE run_id = {run_id} AND committed AND written_by <> {run_id}"
    )
    ours: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in warehouse.ask(own, {"run_id": run_id}).read().to_pylist():
        ours[row["table_name"], row["written_by"]].add(row["unit"])
    if not ours:
        return ()
    theirs: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in sorted({run for _, run in ours}):
        all_of_run = f"SELECT DISTINCT table_name, unit FROM {_TABLE} WHERE written_by = {{run_id}}"
        for row in warehouse.ask(all_of_run, {"run_id": run}).read().to_pylist():
            theirs[row["table_name"], run].add(row["unit"])
    # As rows say where they are from.
    inputs = {unit.key: [printable(uri) for uri in unit.sources or unit.inputs] for unit in units}
    return tuple(
        Standing(
            table,
            run,
            None if theirs[table, run] <= some else tuple(uri for unit in sorted(some) for uri in inputs.get(unit, ())),
        )
        for (table, run), some in sorted(ours.items())
    )
