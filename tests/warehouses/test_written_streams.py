"""Which run's streams stand for a unit, by what was noted of it: pure functions, no BigQuery."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pytest

from alerts.surveys import SURVEYS
from schemas.tables import DEAD_LETTERS
from warehouses.bigquery.partition_age import MOST_DAYS_AHEAD, MOST_DAYS_BACK, streamable
from warehouses.bigquery.row_digest import added, rows_digest
from warehouses.bigquery.written_streams import Choice, Noted, WrittenStream, both_spans, choose, noted_by_run

NOW = datetime(2026, 11, 29, tzinfo=timezone.utc)


def noted(run: str, *, committed: bool = False, minutes: int = 0, digest: int = 7, rows: int = 3) -> Noted:
    return Noted(run, (f"{run}/1", f"{run}/2"), rows, digest, None, NOW + timedelta(minutes=minutes), committed)


OWN = Choice("unit", "ztf_alerts", noted("own", minutes=60))


@pytest.mark.parametrize(
    ("others", "alive", "expected"),
    [
        ([], [], "own"),
        # The same rows, and they are there.
        ([noted("a", committed=True)], [], "a"),
        # The same rows, which can be committed yet; or no more.
        ([noted("a")], ["a/1", "a/2"], "a"),
        ([noted("a")], ["a/1"], "own"),
        ([noted("a")], [], "own"),
        # Other rows.
        ([noted("a", committed=True, digest=8)], [], "own"),
        ([noted("a", committed=True, rows=4)], [], "own"),
        # What is committed goes before what was first.
        ([noted("a"), noted("b", committed=True, minutes=5)], ["a/1", "a/2", "b/1", "b/2"], "b"),
        ([noted("b", minutes=5), noted("a")], ["a/1", "a/2", "b/1", "b/2"], "a"),
        # One's own among them.
        ([noted("a", minutes=61), noted("own", minutes=60)], ["a/1", "a/2", "own/1", "own/2"], "own"),
        ([noted("a", minutes=59), noted("own", minutes=60)], ["a/1", "a/2", "own/1", "own/2"], "a"),
        ([noted("a"), noted("own", minutes=60, committed=True)], ["a/1", "a/2"], "own"),
        # A clock that is behind changes nothing of whom two runs choose.
        ([noted("b"), noted("a")], ["a/1", "a/2", "b/1", "b/2"], "a"),
    ],
)
def test_whose_streams_stand(others: list[Noted], alive: list[str], expected: str) -> None:
    chosen = choose(OWN, others, alive)
    assert (chosen.unit, chosen.table, chosen.noted.run_id) == ("unit", "ztf_alerts", expected)


def test_a_units_streams_are_noted_together_in_whatever_order_they_came() -> None:
    nights = (date(2026, 9, 16), date(2026, 9, 18))
    streams = [
        WrittenStream("u", "ztf_alerts", "s2", 5, 2**64 - 1, (nights[1], nights[1])),
        WrittenStream("u", "ztf_alerts", "s1", 2, 3, (nights[0], nights[0])),
        WrittenStream("u", "dead_letters", "s3", 1, 9),
        WrittenStream("v", "ztf_alerts", "s4", 1, 1, (nights[0], nights[0])),
    ]
    found = noted_by_run(streams, "run", NOW)
    assert found == noted_by_run(streams[::-1], "run", NOW)
    assert [(choice.unit, choice.table) for choice in found] == [("u", "dead_letters"), ("u", "ztf_alerts"), ("v", "ztf_alerts")]
    alerts = found[1].noted
    assert (alerts.streams, alerts.row_count, alerts.digest, alerts.nights) == (("s1", "s2"), 7, 2, nights)
    assert found[0].noted.nights is None
    assert both_spans(None, None) is None


def alert_rows(digests: list[bytes], **others: list[object]) -> pa.RecordBatch:
    columns = {"packet_digest": pa.array(digests, pa.binary()), **{name: pa.array(values) for name, values in others.items()}}
    return pa.RecordBatch.from_pydict(columns)


def test_a_digest_is_of_the_packets_alone_and_adds_up() -> None:
    rng = np.random.default_rng(1)
    digests = [rng.bytes(16) for _ in range(50)]
    whole = rows_digest(alert_rows(digests, run_id=["a"] * 50))
    assert whole == rows_digest(alert_rows(digests[::-1], run_id=["b"] * 50))
    assert whole == added(
        rows_digest(alert_rows(digests[:20], run_id=["a"] * 20)), rows_digest(alert_rows(digests[20:], run_id=["c"] * 30))
    )
    assert whole != rows_digest(alert_rows([*digests[:-1], rng.bytes(16)], run_id=["a"] * 50))
    assert whole != rows_digest(alert_rows([*digests[:-1], digests[0]], run_id=["a"] * 50))
    # The same bytes written with another schema mean something else.
    versions = ["3.3"] * 49 + ["4.02"]
    written = rows_digest(alert_rows(digests, schema_version=versions))
    assert written == rows_digest(alert_rows(digests[::-1], schema_version=versions[::-1]))
    for others in (versions[::-1], ["3.3"] * 50, [*versions[:-1], None], [None] * 50):
        assert written != rows_digest(alert_rows(digests, schema_version=others))
    # Columns that were left out make other rows.
    assert whole != rows_digest(alert_rows(digests, run_id=["a"] * 50, prv_candidates=[[]] * 50))


def letter(stage: str, payload: bytes | None, source: str = "a.avro", message: str = "m") -> dict[str, object]:
    return {"stage": stage, "error_type": "E", "message": message, "source": source, "payload": payload, "failed_at": NOW}


def test_a_digest_of_letters_is_of_what_failed() -> None:
    def digest(*letters: dict[str, object]) -> int:
        return rows_digest(pa.RecordBatch.from_pylist(list(letters), schema=DEAD_LETTERS.arrow_schema))

    one, other = letter("decode", b"\x00\xff"), letter("read", b"x")
    assert digest(one, other) == added(digest(other), digest({**one, "failed_at": NOW + timedelta(1)}))
    assert digest(one) != digest({**one, "payload": b"\x00"})
    assert digest(one) != digest({**one, "source": "b.avro"})
    # Of an input too large to keep, what is wrong with it tells one failure from another, as letters' ids do.
    assert digest({**one, "message": "else"}) == digest(one)
    assert digest(letter("read", None)) != digest(letter("read", None, message="it ends at byte 7"))
    # The payload of a refused row holds the run and its time.
    assert digest(letter("write", b"run 1")) == digest(letter("write", b"run 2"))


def test_nights_that_only_load_jobs_bring_in() -> None:
    table, today = SURVEYS["ztf"].alerts_table, date(2026, 11, 29)

    def taken(*days: int) -> list[bool] | None:
        nights = pa.array([today + timedelta(days=day) for day in days], pa.date32())
        found = streamable(table, pa.RecordBatch.from_arrays([nights], names=["night"]), today)
        return None if found is None else found.tolist()

    assert taken(0, -MOST_DAYS_BACK, MOST_DAYS_AHEAD) is None
    assert taken(-MOST_DAYS_BACK - 1, 0, MOST_DAYS_AHEAD + 1) == [False, True, False]
    assert taken() is None
    # Ten years, and one ahead, whatever leap days there are.
    assert today - timedelta(days=MOST_DAYS_BACK) > date(2016, 11, 29)
    assert today + timedelta(days=MOST_DAYS_AHEAD) < date(2027, 11, 29)
    letters = pa.RecordBatch.from_pylist([letter("read", b"")], schema=DEAD_LETTERS.arrow_schema)
    assert streamable(DEAD_LETTERS, letters, today) is None


def test_a_choice_keeps_its_place() -> None:
    assert choose(replace(OWN, table="dead_letters"), [noted("a", committed=True)], []).table == "dead_letters"
