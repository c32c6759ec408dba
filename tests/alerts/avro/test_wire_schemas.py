"""Schemas of wire messages by their number: built in, from a folder, from a registry."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import pytest

from alerts.avro import wire_schemas
from alerts.avro.weigh import weigh
from alerts.avro.wire_schemas import WireSchemas, writer_schema
from alerts.errors import UnknownSchema, UnreadableInput
from schemas import known_schemas
from tests.alerts.making import LSST_SCHEMA, as_text, ingest, lsst_record, wire_message
from tests.emulators.http_server import Handler, serving

RUBIN_IDS = [700, 701, 702, 703, 704, 800, 900, 1000, 1100, 1101]


class Registry:
    """A stand-in for a Confluent schema registry: answers by path, and a list of what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []
        self.url = ""


@pytest.fixture
def registry() -> Iterator[Registry]:
    state = Registry()

    class Answers(Handler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            status, body = state.answers.get(self.path, (404, b'{"error_code": 40403, "message": "Schema not found"}'))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + (100 if body == b"cut" else 0)))
            self.end_headers()
            self.wfile.write(body)

    with serving(Answers) as url:
        state.url = url
        yield state


@pytest.mark.parametrize("wire_id", RUBIN_IDS)
def test_rubin_numbers_its_schemas_by_their_version(wire_id):
    schema = WireSchemas().get(wire_id)
    assert schema.version == f"{wire_id // 100}.{wire_id % 100}"
    assert schema.wire_id == wire_id
    assert schema.declared == known_schemas("lsst")[schema.version]


@pytest.mark.parametrize("wire_id", [0, 1, 705, 1001, 2**32 - 1])
def test_an_unknown_number_says_how_to_supply_its_schema(wire_id):
    with pytest.raises(
        UnknownSchema, match=rf"wire schema id {wire_id} is not known; supply it with --schemas FOLDER .*{wire_id}.avsc"
    ):
        WireSchemas().get(wire_id)


def test_a_folder_supplies_schemas_and_goes_before_what_is_built_in(tmp_path):
    changed = {**LSST_SCHEMA, "name": "lsst.v99_1.alert"}
    (tmp_path / "1000.avsc").write_text(json.dumps(changed))
    (tmp_path / "5.avsc").write_text(json.dumps(changed))
    schemas = WireSchemas(str(tmp_path))
    assert schemas.get(1000).version == schemas.get(5).version == "99.1"
    assert schemas.get(900).version == "9.0"
    with pytest.raises(UnknownSchema):
        schemas.get(6)


def test_a_message_of_a_supplied_schema_is_a_row(tmp_path):
    (tmp_path / "5.avsc").write_text(json.dumps(LSST_SCHEMA))
    assert ingest(wire_message(lsst_record(7), schema_id=5), schemas=str(tmp_path)).alert_ids == [7]


def test_a_supplied_schema_that_is_no_avro_is_a_dead_letter(tmp_path):
    (tmp_path / "5.avsc").write_text("{}")
    assert "not valid Avro" in ingest(wire_message(lsst_record(), schema_id=5), schemas=str(tmp_path)).the_letter().message


def test_a_registry_supplies_schemas_and_is_asked_once_for_each(registry):
    registry.answers["/schemas/ids/5"] = 200, json.dumps({"schema": json.dumps(LSST_SCHEMA)}).encode()
    schemas = WireSchemas(registry.url + "/")
    assert schemas.get(5).version == schemas.get(5).version == "10.0"
    assert registry.asked == ["/schemas/ids/5"]


def test_a_registry_that_refuses_is_not_asked_again_for_every_message_but_after_a_while(registry, monkeypatch):
    schemas = WireSchemas(registry.url)
    for _ in range(5):
        with pytest.raises(UnknownSchema, match="wire schema id 5 is not known"):
            schemas.get(5)
    assert registry.asked == ["/schemas/ids/5"]
    registry.answers["/schemas/ids/5"] = 200, json.dumps({"schema": json.dumps(LSST_SCHEMA)}).encode()
    monkeypatch.setattr(wire_schemas, "_ASK_AGAIN_SECS", 0)
    assert schemas.get(5).version == "10.0"


def test_a_folder_that_cannot_be_read_is_named_in_the_dead_letter(tmp_path, monkeypatch):
    (tmp_path / "5.avsc").write_text(json.dumps(LSST_SCHEMA))

    def stale(*_: Any) -> bytes:
        raise OSError("stale file handle")

    monkeypatch.setattr(Path, "open", stale)
    letter = ingest(wire_message(lsst_record(), schema_id=5), schemas=str(tmp_path)).the_letter()
    assert letter.error_type == "UnknownSchema"
    assert "5.avsc: stale file handle" in letter.message


def test_what_a_registry_does_not_know_may_be_built_in(registry):
    assert WireSchemas(registry.url).get(900).version == "9.0"
    with pytest.raises(UnknownSchema, match="wire schema id 6 is not known"):
        WireSchemas(registry.url).get(6)


@pytest.mark.parametrize(
    "answer",
    [(500, b"oops"), (403, b""), (200, b"<html>"), (200, b"[]"), (200, b'{"id": 5}'), (200, b""), (200, b"cut")],
)
def test_a_registry_out_of_order_is_named_in_the_dead_letter(registry, answer):
    registry.answers["/schemas/ids/5"] = answer
    letter = ingest(wire_message(lsst_record(), schema_id=5), schemas=registry.url).the_letter()
    assert letter.error_type == "UnknownSchema"
    assert "id 5" in letter.message
    assert registry.url in letter.message


def test_a_registry_that_is_not_there_is_named_in_the_dead_letter(registry):
    nobody = "http://127.0.0.1:9"
    letter = ingest(wire_message(lsst_record(), schema_id=5), schemas=nobody).the_letter()
    assert nobody in letter.message
    assert letter.payload == wire_message(lsst_record(), schema_id=5)


def test_a_schema_is_parsed_once_for_all_packets_that_bring_it():
    text = as_text(LSST_SCHEMA)
    assert writer_schema(text) is writer_schema(bytes(text))


def test_the_version_of_a_schema_is_its_version_else_in_its_name():
    assert writer_schema(as_text(known_schemas("ztf")["4.02"])).version == "4.02"
    assert writer_schema(as_text(known_schemas("elasticc")["0.9"])).version == "0.9"
    assert writer_schema(b'{"type": "record", "name": "alert", "fields": []}').version is None
    assert writer_schema(b'{"type": "record", "name": "alert", "version": null, "fields": []}').version is None
    assert writer_schema(b'"long"').version is None


def test_schemas_that_went_to_a_worker_are_still_themselves(tmp_path):
    schema = writer_schema(as_text(LSST_SCHEMA), 1000)
    assert pickle.loads(pickle.dumps(schema)) is schema
    assert pickle.loads(pickle.dumps(WireSchemas(str(tmp_path)))).location == str(tmp_path)


def test_a_text_that_is_no_avro_schema_says_why():
    with pytest.raises(UnreadableInput, match=r"not valid Avro \(UnknownType: no_such_type"):
        writer_schema(b'{"type": "record", "name": "a", "fields": [{"name": "b", "type": "no_such_type"}]}')


def test_where_a_datum_ends_does_not_depend_on_logical_types():
    kind = {"type": "long", "logicalType": "timestamp-micros"}
    schema = writer_schema(as_text({"type": "record", "name": "a", "fields": [{"name": "t", "type": ["null", kind]}]}))
    no_time = b"\2" + b"\xff" * 9 + b"\1"
    with pytest.raises(OverflowError):
        fastavro.schemaless_reader(io.BytesIO(no_time), schema.parsed, None)
    assert weigh(no_time + b"next", 0, schema.nodes).stop == len(no_time)


def test_numbers_that_nobody_knows_are_not_remembered_without_end(monkeypatch):
    monkeypatch.setattr(wire_schemas, "MAX_WIRE_REFUSALS", 3)
    known = WireSchemas()
    asked = []
    monkeypatch.setattr(known, "_text", lambda wire_id: asked.append(wire_id) or _refuse(wire_id))
    for wire_id in (1, 2, 3, 4, 4, 3, 2, 1):
        with pytest.raises(UnknownSchema, match=f"no {wire_id}"):
            known.get(wire_id)
    # The one that was not met for longest is looked for again, those that are remembered are not.
    assert asked == [1, 2, 3, 4, 1]


def _refuse(wire_id: int) -> bytes:
    raise UnknownSchema(f"no {wire_id}")
