"""Schemas that are unusual and no fault: unions at the top, types that another branch defines, defaults of the wrong type."""

from __future__ import annotations

import copy
import io
import json
from typing import Any

import fastavro
import pytest

from alerts.avro.packets import Packet, open_packets, wrap_in_container
from alerts.avro.weigh import nodes_of
from alerts.avro.wire_schemas import WireSchemas, writer_schema
from alerts.errors import UnreadableInput
from tests.alerts.making import (
    LSST_SCHEMA,
    ZTF_SCHEMA,
    as_text,
    container,
    datum,
    ingest,
    lsst_record,
    outcome_of,
    ztf_record,
)
from tests.compare import assert_row_equals_record


def union_container(records: list[Any], schema: Any, codec: str = "null", per_block: int = 1) -> bytes:
    """A container whose schema is a union; each record is a pair of its branch's name and the record, or null."""
    out = io.BytesIO()
    writer = fastavro.write.Writer(out, fastavro.parse_schema(schema, named_schemas={}), codec, 2**40, sync_marker=bytes(16))
    for number, record in enumerate(records, 1):
        writer.write(record)
        if number % per_block == 0:
            writer.flush()
    writer.flush()
    return out.getvalue()


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("per_block", [1, 2, 100])
def test_a_schema_that_is_a_union_gives_the_records_in_it(codec: str, per_block: int) -> None:
    heartbeat = {"type": "record", "name": "other.heartbeat", "fields": [{"name": "note", "type": "string"}]}
    schema = ["null", heartbeat, ZTF_SCHEMA]
    records = [ztf_record(1), ("other.heartbeat", {"note": "up " * 500}), ztf_record(2), None, ztf_record(3)]
    found = ingest(union_container(records, schema, codec, per_block))
    assert found.alert_ids == [1, 2, 3]
    for row, number in zip(found.rows, (1, 2, 3), strict=True):
        assert_row_equals_record(row, ztf_record(number), "ztf")
    assert [letter.error_type for letter in found.letters] == ["UnknownSurvey", "UnknownSurvey"]
    # The same contents by themselves are the same packet.
    alone = ingest(container([ztf_record(1)])).rows[0]
    assert found.rows[0]["packet_digest"] == alone["packet_digest"]
    # What a letter keeps can be opened again, and is the same letter; of a null there is nothing to keep.
    kept = [letter for letter in found.letters if letter.payload is not None]
    assert len(kept) == 1
    again = ingest(kept[0].payload).the_letter()
    assert (again.error_type, again.message) == (kept[0].error_type, kept[0].message)


def test_a_branch_may_use_a_type_that_another_defines() -> None:
    schema = copy.deepcopy(ZTF_SCHEMA)
    [candidate] = [field for field in schema["fields"] if field["name"] == "candidate"]
    inner, candidate["type"] = {**candidate["type"], "name": "elsewhere.candidate"}, "elsewhere.candidate"
    inner.pop("namespace", None)
    (row,) = ingest(union_container([("ztf.alert", ztf_record(7))], [inner, schema])).rows
    assert_row_equals_record(row, ztf_record(7), "ztf")


def test_a_union_whose_index_is_damaged_is_a_letter() -> None:
    data = bytearray(union_container([ztf_record(1)], ["null", ZTF_SCHEMA]))
    [packet] = open_packets(bytes(data), "a", WireSchemas())
    assert isinstance(packet, Packet)
    data[packet.start - 1] = 0x0A
    assert ingest(bytes(data)).the_letter().stage == "decode"


def test_a_union_of_which_not_even_the_index_is_there_is_a_letter() -> None:
    data = wrap_in_container(writer_schema(as_text(["null", ZTF_SCHEMA])), b"")
    [packet] = open_packets(data, "a", WireSchemas())
    assert isinstance(packet, Packet)
    assert (packet.start, packet.schema.branches != ()) == (packet.stop, True)
    assert ingest(data).the_letter().stage == "decode"


def test_a_wire_message_of_a_union() -> None:
    schema = ["null", LSST_SCHEMA]
    message = b"\0" + (4242).to_bytes(4, "big") + datum(lsst_record(5), schema)
    found = outcome_of(open_packets(message, "m", Supplied(schema)))
    assert found.alert_ids == [5]


class Supplied(WireSchemas):
    """One schema for every id."""

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self._schema = schema

    def _supplied(self, wire_id: int) -> bytes:
        return json.dumps(self._schema).encode()


@pytest.mark.parametrize("default", ["text", None, 5, {"a": 1}, [1]])
def test_a_default_of_the_wrong_type_does_not_matter_to_who_reads(default: Any) -> None:
    """As WINTER's and TURBO's schemas have them; an enum's that is none of its symbols, too."""
    schema = copy.deepcopy(ZTF_SCHEMA)
    schema["fields"].append({"name": "publisher2", "type": ["string", "null"], "default": default})
    kind = {"type": "enum", "name": "kind", "symbols": ["A", "B"], "default": "C"}
    schema["fields"].append({"name": "kind", "type": kind, "default": default})
    record = {**ztf_record(1), "publisher2": "x", "kind": "B"}
    # fastavro writes with no such schema, so the datum is put into a container by hand.
    (row,) = ingest(wrap_in_container(writer_schema(as_text(schema)), datum(record, without_defaults(schema)))).rows
    assert json.loads(row["extra"]) == {"publisher2": "x", "kind": "B"}


def without_defaults(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_defaults(one) for one in schema]
    if isinstance(schema, dict):
        return {key: without_defaults(value) for key, value in schema.items() if key != "default"}
    return schema


def test_a_record_of_nothing_but_a_stamp_holds_no_unknown_field() -> None:
    """ZTF's have a file's name beside it, which a writer may leave out."""
    schema = copy.deepcopy(ZTF_SCHEMA)
    [science] = [field for field in schema["fields"] if field["name"] == "cutoutScience"]
    [cutout] = [branch for branch in science["type"] if branch != "null"]
    cutout["fields"] = [field for field in cutout["fields"] if field["name"] == "stampData"]
    found = ingest(container([ztf_record(1)], schema))
    assert not +found.decoded.one_by_one
    assert (found.rows[0]["cutoutScience"], found.rows[0]["extra"]) == ({"fileName": None}, None)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (5, "the schema has 5 where a type should be"),
        ({"type": "fixed", "name": "f", "size": -1}, "a fixed value of -1 bytes; the limit is"),
        ({"type": "record", "name": "array", "fields": []}, "a type named 'array', a word of Avro's own"),
        ({"type": "decimal"}, "the schema has a type 'decimal'"),
    ],
)
def test_what_no_avro_schema_has_is_named(kind: Any, says: str) -> None:
    with pytest.raises(UnreadableInput, match=says):
        nodes_of({"type": "record", "name": "a", "fields": [{"name": "b", "type": kind}]})
