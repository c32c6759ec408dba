"""What an audit reads of a warehouse: a few columns of some nights, a piece at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa

from alerts.surveys import SURVEYS
from schemas.filter_tables import PASSED
from schemas.tables import CUTOUTS
from schemas.views import json_text_sql, newest_matches_sql, nights_sql, open_letters_sql
from warehouses.letters import open_since
from warehouses.warehouse import Warehouse

ROWS_AT_ONCE = 50_000
_LETTERS_AT_ONCE = 64
_MD5 = {"duckdb": "md5(payload)", "bigquery": "TO_HEX(MD5(payload))"}


@dataclass(frozen=True)
class Nights:
    """Nights from ``first`` to ``last``, or just ``each``; every night where neither is given."""

    first: date | None = None
    last: date | None = None
    each: tuple[date, ...] | None = None

    @property
    def sql(self) -> str:
        """The condition on a column ``night``, in both dialects."""
        if self.first is not None and self.last is not None:
            return f"night BETWEEN DATE '{self.first}' AND DATE '{self.last}'"
        return "night IS NOT NULL" if self.each is None else nights_sql(self.each)

    @property
    def since(self) -> datetime:
        """Before which no run has written alerts of these nights."""
        first = self.first or (min(self.each) if self.each else date(2000, 1, 1))
        return datetime(first.year, first.month, first.day, tzinfo=UTC)


def surveys_with_rows(warehouse: Warehouse, nights: Nights) -> list[str]:
    """The surveys of which there are alerts in these nights."""
    return [
        name
        for name in SURVEYS
        if f"{name}_alerts" in warehouse.tables
        and warehouse.ask(f"SELECT night FROM {name}_alerts WHERE {nights.sql} LIMIT 1").read().num_rows
    ]


def nights_of_ids(warehouse: Warehouse, survey: str, first: int, last: int) -> Iterator[date]:
    """The nights of all alerts of a survey whose ids are between two."""
    if f"{survey}_alerts" in warehouse.tables:
        sql = f"SELECT DISTINCT night FROM {survey}_alerts WHERE alert_id BETWEEN {first} AND {last}"
        yield from warehouse.ask(sql).read().column("night").to_pylist()


def rows_sql(survey: str, nights: Nights) -> str:
    """Rows of ``{survey}_alerts``: who, with which contents, from where."""
    return (
        f"SELECT '{survey}' AS survey, alert_id, packet_digest, schema_version, source, night, "
        "healpix29 IS NOT NULL AS on_sky, published_at IS NULL AS from_file, run_id "
        f"FROM {survey}_alerts WHERE {nights.sql}"
    )


def cutouts_sql(warehouse: Warehouse, survey: str, nights: Nights, look: bool) -> str:
    """By packet the number of rows of ``{survey}_cutouts`` and, with ``look``, which stamps they hold (see ``RECORDS``)."""
    bits = [f"MAX(CASE WHEN {role} IS NULL THEN 0 ELSE {1 << number} END)" for number, role in enumerate(CUTOUTS)]
    table = f"{survey}_cutouts"
    digest = "packet_digest" if "packet_digest" in warehouse.columns_of(table) else "CAST(NULL AS BYTES) AS packet_digest"
    return (
        f"SELECT '{survey}' AS survey, alert_id, {digest}, COUNT(*) AS number, {' + '.join(bits) if look else '7'} AS stamps "
        f"FROM {table} WHERE {nights.sql} GROUP BY alert_id, packet_digest"
    )


def matches_sql(warehouse: Warehouse, nights: Nights) -> str:
    """Rows of ``crossmatches``, as far as they tell which is the newest of an alert and catalog, and what it says."""
    own = f"crossmatches WHERE {nights.sql}"
    if warehouse.dialect == "duckdb":
        # The newest are sought in the audit's own file, which need not fit into memory.
        return f"SELECT survey, alert_id, night, catalog, status, error, asked_at FROM {own}"
    # Not all columns: what a catalog has told takes a hundred times the room of the rest.
    narrow = (
        f"SELECT survey, alert_id, night, catalog, status, error, asked_at, radius_arcsec, ra_deg, dec_deg, object_id FROM {own}"
    )
    return f"SELECT survey, alert_id, night, catalog, status, error FROM ({newest_matches_sql(f'({narrow})')})"


def filter_counts_sql(nights: Nights) -> str:
    """What the filters of each run said of each night; a part that BigQuery took twice is one."""
    sums = ", ".join(f"SUM({name}) AS {name}" for name in ("seen", "passed", "failed", "rejected"))
    rows = f"SELECT DISTINCT * FROM filter_counts WHERE {nights.sql}"
    return f"SELECT {_OF_FILTER}, {sums} FROM ({rows}) GROUP BY {_OF_FILTER}"


def verdicts_sql(nights: Nights) -> str:
    """How many rows of ``verdicts`` each run has written of each filter and night."""
    return (
        f"SELECT {_OF_FILTER}, COUNT(*) AS number FROM verdicts WHERE {nights.sql} AND status <> 'rejected' GROUP BY {_OF_FILTER}"
    )


def passed_sql(nights: Nights) -> str:
    """What each filter has passed in each run, an alert as often as it came."""
    of = "run_id, survey, filter, filter_version, alert_id"
    return f"SELECT {of} FROM verdicts WHERE {nights.sql} AND status = '{PASSED}'"


OUTBOX_SQL = (
    "SELECT id, topic, run_id, sent_at IS NOT NULL AS sent, error IS NOT NULL AS refused FROM outbox WHERE written_at >= {since}"
)
"""Rows of ``outbox`` since a time, without what they carry."""
MANIFESTS_SQL = "SELECT payload FROM outbox WHERE topic = {topic} AND payload IS NOT NULL AND written_at >= {since}"
"""The manifests that were, or are to be, sent to a topic of manifests since a time."""
RUNS_SQL = "SELECT run_id, options, counts FROM runs WHERE started_at >= {since}"
"""Options and counts of the runs since a time."""

_OF_FILTER = "run_id, night, survey, filter, filter_version"


def letters_sql(warehouse: Warehouse) -> str:
    """The open dead letters, of which none has failed before ``{since}``, each payload by its MD5."""
    # As dead_letters_open, but nothing ever holds the payloads of all letters.
    narrow = (
        f"(SELECT stage, error_type, message, survey, source, {_MD5[warehouse.dialect]} AS payload_md5, attributes, failed_at "
        "FROM dead_letters WHERE failed_at >= {since})"
    )
    letter, table = (json_text_sql("attributes", key, warehouse.dialect) for key in ("letter", "table"))
    return (
        f"SELECT stage, error_type, message, survey, source, payload_md5, {letter} AS letter, {table} AS refused_by "
        f"FROM ({open_letters_sql(narrow, warehouse.dialect)})"
    )


def payloads(warehouse: Warehouse, wanted: set[str]) -> Iterator[pa.RecordBatch]:
    """Stage, source and payload of the open letters with these ids; one that failed again may come again."""
    letter = json_text_sql("attributes", "letter", warehouse.dialect)
    kept = "failed_at >= {since} AND payload IS NOT NULL AND stage <> 'replayed'"
    sql = f"SELECT stage, source, payload, {letter} AS letter FROM dead_letters WHERE {kept}"
    for batch in warehouse.ask(sql, {"since": open_since(warehouse)}, rows_at_once=_LETTERS_AT_ONCE):
        chosen = pa.array([letter in wanted for letter in batch.column("letter").to_pylist()], pa.bool_())
        if chosen.true_count:
            yield batch.filter(chosen)


def runs_sql(warehouse: Warehouse) -> str:
    """The batch runs, and whether they wrote cutouts."""
    said = json_text_sql("options", "cutouts", warehouse.dialect)
    return f"SELECT run_id, COALESCE({said}, 'true') <> 'false' AS cutouts FROM runs"


def wrongly_shown_sql(survey: str, nights: Nights) -> str:
    """Alerts that ``{survey}_alerts_unique`` shows more than once, or not at all."""
    return (
        f"SELECT '{survey}' AS survey, own.alert_id AS alert_id, COALESCE(shown.number, 0) AS number "
        f"FROM (SELECT DISTINCT alert_id FROM {survey}_alerts WHERE {nights.sql}) AS own "
        f"LEFT JOIN (SELECT alert_id, COUNT(*) AS number FROM {survey}_alerts_unique GROUP BY alert_id) "
        "AS shown ON own.alert_id = shown.alert_id WHERE COALESCE(shown.number, 0) <> 1"
    )
