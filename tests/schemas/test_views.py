"""Views: which of several packets of one alert a reader sees, and which dead letters are still open."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import duckdb
import numpy as np
import pytest

from schemas.views import newest_last, nights_sql, objects_sql, open_letters_sql, runs_by_sql, unique_alerts_sql

EARLY, LATE = "2026-03-10 04:00:00+00", "2026-03-10 05:00:00+00"
DIGESTS = [b"\x00", b"\x01", b"\x7f", b"\x80", b"\xff"]


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE x (alert_id BIGINT, published_at TIMESTAMPTZ, schema_version VARCHAR, packet_digest BLOB, "
            "ingested_at TIMESTAMPTZ)"
        )
        yield connection


def seen(database: duckdb.DuckDBPyConnection, *packets: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """What the view shows of packets given as (alert_id, published_at, schema_version, packet_digest, ingested_at)."""
    database.execute("DELETE FROM x")
    for packet in packets:
        database.execute("INSERT INTO x VALUES (?, ?, ?, ?, ?)", packet)
    columns = "alert_id, published_at IS NULL, schema_version, packet_digest"
    return database.sql(f"SELECT {columns} FROM ({unique_alerts_sql('x', 'duckdb')}) ORDER BY alert_id").fetchall()


def winner(database: duckdb.DuckDBPyConnection, *packets: tuple[Any, ...]) -> int:
    """Which of the packets of one alert the view shows, in whatever order they came."""
    found = set()
    for order in itertools.permutations(enumerate(packets)):
        marked = [(7, published, version, digest, ingested) for _, (published, version, digest, ingested) in order]
        ((_, is_null, version, digest),) = seen(database, *marked)
        matching = [n for n, one in enumerate(packets) if (one[0] is None, one[1], one[2]) == (is_null, version, digest)]
        found.add(matching[0])
    (only,) = found
    return only


def test_every_alert_is_seen_once(database):
    packets = [(1, None, "4.02", b"a", EARLY), (1, None, "4.02", b"a", LATE), (2, None, "4.02", b"b", EARLY)]
    assert [row[0] for row in seen(database, *packets)] == [1, 2]


def test_the_packet_published_last_is_seen_whatever_its_version(database):
    assert winner(database, (EARLY, "11.1", b"\xff", EARLY), (LATE, "9.0", b"\x00", EARLY)) == 1


def test_a_packet_from_a_file_stands_behind_any_that_was_published(database):
    assert winner(database, (None, "11.1", b"\xff", LATE), (EARLY, "9.0", b"\x00", EARLY)) == 1


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("9.0", "10.0"),
        ("4.01", "4.02"),
        ("3.3", "4.02"),
        ("7.4", "7.10"),
        ("0.1", "0.1.1"),
        ("1", "1.0"),
        ("", "0.1"),
        (None, "0.1"),
        ("abc", "0.1"),
        ("v4.02", "0.1"),
        ("3.x", "3.0"),
        ("..", "1"),
        ("99999999999999999999.0", "1.0"),
    ],
)
def test_the_higher_version_is_seen_and_versions_are_numbers(database, lower, higher):
    assert winner(database, (None, lower, b"\xff", LATE), (None, higher, b"\x00", EARLY)) == 1


@pytest.mark.parametrize("version", ["4.02", "", None, "abc"])
def test_of_equals_the_one_with_the_highest_digest_is_seen(database, version):
    packets = [(None, version, digest, EARLY) for digest in DIGESTS]
    assert winner(database, *packets) == len(DIGESTS) - 1


def test_when_it_was_ingested_plays_no_part(database):
    for early, late in ((EARLY, LATE), (LATE, EARLY)):
        assert winner(database, (None, "4.02", b"\x01", early), (None, "4.02", b"\x02", late)) == 1


def test_both_dialects_say_the_same():
    ours, theirs = unique_alerts_sql("`p.d.x`", "bigquery"), unique_alerts_sql("x", "duckdb")
    assert "SAFE_CAST(SPLIT(CONCAT(COALESCE(schema_version, ''), '...'), '.')[ORDINAL(1)] AS INT64)" in ours
    assert "TRY_CAST(SPLIT(CONCAT(COALESCE(schema_version, ''), '...'), '.')[1] AS INT64)" in theirs
    for sql in (ours, theirs):
        assert "ingested_at" not in sql
        assert "PARTITION BY alert_id ORDER BY published_at DESC NULLS LAST" in sql


def test_a_dead_letter_is_open_until_it_was_replayed_and_again_when_it_failed_again(database):
    database.execute("CREATE TABLE letters (stage VARCHAR, attributes VARCHAR, failed_at TIMESTAMPTZ)")
    for stage, letter, failed_at in (
        ("read", "a", EARLY),
        ("read", "b", EARLY),
        ("replayed", "b", LATE),
        ("replayed", "c", EARLY),
        ("decode", "c", LATE),
        ("read", "d", EARLY),
        ("decode", "d", LATE),
    ):
        database.execute("INSERT INTO letters VALUES (?, ?, ?)", (stage, f'{{"letter": "{letter}"}}', failed_at))
    query = open_letters_sql("letters", "duckdb")
    found = database.sql(f"SELECT attributes->>'letter', stage FROM ({query}) ORDER BY 1").fetchall()
    assert found == [("a", "read"), ("c", "decode"), ("d", "decode")]


def test_nights_are_named_in_constants() -> None:
    day = date(2026, 11, 23)
    assert nights_sql([]) == "night IS NULL"
    assert nights_sql({day, date(2026, 1, 2)}) == "night IN (DATE '2026-01-02', DATE '2026-11-23')"
    many = [day + timedelta(days=2 * number) for number in range(4000)]
    assert nights_sql(many) == f"night BETWEEN DATE '{many[0]}' AND DATE '{many[-1]}'"


@pytest.mark.parametrize("wild", ["it's", "back\\slash", "line\nbreak", "{object_id}", "zero\0"])
def test_objects_are_named_where_their_names_stand_between_quotes_as_they_are(wild: str) -> None:
    assert objects_sql(["b", "a", "a"]) == "(object_id IN ('a', 'b'))"
    assert objects_sql(["a", None]) == "(object_id IN ('a') OR object_id IS NULL)"
    assert objects_sql([None]) == "(object_id IS NULL)"
    assert objects_sql([wild, "a"]) == objects_sql([]) == objects_sql([str(number) for number in range(501)]) == "TRUE"


def test_rows_in_memory_are_ordered_as_by_sql() -> None:
    random = np.random.default_rng(1)
    versions = [None, "", "3.3", "4.02", "4.2", "4.10", "10.0", "4.2.1.9", "007", "999999999999999999"]
    assert newest_last(None, "v7_4", b"") is None
    times = [None, *(datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))]
    rows = [
        (
            alert_id,
            times[random.integers(len(times))],
            versions[random.integers(len(versions))],
            bytes([number // 256, number % 256]),
        )
        for alert_id in range(200)
        for number in random.permutation(6).tolist()
    ]
    with duckdb.connect() as database:
        database.execute("CREATE TABLE x (alert_id BIGINT, published_at TIMESTAMPTZ, schema_version TEXT, packet_digest BLOB)")
        database.executemany("INSERT INTO x VALUES ($1, $2, $3, $4)", rows)
        found = database.sql(f"SELECT alert_id, packet_digest FROM ({unique_alerts_sql('x', 'duckdb')})").fetchall()
    greatest = {}
    for alert_id, *about in rows:
        greatest[alert_id] = max(greatest.get(alert_id, about), about, key=lambda each: newest_last(*each) or ())
    assert dict(found) == {alert_id: about[2] for alert_id, about in greatest.items()}


RUNS = [
    # started_at, ended_at, status, records, alerts, letters
    ("2026-11-29 02:59:59.5+00", "2026-11-29 03:00:10+00", "done", 10, 9, 1),
    ("2026-11-29 03:00:00+00", "2026-11-29 03:00:02+00", "failed", 5, 5, 0),
    ("2026-11-29 03:30:00+00", "2026-11-29 03:30:04+00", "done", 7, 7, 0),
    ("2026-11-29 15:59:59+00", "2026-11-29 16:00:00+00", "done", 1, 1, 0),
    ("2026-11-29 16:00:00+00", "2026-11-29 16:00:01+00", "done", 2, 2, 0),
]


def by(database: duckdb.DuckDBPyConnection, unit: str, columns: str) -> list[tuple[Any, ...]]:
    """Of the runs above, by hour or night, seen from a place far from UTC."""
    database.execute("SET TimeZone = 'Asia/Tokyo'")
    database.execute(
        "CREATE TABLE runs (started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, status VARCHAR, records_read BIGINT, "
        "alerts_written BIGINT, dead_letters BIGINT, copies BIGINT DEFAULT 0, conflicts BIGINT DEFAULT 0)"
    )
    database.executemany("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, 0, 0)", RUNS)
    return database.sql(f"SELECT {columns} FROM ({runs_by_sql('runs', unit, 'duckdb')}) ORDER BY 1").fetchall()


def test_runs_are_told_by_the_hour_in_which_they_began(database):
    found = by(database, "hour", "epoch(hour)::BIGINT // 3600 % 24, runs, failed, records_read, run_secs, longest_secs")
    assert found == [
        (2, 1, 0, 10, 10.5, 10.5),
        (3, 2, 1, 12, 6.0, 4.0),
        (15, 1, 0, 1, 1.0, 1.0),
        (16, 1, 0, 2, 1.0, 1.0),
    ]


def test_a_night_of_runs_begins_when_it_is_day_in_california_and_in_chile(database):
    found = by(database, "night", "night, runs, alerts_written, dead_letters")
    assert found == [(date(2026, 11, 28), 4, 22, 1), (date(2026, 11, 29), 1, 2, 0)]
