"""The tables of the warehouse hold every field of every known version of every survey."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pytest

from alerts.surveys import SURVEYS
from schemas import Column, known_schemas
from schemas.describe import markdown
from schemas.tables import DEAD_LETTERS, ENVELOPE, RUNS, alerts_table

VERSIONS = [(survey, version) for survey in SURVEYS for version in known_schemas(survey)]
TABLES = [DEAD_LETTERS, RUNS, *(table for one in SURVEYS.values() for table in (one.alerts_table, one.cutouts_table))]
ENVELOPE_OF_THE_DESIGN = [
    *("alert_id", "object_id", "object_kind", "packet_digest", "null_arrays", "run_id", "survey", "schema_version"),
    *("observed_at", "night", "ra_deg", "dec_deg", "healpix29", "source", "published_at", "ingested_at", "extra"),
]
WIDE = {"int": "INT64", "long": "INT64", "float": "FLOAT64", "double": "FLOAT64", "boolean": "BOOL", "string": "STRING"}
WIDE |= {"bytes": "BYTES", "timestamp-micros": "TIMESTAMP"}


def fields_of(schema: Any, path: str = "", names: dict[str, Any] | None = None) -> Iterator[tuple[str, str, bool]]:
    """Path, Avro type and whether it is an array, of every field of an Avro schema, in a way of its own."""
    names = {} if names is None else names
    if isinstance(schema, list):
        (schema,) = [branch for branch in schema if branch != "null"]
    if isinstance(schema, str) and schema in names:
        schema = names[schema]
    is_array = isinstance(schema, dict) and schema["type"] == "array"
    item = schema["items"] if is_array else schema
    item = names.get(item, item) if isinstance(item, str) else item
    kind = item if isinstance(item, str) else item.get("logicalType", item["type"])
    if path:
        yield path, kind, is_array
    if kind == "record":
        names[item["name"]] = names[f"{item.get('namespace')}.{item['name']}"] = item
        for field in item["fields"]:
            yield from fields_of(field["type"], f"{path}.{field['name']}".strip("."), names)


def all_columns(columns: Iterable[Column], prefix: str = "") -> Iterator[tuple[str, Column]]:
    for column in columns:
        yield prefix + column.name, column
        yield from all_columns(column.fields, f"{prefix}{column.name}.")


@pytest.mark.parametrize(("survey", "version"), VERSIONS)
def test_every_field_of_every_version_has_a_column_or_is_a_stamp(survey, version):
    columns = dict(all_columns(SURVEYS[survey].alerts_table.columns))
    stamps = {path for paths in SURVEYS[survey].stamps.values() for path in paths}
    fields = list(fields_of(known_schemas(survey)[version]))
    assert len(fields) > 20
    for path, kind, is_array in fields:
        if path in stamps:
            assert path not in columns
        else:
            assert columns[path].type == ("RECORD" if kind == "record" else WIDE[kind]), path
            assert columns[path].mode == ("REPEATED" if is_array else "NULLABLE"), path


@pytest.mark.parametrize("survey", SURVEYS)
def test_no_column_is_there_that_no_version_has(survey):
    fields = {path for schema in known_schemas(survey).values() for path, _, _ in fields_of(schema)}
    packet = SURVEYS[survey].alerts_table.columns[len(ENVELOPE) :]
    assert {path for path, _ in all_columns(packet)} <= fields


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_no_two_columns_differ_only_in_upper_and_lower_case(table):
    # BigQuery and DuckDB take ssObjectId and ssobjectid for one column.
    paths = [path.lower() for path, _ in all_columns(table.columns)]
    assert sorted(paths) == sorted(set(paths))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_every_table_goes_to_arrow_and_to_bigquery_and_both_tell_the_same(table):
    told = json.loads(json.dumps(table.to_bigquery()))

    def same(field: dict[str, Any], arrow: pa.Field) -> None:
        kind = arrow.type.value_type if field["mode"] == "REPEATED" else arrow.type
        assert field["name"] == arrow.name
        assert pa.types.is_list(arrow.type) == (field["mode"] == "REPEATED")
        assert arrow.nullable == (field["mode"] == "NULLABLE")
        assert pa.types.is_struct(kind) == (field["type"] == "RECORD")
        if field["type"] == "RECORD":
            assert field["fields"], "BigQuery takes no record without fields"
            assert len(field["fields"]) == kind.num_fields
            for number, inner in enumerate(field["fields"]):
                same(inner, kind.field(number))

    assert len(told["fields"]) == len(table.arrow_schema)
    for number, field in enumerate(told["fields"]):
        same(field, table.arrow_schema.field(number))


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_partition_and_cluster_columns_exist_and_bigquerys_limits_are_kept(table):
    assert table.partition_by is None or table.by_name[table.partition_by].type in ("DATE", "TIMESTAMP")
    assert set(table.cluster_by) <= set(table.by_name)
    paths = [path for path, _ in all_columns(table.columns)]
    assert len(paths) <= 10_000
    assert max(path.count(".") for path in paths) < 15
    for path, column in all_columns(table.columns):
        assert len(column.name) <= 300
        assert column.name.isidentifier(), path
        assert len(column.description) <= 1024


@pytest.mark.parametrize("survey", SURVEYS)
def test_the_envelope_stands_first_and_as_designed(survey):
    table = SURVEYS[survey].alerts_table
    assert list(table.by_name)[: len(ENVELOPE)] == ENVELOPE_OF_THE_DESIGN
    assert (table.partition_by, table.cluster_by) == ("night", ("object_id",))
    assert SURVEYS[survey].time_note in table.by_name["observed_at"].description
    assert table.by_name["alert_id"].mode == table.by_name["packet_digest"].mode == "REQUIRED"


def test_stamps_have_a_table_of_their_own():
    assert list(SURVEYS["ztf"].cutouts_table.by_name) == [
        "alert_id",
        "object_id",
        "packet_digest",
        "night",
        "science",
        "template",
        "difference",
    ]
    assert "stampData" not in SURVEYS["ztf"].alerts_table.by_name["cutoutScience"].by_name
    assert "cutoutScience" not in SURVEYS["lsst"].alerts_table.by_name


def test_a_packet_field_named_like_one_of_ours_has_a_column_of_another_name():
    names = ("night", "Source", "science", "packet_night", "flux", "Flux")
    schema = {"type": "record", "name": "x", "fields": [{"name": name, "type": "int"} for name in names]}
    table = alerts_table("new", [schema], (), "", "")
    packet = table.columns[len(ENVELOPE) :]
    # The last one would be the same as the one before it to BigQuery and DuckDB: it goes into extra.
    assert {one.field_name: one.name for one in packet} == {
        "night": "packet_packet_night",
        "Source": "packet_Source",
        "science": "packet_science",
        "packet_night": "packet_night",
        "flux": "flux",
    }
    assert [one.name for one in table.columns[: len(ENVELOPE)]] == ENVELOPE_OF_THE_DESIGN


def test_what_two_versions_spell_in_upper_and_lower_case_has_one_column():
    old, new = (
        {"type": "record", "name": "x", "fields": [{"name": name, "type": "int"}]} for name in ("ssObjectId", "ssobjectid")
    )
    packet = alerts_table("new", [old, new], (), "", "").columns[len(ENVELOPE) :]
    assert [one.name for one in packet] == ["ssObjectId"]


def test_versions_that_disagree_are_found_when_the_survey_is_added():
    old = {"type": "record", "name": "x", "fields": [{"name": "flag", "type": "int"}]}
    new = {"type": "record", "name": "x", "fields": [{"name": "flag", "type": "boolean"}]}
    with pytest.raises(ValueError, match="field 'flag' is NULLABLE INT64 in one version"):
        alerts_table("new", [old, new], (), "", "")


def test_the_tables_are_described_for_people():
    text = markdown()
    assert all(f"`{name}`" in text for name in [*ENVELOPE_OF_THE_DESIGN, *DEAD_LETTERS.by_name, *RUNS.by_name])
