"""SQL of the views that stand beside the tables, one text for DuckDB and BigQuery."""

from __future__ import annotations

from typing import Literal

Dialect = Literal["duckdb", "bigquery"]

_JSON_TEXT = {"duckdb": "json_extract_string({}, '$.{}')", "bigquery": "JSON_VALUE({}, '$.{}')"}
# What the two dialects spell differently: where lists start, and the cast that gives NULL instead of an error.
_LIST_ITEM = {"duckdb": "[{}]", "bigquery": "[ORDINAL({})]"}
_SAFE_CAST = {"duckdb": "TRY_CAST", "bigquery": "SAFE_CAST"}


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


def newest_matches_sql(table: str) -> str:
    """A query with the newest row per alert and catalog of ``table``: what ``crossmatches_unique`` shows, in both dialects.

    Rows of one instant (a packet that was sent twice) are told apart by all that can differ in them.
    """
    order = "asked_at DESC, status, radius_arcsec, ra_deg, dec_deg, object_id"
    return f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY survey, alert_id, catalog ORDER BY {order}) = 1"


def open_letters_sql(table: str, dialect: Dialect) -> str:
    """A query with the newest row of each dead letter that has not become rows since: ``dead_letters_open``.

    A letter that failed again in a replay has several rows in ``table``, its history.
    """
    letter = json_text_sql("attributes", "letter", dialect)
    newest = f"SELECT * FROM {table} QUALIFY ROW_NUMBER() OVER (PARTITION BY {letter} ORDER BY failed_at DESC) = 1"
    return f"SELECT * FROM ({newest}) WHERE stage <> 'replayed'"


def json_text_sql(column: str, key: str, dialect: Dialect) -> str:
    """The text under a key of a JSON column."""
    return _JSON_TEXT[dialect].format(column, key)
