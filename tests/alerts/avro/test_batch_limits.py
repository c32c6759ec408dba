"""Batches whose arrays have more items than are decoded at once."""

from __future__ import annotations

import pytest

from alerts.avro import columns
from alerts.avro.decode import decode
from alerts.avro.packets import Packet, wrap_in_container
from alerts.avro.wire_schemas import WriterSchema, writer_schema
from tests.alerts.attacks import MIB, Told, long, told
from tests.alerts.avro.test_machine import ITEM, WRITER, alert, decoded, with_history
from tests.alerts.making import LSST_SCHEMA, as_text, container, datum, ingest, lsst_record
from tests.within import within


def history(entries: int) -> bytes:
    return long(entries) + entries * ITEM + b"\0" if entries else b"\0"


@pytest.mark.parametrize("entries", [[10, 200, 10], [200, 200, 200], [99, 99, 99], [1000], [0, 0, 1000, 0], [100, 100]])
def test_a_batch_with_more_items_than_are_decoded_at_once_gives_the_same_rows(monkeypatch, entries):
    datums = [with_history(history(number), candid) for candid, number in enumerate(entries)]
    as_usual = decoded(datums)
    assert not +as_usual.decoded.one_by_one
    monkeypatch.setattr(columns, "MAX_BATCH_ROWS", 100)
    limited = decoded(datums)
    rows = {row["alert_id"]: row for row in limited.rows}
    assert sorted(rows) == as_usual.alert_ids
    for row in as_usual.rows:
        assert rows[row["alert_id"]] == {**row, "ingested_at": rows[row["alert_id"]]["ingested_at"]}
    # One by one only what is too much by itself.
    assert limited.decoded.one_by_one["ztf"] == sum(number > 100 for number in entries)
    assert not limited.letters


def test_a_damaged_alert_in_such_a_batch_is_a_dead_letter_and_the_others_are_rows(monkeypatch):
    monkeypatch.setattr(columns, "MAX_BATCH_ROWS", 100)
    datums = [with_history(history(80), candid) for candid in range(6)]
    datums[3] = datums[3][:-5]
    outcome = decode([Packet(one, 0, len(one), WRITER, f"packet {number}") for number, one in enumerate(datums)])
    assert sorted(outcome.rows["ztf"].column("alert_id").to_pylist()) == [0, 1, 2, 4, 5]
    assert [letter.source for letter in outcome.failures] == ["packet 3"]


def _thin_history(items: int) -> Told:
    """An LSST alert whose previous sources have but one of their hundred fields, in one byte: 800 bytes of columns each."""
    fields = [one for one in LSST_SCHEMA["fields"] if one["name"] != "prvDiaSources"]
    thin = {"type": "record", "name": "lsst.v10_0.thin", "fields": [{"name": "detector", "type": ["null", "int"]}]}
    schema = {**LSST_SCHEMA, "fields": [*fields, {"name": "prvDiaSources", "type": {"type": "array", "items": thin}}]}
    record = {name: value for name, value in lsst_record(7).items() if name != "prvDiaSources"}
    whole = datum({**record, "prvDiaSources": []}, schema)[:-1] + long(items) + bytes(items) + b"\0"
    return told(wrap_in_container(WriterSchema(as_text(schema)), whole))


def test_items_of_one_byte_do_not_become_gigabytes_of_empty_columns():
    assert within(512 * MIB, 60, _thin_history, 1000).alert_ids == [7]
    found = within(512 * MIB, 60, _thin_history, 2 * MIB)
    assert found.alert_ids == []
    assert "more than 1,048,576 values" in found.messages[0]


def test_the_usual_is_not_limited():
    rows = ingest(container([{**lsst_record(1), "prvDiaSources": lsst_record(1)["prvDiaSources"] * 1200}], LSST_SCHEMA)).rows
    assert len(rows[0]["prvDiaSources"]) == 2400
    # Of a schema that was met lately; what others have met meanwhile may have taken the place of ours.
    kept = writer_schema(WRITER.text)
    assert writer_schema(WRITER.text).nodes is kept.nodes
    assert decoded([with_history(history(1200))]).rows[0]["candid"] == alert()["candid"]
