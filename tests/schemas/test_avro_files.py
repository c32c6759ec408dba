"""The built-in Avro schemas, and finding one's way in an Avro schema."""

from __future__ import annotations

import io
import json
import tarfile

import fastavro
import pytest

from schemas import known_schemas, parse_text
from schemas.avro_files import named_types, resolve, version_key, without_null
from schemas.strip_docs import layout, strip_docs

SURVEYS = ["ztf", "lsst", "elasticc", "decam", "winter", "pgir"]
INNER = {"type": "record", "name": "inner", "fields": [{"name": "a", "type": "long"}]}


def test_versions_come_oldest_first_and_by_number():
    assert list(known_schemas("lsst"))[-4:] == ["9.0", "10.0", "11.0", "11.1"]
    assert list(known_schemas("ztf"))[-3:] == ["3.5", "4.01", "4.02"]
    assert version_key("9.0") < version_key("10.0") < version_key("11.1")
    assert version_key("4.01") < version_key("4.02") < version_key("4.10")


@pytest.mark.parametrize("survey", SURVEYS)
def test_every_built_in_schema_is_avro(survey):
    assert known_schemas(survey)
    for version, schema in known_schemas(survey).items():
        parsed = parse_text(json.dumps(schema))
        assert parsed["type"] == "record", version


def test_built_in_schemas_carry_names_and_types_only():
    for survey in SURVEYS:
        assert known_schemas(survey)
        for schema in known_schemas(survey).values():
            assert strip_docs(schema) == schema
            assert '"doc"' not in json.dumps(schema)


def test_a_schema_file_is_laid_out_one_field_to_a_line_and_still_the_same():
    schema = known_schemas("ztf")["4.02"]
    assert json.loads(layout(schema)) == schema
    assert layout(schema).count("\n") > 100


def shape(schema: object) -> object:
    """Names and types of a schema, whatever else its writer put there; versions of the records may differ."""
    if isinstance(schema, list):
        return [shape(one) for one in schema]
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), (dict, list)) and "name" not in schema:
            return shape(schema["type"])
        kept = {key: shape(schema[key]) for key in ("type", "name", "items", "fields", "logicalType") if key in schema}
        return kept["type"] if list(kept) == ["type"] else kept
    return schema


@pytest.mark.parametrize(
    ("archive", "survey", "version"),
    [
        ("ztf/nightly/ztf_commissioning_20171218.tar.gz", "ztf", "1.3"),
        ("ztf/nightly/ztf_public_20180626.tar.gz", "ztf", "1.8"),
        ("ztf/nightly/ztf_public_20200202.tar.gz", "ztf", "3.3"),
        ("ztf/nightly/ztf_public_20231012.tar.gz", "ztf", "4.01"),
        ("ztf/nightly/ztf_public_20240715.tar.gz", "ztf", "4.02"),
        ("elasticc/elasticc_v0_9.tar.gz", "elasticc", "0.9"),
    ],
)
def test_a_built_in_schema_has_the_fields_of_the_packets(real_data, archive, survey, version):
    with tarfile.open(real_data / archive) as tar:
        member = next(tar.extractfile(one) for one in tar if one.isfile())
        assert member
        sent = fastavro.reader(io.BytesIO(member.read())).writer_schema
    ours = parse_text(json.dumps(known_schemas(survey)[version]))
    assert shape(ours) == shape(parse_text(json.dumps(sent)))


def test_two_versions_may_use_one_name_for_different_records():
    for version in known_schemas("lsst"):
        parse_text(json.dumps(known_schemas("lsst")[version]))
    for version in ("9.0", "10.0"):
        parse_text(json.dumps({**known_schemas("lsst")[version], "name": "alert"}))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        (b"\xff", "can't decode byte 0xff"),
        ('{"type": "record", "name": "a\\ud800", "fields": []}', "surrogates not allowed"),
    ],
)
def test_a_text_that_is_no_json_or_no_unicode_is_a_value_error(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_text(text)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"type": "record", "name": "a", "fields": [{"name": "b", "type": "number"}]}', fastavro.schema.UnknownType),
        ('{"type": "record", "name": "a", "fields": [5]}', fastavro.schema.SchemaParseException),
    ],
)
def test_a_json_text_that_is_no_avro_schema_is_an_error_of_avro(text, error):
    with pytest.raises(error):
        parse_text(text)


def test_types_are_found_by_their_names_wherever_they_are_defined():
    schema = {
        "type": "record",
        "name": "outer",
        "namespace": "a.b",
        "fields": [
            {"name": "inner", "type": "long"},
            {"name": "list", "type": ["null", {"type": "array", "items": INNER}]},
            {"name": "map", "type": {"type": "map", "values": {"type": "fixed", "name": "c.digest", "size": 16}}},
            {"name": "wrapped", "type": {"type": {"type": "enum", "name": "band", "symbols": ["g"]}}},
            {"name": "again", "type": ["null", "a.b.inner"]},
        ],
    }
    names = named_types(schema)
    assert set(names) == {"a.b.outer", "outer", "a.b.inner", "inner", "c.digest", "digest", "a.b.band", "band"}
    assert names["inner"] is names["a.b.inner"] is INNER
    assert without_null(schema["fields"][4]["type"], names) == (INNER, True)
    assert resolve({"type": "a.b.inner"}, names) is INNER


def test_of_two_types_with_one_short_name_the_first_counts_and_the_full_names_hold():
    other = {**INNER, "namespace": "y"}
    names = named_types(
        {"type": "record", "name": "x.outer", "fields": [{"name": "p", "type": INNER}, {"name": "q", "type": other}]}
    )
    assert names["inner"] is names["x.inner"] is INNER
    assert names["y.inner"] is other


def test_a_record_may_not_take_the_name_of_a_type():
    names = named_types({"type": "record", "name": "x.string", "fields": []})
    assert resolve("string", names) == "string"


def test_a_record_may_contain_itself():
    node = {"type": "record", "name": "node", "fields": [{"name": "next", "type": ["null", "node"]}]}
    assert named_types(node) == {"node": node}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ("long", ("long", False)),
        (["null", "long"], ("long", True)),
        (["double", "null"], ("double", True)),
        (["long", "string"], (["long", "string"], False)),
        (["null", "long", "string"], (["long", "string"], True)),
        (["null"], ([], True)),
        ({"type": ["null", "long"]}, ("long", True)),
    ],
)
def test_a_type_without_its_null(schema, expected):
    assert without_null(schema, {}) == expected
