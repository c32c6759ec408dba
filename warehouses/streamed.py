"""What a warehouse knows of the streams that are written into it, wherever they run: by ``runs`` and ``offsets``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from schemas.tables import FAILED, OFFSETS
from schemas.views import json_text_sql
from warehouses.warehouse import Warehouse

LOOK_BACK = timedelta(days=7)
"""What lies farther back is not looked at: a warehouse has years of rounds."""
KINDS = ("kafka_group", "watch", "subscription", "topic")
"""The options of a run of which it is a round, and by whose value it is known whose."""


@dataclass(frozen=True)
class Period:
    """What came in some time."""

    rounds: int
    failed: int
    records: int
    """Messages, or records of files."""
    alerts: int
    letters: int


@dataclass(frozen=True)
class LastRound:
    """The newest round of a stream."""

    run_id: str
    status: str
    started_at: datetime
    ended_at: datetime
    records: int
    alerts: int
    letters: int


@dataclass(frozen=True)
class StreamKnown:
    """A stream whose rounds are in ``runs``."""

    kind: str
    """Of ``KINDS``."""
    name: str
    last: LastRound
    hour: Period
    day: Period
    catalogs: tuple[str, ...]
    """Those that its newest round was to ask."""


@dataclass(frozen=True)
class Group:
    """How far a group has read Kafka."""

    cluster_id: str
    group: str
    committed_at: datetime
    """When rows of it came last."""
    done: Mapping[tuple[str, int], int]
    """By topic and partition, the offset at which it goes on."""


@dataclass(frozen=True)
class Backlog:
    """Alerts of the last nights that a catalog has not answered about."""

    catalog: str
    unanswered: int
    alerts: int


def streams(warehouse: Warehouse, now: datetime) -> list[StreamKnown]:
    """The streams that had a round in ``LOOK_BACK``, by their names. Raises ``QueryError``."""
    values = {"since": now - LOOK_BACK, "day": now - timedelta(days=1), "hour": now - timedelta(hours=1)}
    named = {kind: json_text_sql("options", kind, warehouse.dialect) for kind in KINDS}
    of_streams = " OR ".join(f"{sql} IS NOT NULL" for sql in named.values())
    key = ", ".join(f"{sql} AS {kind}" for kind, sql in named.items())
    rows = f"SELECT *, {key} FROM runs WHERE started_at >= {{since}} AND ({of_streams})"
    partition = ", ".join(KINDS)
    newest = warehouse.ask(
        f"SELECT * FROM ({rows}) QUALIFY ROW_NUMBER() OVER (PARTITION BY {partition} ORDER BY started_at DESC, run_id) = 1",
        values,
    ).read()
    sums = warehouse.ask(f"SELECT {partition}, {_sums('hour')}, {_sums('day')} FROM ({rows}) GROUP BY {partition}", values).read()
    by_key = {_key(row): row for row in sums.to_pylist()}
    found = [_stream(row, by_key[_key(row)]) for row in newest.to_pylist()]
    return sorted(found, key=lambda known: (known.kind, known.name))


def _sums(period: str) -> str:
    """Columns with the sums of what began since a moment."""
    within = f"started_at >= {{{period}}}"
    summed = {
        "rounds": "1",
        "failed": "CASE WHEN status = 'done' THEN 0 ELSE 1 END",
        "records": "records_read",
        "alerts": "alerts_written",
        "letters": "dead_letters",
    }
    return ", ".join(f"SUM(CASE WHEN {within} THEN {sql} ELSE 0 END) AS {period}_{name}" for name, sql in summed.items())


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[kind] for kind in KINDS)


def _stream(row: Mapping[str, Any], sums: Mapping[str, Any]) -> StreamKnown:
    kind = next(kind for kind in KINDS if row[kind] is not None)
    options = json.loads(row["options"])
    last = LastRound(
        row["run_id"],
        row["status"],
        row["started_at"],
        row["ended_at"],
        row["records_read"],
        row["alerts_written"],
        row["dead_letters"],
    )
    catalogs = tuple(spec.partition("?")[0] for spec in options.get("crossmatch") or [])
    return StreamKnown(kind, row[kind], last, _period(sums, "hour"), _period(sums, "day"), catalogs)


def _period(sums: Mapping[str, Any], name: str) -> Period:
    return Period(**{count: int(sums[f"{name}_{count}"]) for count in ("rounds", "failed", "records", "alerts", "letters")})


def groups(warehouse: Warehouse) -> list[Group]:
    """The groups that read Kafka into it. Raises ``QueryError``."""
    if OFFSETS.name not in warehouse.tables:
        return []
    columns = "MAX(end_offset) AS end_offset, MAX(committed_at) AS committed_at"
    sql = f"SELECT cluster_id, kafka_group, topic, kafka_partition, {columns} FROM {OFFSETS.name} GROUP BY 1, 2, 3, 4"
    found: dict[tuple[str, str], tuple[dict[tuple[str, int], int], list[datetime]]] = {}
    for row in warehouse.ask(sql).read().to_pylist():
        done, times = found.setdefault((row["cluster_id"], row["kafka_group"]), ({}, []))
        times.append(row["committed_at"])
        # What a group had nowhere to begin at has no topic.
        if row["topic"]:
            done[row["topic"], row["kafka_partition"]] = row["end_offset"]
    return [Group(cluster, group, max(times), done) for (cluster, group), (done, times) in sorted(found.items())]


def letters(warehouse: Warehouse, now: datetime) -> dict[str, int]:
    """By stage, the dead letters of ``LOOK_BACK``, those that were replayed since among them. Raises ``QueryError``."""
    sql = "SELECT stage, COUNT(*) AS n FROM dead_letters WHERE failed_at >= {since} AND stage <> 'replayed' GROUP BY 1 ORDER BY 1"
    rows = warehouse.ask(sql, {"since": now - LOOK_BACK}).read().to_pylist()
    return {row["stage"]: row["n"] for row in rows}


def backlogs(warehouse: Warehouse, catalogs: list[str], now: datetime) -> list[Backlog]:
    """What catalogs have not answered about alerts of the nights of ``LOOK_BACK``. Raises ``QueryError``."""
    return [_backlog(warehouse, catalog, now) for catalog in catalogs]


def _backlog(warehouse: Warehouse, catalog: str, now: datetime) -> Backlog:
    values = {"catalog": catalog, "first": (now - LOOK_BACK).date()}
    alerts = unanswered = 0
    for survey in warehouse.surveys:
        own = f"SELECT DISTINCT alert_id FROM {survey.alerts_table.name} WHERE night >= {{first}} AND healpix29 IS NOT NULL"
        answered = (
            "SELECT alert_id FROM crossmatches WHERE night >= {first} AND catalog = {catalog} AND survey = {survey} "
            f"AND status <> '{FAILED}'"
        )
        sql = f"SELECT COUNT(*) AS alerts, SUM(CASE WHEN alert_id IN ({answered}) THEN 0 ELSE 1 END) AS unanswered FROM ({own})"
        (row,) = warehouse.ask(sql, {**values, "survey": survey.name}).read().to_pylist()
        alerts, unanswered = alerts + row["alerts"], unanswered + int(row["unanswered"] or 0)
    return Backlog(catalog, unanswered, alerts)
