"""What is public of alerts: a second look, which costs the first one nothing."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.features.table import rows_of
from alerts.filters.filter_set import FilterSet
from alerts.filters.running import Running
from alerts.filters.text import parse_text
from alerts.filters.verdicts import verdict_rows
from alerts.surveys import survey
from schemas import known_schemas
from simulation import simulate_packets
from streams.outbox_rows import InPublic, JudgedAlerts, packets_at_hand
from transforms.elements import AlertBatch
from transforms.in_public import PublicJudge, row_of

EVERY = "SELECT features.age_history_days AS age FROM alerts WHERE candidate.jd > 0"
WAITS = """
import time

def passes(alerts):
    if any(item["programid"] == 2 for items in alerts.column("prv_candidates").to_pylist() for item in items):
        return [True] * alerts.num_rows
    time.sleep(3600)
"""


def batch_of(change: Callable[[int, dict[str, Any]], None]) -> AlertBatch:
    """Simulated alerts with a history, with features and their packets."""
    out, number = io.BytesIO(), 0
    records = []
    for packet in simulate_packets(survey="ztf", alerts=30, seed=4):
        (record,) = fastavro.reader(io.BytesIO(packet.data))
        if record["prv_candidates"]:
            change(number, record)
            number += 1
            records.append(record)
    fastavro.writer(out, known_schemas("ztf")["4.02"], records)
    packets = [each for each in read_input(io.BytesIO(out.getvalue()), "night.avro", WireSchemas()) if isinstance(each, Packet)]
    rows = decode(packets).rows["ztf"]
    made = rows_of(rows, survey("ztf"), "run")
    assert made is not None
    by_digest = dict(zip(map(bytes, rows.column("packet_digest").to_pylist()), packets, strict=True))
    return AlertBatch("unit", "ztf", rows, made.rows, by_digest)


def partly_private(number: int, record: dict[str, Any]) -> None:
    if number % 3 == 0:
        record["prv_candidates"][0]["programid"] = 2
    elif number % 3 == 1:
        record["candidate"]["programid"] = 2


def judged(batch: AlertBatch, **texts: str) -> tuple[InPublic, Running]:
    told = tuple(parse_text(name, f"-- surveys: ztf\n{EVERY}\n") for name in texts if not texts[name])
    told += tuple(parse_text(name, f"# surveys: ztf\n{text}", is_python=True) for name, text in texts.items() if text)
    compiled = FilterSet(told).of_survey("ztf")
    running = Running(compiled, max_us=1.0)
    whole = Running(compiled)
    found = whole.judge(row_of(batch))
    said = verdict_rows(batch.rows, found, compiled, "run")
    asked = JudgedAlerts(batch.rows, said, packets_at_hand(batch.rows, batch.packets or {}))
    return PublicJudge(compiled, running, "run").ask(batch, asked, set(found), every=False), running


def test_a_batch_is_parted_and_what_is_judged_again_is_cut() -> None:
    seen, _ = judged(batch_of(partly_private), every="")
    number = len(seen.whole)
    assert seen.whole.tolist() == [place % 3 == 2 for place in range(number)]
    assert seen.part is not None
    assert seen.part.alerts.num_rows == len(range(0, number, 3)) == len(seen.kept)
    programs = {item["programid"] for items in seen.part.alerts.column("prv_candidates").to_pylist() for item in items}
    assert programs <= {1}
    assert "science" not in seen.part.alerts.schema.names
    assert seen.part.said.num_rows == seen.part.alerts.num_rows


def test_where_all_is_public_nothing_is_asked_again() -> None:
    seen, running = judged(batch_of(lambda number, record: None), every="")
    assert seen.whole.all()
    assert seen.part is None
    assert running._alerts == 0


@pytest.mark.timeout(60)
def test_a_filter_that_does_not_come_to_an_end_there_is_put_aside_there_and_others_are_not() -> None:
    seen, running = judged(batch_of(lambda number, record: partly_private(0, record)), every="", waits=WAITS)
    assert set(running.put_aside) == {"waits"}
    assert seen.part is not None
    status = {(row["filter"], row["status"]) for row in seen.part.said.to_pylist()}
    assert status == {("every", "passed"), ("waits", "failed")}


def test_what_cannot_be_looked_at_is_not_public(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    # It is said every ten seconds at most, and another test may have done so.
    monkeypatch.setattr("transforms.notes._said_at", {})
    batch = batch_of(partly_private)
    # As nobody has declared it.
    odd = batch.rows.set_column(batch.rows.schema.get_field_index("extra"), "extra", pa.array(["{"] * batch.rows.num_rows))
    seen, _ = judged(replace(batch, rows=odd), every="")
    assert not np.any(seen.whole)
    assert seen.part is None
    assert "what is public of them cannot be judged" in caplog.text
