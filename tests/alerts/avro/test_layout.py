"""Schemas of tomorrow: a changed, lost or new field finds its place in the row, or in ``extra``, and nothing is lost."""

from __future__ import annotations

import copy
import io
import itertools
from random import Random
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro.layout import layout_of
from alerts.avro.record_paths import dotted, fill_arrays, holds_null, pluck, take_values
from alerts.avro.wire_schemas import writer_schema
from alerts.errors import UndecodablePacket, UnknownSurvey
from alerts.surveys import SURVEYS
from schemas import known_schemas
from tests.alerts.making import ZTF_SCHEMA, as_text, container, examples, filled, ingest
from tests.compare import assert_row_equals_record

ESSENTIAL = {"candid", "candidate", "candidate.jd", "candidate.ra", "candidate.dec", "diaSource", "diaSource.diaSourceId"}
ESSENTIAL |= {"diaSource.midpointMjdTai", "diaSource.ra", "diaSource.dec", "diaSource.band", "diaSource.psfFlux"}
_numbers = itertools.count()


def new_type(kind: Any) -> Any:
    """A fresh copy of a type; records, enums and fixed need a name of their own."""
    if isinstance(kind, list):
        return [new_type(branch) for branch in kind]
    kind = copy.deepcopy(kind)
    if isinstance(kind, dict) and "name" in kind:
        kind["name"] = f"new_{next(_numbers)}"
    return kind


TYPES: list[Any] = [
    *("null", "boolean", "int", "long", "float", "double", "string", "bytes"),
    ["null", "int"],
    ["double", "null"],
    ["null", "string", "long"],
    ["null"],
    {"type": "array", "items": "float"},
    {"type": "array", "items": ["null", "double"]},
    {"type": "array", "items": {"type": "array", "items": "int"}},
    ["null", {"type": "array", "items": {"type": "map", "values": "long"}}],
    {"type": "map", "values": ["null", "double"]},
    {"type": "fixed", "name": "f", "size": 5},
    {"type": "enum", "name": "e", "symbols": ["g", "r", "i"]},
    {"type": "record", "name": "r", "fields": [{"name": "stampData", "type": "bytes"}, {"name": "jd", "type": "long"}]},
    ["null", {"type": "record", "name": "r", "fields": []}],
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
    {"type": "string", "logicalType": "uuid"},
    {"type": "string", "logicalType": "timestamp-micros"},
    {"type": "double", "logicalType": "of our own"},
]


def records_of(schema: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """The record types inside a schema, each with the path of its fields."""
    if isinstance(schema, list):
        return [one for branch in schema for one in records_of(branch, prefix)]
    if not isinstance(schema, dict):
        return []
    if isinstance(schema["type"], (dict, list)):
        return records_of(schema["type"], prefix)
    if schema["type"] == "array":
        return records_of(schema["items"], prefix[:-1] + "[].")
    if schema["type"] != "record":
        return []
    inner = [one for field in schema["fields"] for one in records_of(field["type"], f"{prefix}{field['name']}.")]
    return [(prefix, schema), *inner]


def evolve(schema: Any, dice: Random) -> None:
    """One change of a schema as surveys make them, or might."""
    prefix, record = dice.choice(records_of(schema))
    fields: list[Any] = record["fields"]
    names = [one["name"] for one in fields]
    may_change = [one for one in fields if prefix + one["name"] not in ESSENTIAL and names.count(one["name"]) == 1]
    change = dice.choice(["new type", "new field", "nullable", "lost", "twice", "turned round"])
    if change == "new field":
        fields.append({"name": f"field_{next(_numbers)}", "type": new_type(dice.choice(TYPES))})
    elif change == "turned round" and not any(records_of(one["type"]) for one in fields):
        fields.reverse()
    elif may_change:
        field = dice.choice(may_change)
        kind = field["type"]
        # Later fields may call a record by its name.
        if change == "lost" and not records_of(kind):
            fields.remove(field)
        elif change == "new type" and not records_of(kind):
            field["type"] = new_type(dice.choice(TYPES))
        elif change == "nullable":
            field["type"] = kind if isinstance(kind, list) else dice.choice([["null", kind], [kind, "null"]])
        elif change == "twice" and not records_of(kind) and not isinstance(kind, dict):
            fields.append({"name": field["name"], "type": kind})


@examples(150)
@given(st.integers(0, 2**32))
def test_an_alert_of_any_schema_that_may_come_is_a_row_equal_to_it(seed):
    dice = Random(seed)
    survey, version = dice.choice([("ztf", "4.02"), ("ztf", "1.8"), ("lsst", "10.0"), ("lsst", "7.4")])
    schema = copy.deepcopy(known_schemas(survey)[version])
    for _ in range(dice.randint(1, 6)):
        evolve(schema, dice)
    records = [filled(schema, number, null) for number, null in ((1, False), (50, True), (99, False))]
    for record in records:
        part = record.get("candidate") or record.get("diaSource")
        part.update({name: 60000.5 for name in ("midpointMjdTai",) if name in part} | {"ra": 1.5, "dec": -2.5})
        if survey == "ztf":
            part["jd"] = 2458451.7
    file = container(records, schema)
    outcome = ingest(file)
    assert [letter.message for letter in outcome.letters] == []
    for row, record in zip(outcome.rows, fastavro.reader(io.BytesIO(file)), strict=True):
        assert_row_equals_record(row, record, survey)


def with_candidate(**types: Any) -> Any:
    """ZTF 4.02 with other types for fields of the candidate."""
    schema = copy.deepcopy(ZTF_SCHEMA)
    candidate = next(field for field in schema["fields"] if field["name"] == "candidate")
    for field in candidate["type"]["fields"]:
        field["type"] = types.get(field["name"], field["type"])
    return schema


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ("string", "not an Avro record"),
        ({"type": "array", "items": "long"}, "not an Avro record"),
        (["null", ZTF_SCHEMA], "not an Avro record"),
        ({"type": "record", "name": "a", "fields": [{"name": "candid", "type": "long"}]}, "right ascension (candidate.ra)"),
        ({**ZTF_SCHEMA, "fields": ZTF_SCHEMA["fields"][4:]}, "no alert id (candid)"),
    ],
)
def test_a_schema_without_what_every_alert_has_says_what_is_missing(schema, reason):
    value = 5 if schema == "string" else None
    with pytest.raises(UndecodablePacket) as error:
        layout_of(writer_schema(as_text(schema)), SURVEYS["ztf"])
    assert reason in str(error.value)
    assert value is None or isinstance(value, int)


@pytest.mark.parametrize("schema", ["long", {"type": "array", "items": "long"}, ["null", "long"]])
def test_a_schema_that_is_no_record_is_of_no_survey(schema):
    with pytest.raises(UnknownSurvey):
        layout_of(writer_schema(as_text(schema)))


def test_a_record_that_contains_itself_does_not_keep_us_for_ever():
    node = {"type": "record", "name": "node", "fields": [{"name": "next", "type": ["null", "node"]}]}
    schema = {**ZTF_SCHEMA, "fields": [*ZTF_SCHEMA["fields"], {"name": "tree", "type": node}]}
    (record,) = [filled(ZTF_SCHEMA)]
    record["tree"] = {"next": {"next": {"next": None}}}
    record["candidate"]["jd"] = 2458451.7
    (row,) = ingest(container([record], schema)).rows
    assert_row_equals_record(row, record, "ztf")


def test_a_record_by_name_is_found_wherever_it_was_defined():
    # As Rubin's wire schemas do: the history's record is the one of the detection.
    layout = layout_of(writer_schema(as_text(known_schemas("lsst")["10.0"])))
    assert layout.unknown == ()


def test_a_number_is_not_taken_for_another_kind_of_number():
    layout = layout_of(writer_schema(as_text(with_candidate(rcid="double", magpsf="int", isdiffpos=["boolean", "null"]))))
    assert {dotted(path) for path in layout.unknown} == {"candidate.rcid", "candidate.magpsf", "candidate.isdiffpos"}


def test_wider_types_of_a_rewritten_packet_fit():
    layout = layout_of(writer_schema(as_text(with_candidate(fid="long", magpsf=["double", "null"]))))
    assert layout.unknown == ()


def test_arrays_that_a_version_lacks_are_absent_and_those_it_may_null_are_watched():
    assert layout_of(writer_schema(as_text(known_schemas("ztf")["1.8"]))).arrays == (("prv_candidates",), ("fp_hists",))


def test_paths_through_arrays():
    record = {"a": [{"b": 1, "c": None}, {"b": 2, "c": [3]}, None], "d": {"e": 4}, "f": None}
    assert pluck(record, ("d", "e")) == 4
    assert pluck(record, ("f", "e")) is None
    assert dotted(("a", "[]", "b")) == "a[].b"
    assert list(fill_arrays(record, ("a", "[]", "c"))) == ["a[0].c"]
    assert list(fill_arrays(record, ("d", "g"))) == ["d.g"]
    assert list(fill_arrays(record, ("f", "g"))) == []
    assert list(fill_arrays(record, ("f", "g", "h"))) == []
    assert take_values(record, ("a", "[]", "b")) == [1, 2, None]
    assert take_values(record, ("f", "[]", "b")) is None
    assert record == {"a": [{"c": []}, {"c": [3]}, None], "d": {"e": 4, "g": []}, "f": None}


def test_a_null_in_an_array_is_found_through_arrays_and_records_that_are_null():
    record = {"a": [{"b": [1, 2]}, None, {"b": None}], "c": {"d": [1, None]}, "e": None}
    assert not holds_null(record, ("a", "[]", "b"))
    assert holds_null(record, ("a",))
    assert holds_null(record, ("c", "d"))
    assert not holds_null(record, ("e", "d"))
    assert holds_null({"a": [{"b": [1]}, {"b": [1, None]}]}, ("a", "[]", "b"))
