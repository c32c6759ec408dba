"""SQL of the views that stand beside the tables, one text for DuckDB and BigQuery."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date, datetime
from typing import Any, Literal

Dialect = Literal["duckdb", "bigquery"]

_JSON_TEXT = {"duckdb": "json_extract_string({}, '$.{}')", "bigquery": "JSON_VALUE({}, '$.{}')"}
# What the two dialects spell differently: where lists start, and the cast that gives NULL instead of an error.
_LIST_ITEM = {"duckdb": "[{}]", "bigquery": "[ORDINAL({})]"}
_MOST_NIGHTS = 400
MOST_OBJECTS = 500
"""More objects than this are not named one by one."""
_PLAIN_NUMBER = re.compile("[0-9]{0,18}")
_SAFE_CAST = {"duckdb": "TRY_CAST", "bigquery": "SAFE_CAST"}
_HOUR = {"duckdb": "date_trunc('hour', started_at)", "bigquery": "TIMESTAMP_TRUNC(started_at, HOUR)"}
_NIGHT = {
    "duckdb": "CAST(started_at AT TIME ZONE 'UTC' - INTERVAL 16 HOUR AS DATE)",
    "bigquery": "DATE(TIMESTAMP_SUB(started_at, INTERVAL 16 HOUR))",
}
_RUN_SECS = {
    "duckdb": "(epoch_ms(ended_at) - epoch_ms(started_at)) / 1000",
    "bigquery": "TIMESTAMP_DIFF(ended_at, started_at, MILLISECOND) / 1000",
}


def unique_alerts_sql(table: str, dialect: Dialect) -> str:
    """A query with one row per ``alert_id`` of ``table`` (a quoted name): what ``{survey}_alerts_unique`` shows.

    Latest ``published_at`` first (NULL last), then the highest ``schema_version`` compared as numbers part by part, then
    the ``packet_digest``. ``ingested_at`` takes no part: a replay must not change what readers see.
    """
    parts = [
        f"COALESCE({_SAFE_CAST[dialect]}(SPLIT(CONCAT(COALESCE(schema_version, ''), '...'), '.')"
        f"{_LIST_ITEM[dialect].format(number)} AS INT64), -1) DESC"
        for number in (1, 2, 3)
    ]
    order = ", ".join(["published_at DESC NULLS LAST", *parts, "packet_digest DESC"])
    return f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY alert_id ORDER BY {order}) = 1"


def newest_last(published_at: datetime | None, schema_version: str | None, packet_digest: bytes) -> tuple[Any, ...] | None:
    """The same order for rows in memory: of an alert's rows the one with the greatest is shown.

    None for a version whose parts are not plain numbers: what a number is databases decide.
    """
    parts = [*f"{schema_version or ''}...".split(".")[:3]]
    if not all(_PLAIN_NUMBER.fullmatch(part) for part in parts):
        return None
    return published_at is not None, published_at, *(int(part or -1) for part in parts), packet_digest


def newest_features_sql(table: str) -> str:
    """A query with the newest row of each packet of ``table``: what ``{survey}_features_unique`` shows, in both dialects."""
    order = "computed_at DESC, run_id DESC"
    return f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY alert_id, packet_digest ORDER BY {order}) = 1"


def newest_matches_sql(table: str) -> str:
    """A query with the newest row per alert and catalog of ``table``: what ``crossmatches_unique`` shows, in both dialects.

    Rows of one instant (a packet that was sent twice) are told apart by all that can differ in them.
    """
    order = "asked_at DESC, status, radius_arcsec, ra_deg, dec_deg, object_id"
    return f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY survey, alert_id, catalog ORDER BY {order}) = 1"


def newest_verdicts_sql(table: str) -> str:
    """A query with the newest row of each packet, filter and version of ``table``, where that was not rejected since.

    What ``verdicts_unique`` shows.
    """
    keys, order = "survey, alert_id, packet_digest, filter, filter_version", "decided_at DESC, run_id DESC"
    newest = f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"
    return f"SELECT * FROM ({newest}) WHERE status <> 'rejected'"


def newest_filter_counts_sql(table: str) -> str:
    """A query with what the newest run of each unit has counted, of ``table``: what ``filter_counts_unique`` shows.

    All parts of what came as messages count, which no run reads again. Who was asked about all of a night that was there (the
    unit ``night``) stands for all that was counted before. A part that BigQuery took twice is one.
    """
    of_filter = "PARTITION BY night, survey, filter, filter_version"
    of_unit = f"{of_filter}, unit"
    again = f"run_id >= COALESCE(MAX(CASE WHEN unit = 'night' THEN run_id END) OVER ({of_filter}), '')"
    newest = f"{again} AND (run_id = MAX(run_id) OVER ({of_unit}) OR unit = 'stream')"
    each = f"ROW_NUMBER() OVER ({of_unit}, run_id, part ORDER BY seen) = 1"
    return f"SELECT * FROM {table} QUALIFY ({newest}) AND {each}"


def newest_history_sql(table: str) -> str:
    """A query with one row of each filter, version and time it was asked from, of ``table``: ``filter_history_unique``."""
    keys, order = "filter, filter_version, valid_from", "valid_until DESC NULLS LAST"
    return f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"


def open_outbox_sql(table: str) -> str:
    """A query with one row of each message of ``table`` that no row has closed: what ``outbox_open`` shows, in both dialects."""
    closed = f"SELECT id, topic FROM {table} WHERE sent_at IS NOT NULL OR error IS NOT NULL"
    left = f"SELECT o.* FROM {table} AS o LEFT JOIN ({closed}) AS c ON c.id = o.id AND c.topic = o.topic"
    first = "QUALIFY ROW_NUMBER() OVER (PARTITION BY o.id, o.topic ORDER BY o.written_at, o.run_id) = 1"
    return f"{left} WHERE o.sent_at IS NULL AND o.error IS NULL AND c.id IS NULL {first}"


def open_letters_sql(table: str, dialect: Dialect) -> str:
    """A query with the newest row of each dead letter that has not become rows since: ``dead_letters_open``.

    A letter that failed again in a replay has several rows in ``table``, its history.
    """
    letter = json_text_sql("attributes", "letter", dialect)
    newest = f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY {letter} ORDER BY failed_at DESC) = 1"
    return f"SELECT * FROM ({newest}) WHERE stage <> 'replayed'"


def runs_by_sql(table: str, unit: Literal["hour", "night"], dialect: Dialect) -> str:
    """A query with the runs of each hour or night, as they began, in one row: ``runs_by_hour``, ``runs_by_night``.

    A night begins at 16:00 UTC, when it is day in California and in Chile, and has the date of that moment.
    """
    key = {"hour": _HOUR, "night": _NIGHT}[unit][dialect]
    sums = [f"SUM({name}) AS {name}" for name in ("records_read", "alerts_written", "copies", "conflicts", "dead_letters")]
    columns = [
        f"{key} AS {unit}",
        "COUNT(*) AS runs",
        "SUM(CASE WHEN status = 'done' THEN 0 ELSE 1 END) AS failed",
        *sums,
        f"SUM({_RUN_SECS[dialect]}) AS run_secs",
        f"MAX({_RUN_SECS[dialect]}) AS longest_secs",
        "MIN(started_at) AS first_started_at",
        "MAX(ended_at) AS last_ended_at",
    ]
    return f"SELECT {', '.join(columns)} FROM {table} GROUP BY 1"


def nights_sql(nights: Collection[date]) -> str:
    """The condition that ``night`` is one of these: in constants, for which BigQuery leaves the other nights' partitions out.

    Of very many, whose list would fill the SQL, that it is from the first of them to the last.
    """
    if not nights:
        return "night IS NULL"
    if len(nights) > _MOST_NIGHTS:
        return f"night BETWEEN DATE '{min(nights)}' AND DATE '{max(nights)}'"
    days = ", ".join(f"DATE '{night}'" for night in sorted(nights))
    return f"night IN ({days})"


def objects_sql(object_ids: Collection[str | None]) -> str:
    """The condition that ``object_id`` is one of these, by which tables are clustered; TRUE where they cannot be named in SQL.

    It narrows down what is read, and nothing else may depend on it.
    """
    texts = sorted({text for text in object_ids if text is not None})
    if not object_ids or len(texts) > MOST_OBJECTS or not all(map(_is_plain, texts)):
        return "TRUE"
    listed = ", ".join(f"'{text}'" for text in texts)
    named = [f"object_id IN ({listed})"] if texts else []
    without = ["object_id IS NULL"] if None in object_ids else []
    return f"({' OR '.join(named + without)})"


def _is_plain(text: str) -> bool:
    """Whether a text stands between quotes as it is. What a packet calls its object is anybody's choice."""
    return text.isprintable() and not set(text) & set("'\\{}")


def json_text_sql(column: str, key: str, dialect: Dialect) -> str:
    """The text under a key of a JSON column."""
    return _JSON_TEXT[dialect].format(column, key)
