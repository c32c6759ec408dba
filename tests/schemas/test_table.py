"""One definition of a table: from Avro, to Arrow and to BigQuery."""

from __future__ import annotations

import pyarrow as pa
import pytest

from schemas import Column, Table
from schemas.table import avro_type, columns_from_avro, drop, union

RECORD = Column("diaSource", "RECORD", fields=(Column("ra", "FLOAT64"), Column("dec", "FLOAT64")))


def columns_of(*fields: tuple[str, object]) -> tuple[Column, ...]:
    return columns_from_avro({"type": "record", "name": "r", "fields": [{"name": name, "type": kind} for name, kind in fields]})


@pytest.mark.parametrize(
    ("avro", "kind"),
    [
        ("int", "INT64"),
        ("long", "INT64"),
        ("float", "FLOAT64"),
        ("double", "FLOAT64"),
        ("boolean", "BOOL"),
        ("string", "STRING"),
        ("bytes", "BYTES"),
        ({"type": "long"}, "INT64"),
        ({"type": "enum", "name": "e", "symbols": ["g"]}, "STRING"),
        ({"type": "fixed", "name": "f", "size": 16}, "BYTES"),
        ({"type": "long", "logicalType": "timestamp-micros"}, "TIMESTAMP"),
        ({"type": "long", "logicalType": "timestamp-millis"}, "TIMESTAMP"),
        ({"type": "int", "logicalType": "date"}, "DATE"),
        ({"type": "long", "logicalType": "of our own"}, "INT64"),
        ({"type": "string", "logicalType": "timestamp-micros"}, "STRING"),  # no such logical type: the text stays a text
        ({"type": "bytes", "logicalType": "decimal", "precision": 9}, None),
        ({"type": "string", "logicalType": "uuid"}, None),
        ({"type": "long", "logicalType": "local-timestamp-micros"}, None),
        ("null", None),
        (["long", "string"], None),
        ({"type": "map", "values": "long"}, None),
        ({"type": "array", "items": "long"}, None),
    ],
)
def test_which_column_an_avro_type_needs(avro, kind):
    assert avro_type(avro) == kind


def test_nullable_fields_arrays_and_records_have_columns():
    inner = {"type": "record", "name": "i", "fields": [{"name": "jd", "type": "double"}]}
    assert columns_of(
        ("a", ["null", "int"]),
        ("b", ["null", {"type": "array", "items": "float"}]),
        ("c", {"type": "array", "items": inner}),
        ("d", ["i", "null"]),
    ) == (
        Column("a", "INT64"),
        Column("b", "FLOAT64", "REPEATED"),
        Column("c", "RECORD", "REPEATED", fields=(Column("jd", "FLOAT64"),)),
        Column("d", "RECORD", fields=(Column("jd", "FLOAT64"),)),
    )


def test_an_array_whose_items_may_be_null_has_a_column():
    assert columns_of(("a", {"type": "array", "items": ["null", "int"]})) == (Column("a", "INT64", "REPEATED"),)


def test_fields_of_types_without_a_column_are_left_out():
    left_out = [("a", {"type": "map", "values": "int"}), ("b", ["int", "string"])]
    left_out.append(("c", {"type": "array", "items": {"type": "array", "items": "int"}}))
    assert columns_of(*left_out, ("e", "int")) == (Column("e", "INT64"),)


def test_a_field_that_stands_twice_is_one_column():
    assert columns_of(("sgmag1", ["float", "null"]), ("sgmag1", ["float", "null"])) == (Column("sgmag1", "FLOAT64"),)


def test_the_union_of_versions_keeps_each_field_where_it_was_first_seen():
    old = (Column("jd", "FLOAT64"), RECORD)
    new = (Column("drb", "FLOAT64"), Column("diaSource", "RECORD", fields=(Column("band", "STRING"), Column("ra", "FLOAT64"))))
    merged = union([old, new])
    assert [column.name for column in merged] == ["jd", "diaSource", "drb"]
    assert [field.name for field in merged[1].fields] == ["ra", "dec", "band"]


@pytest.mark.parametrize(
    "other",
    [
        Column("diaSource", "STRING"),
        Column("diaSource", "RECORD", "REPEATED", fields=RECORD.fields),
        Column("diaSource", "RECORD", fields=(Column("ra", "INT64"),)),
    ],
)
def test_versions_that_disagree_on_a_type_have_no_union(other):
    with pytest.raises(ValueError, match=r"field '(diaSource|ra)' is NULLABLE (RECORD|FLOAT64) in one version .* in another"):
        union([(RECORD,), (other,)])


def test_dropping_the_last_field_of_a_record_drops_the_record():
    assert drop((RECORD,), {"diaSource.ra"})[0].fields == (Column("dec", "FLOAT64"),)
    assert drop((RECORD, Column("jd", "FLOAT64")), {"diaSource.ra", "diaSource.dec"}) == (Column("jd", "FLOAT64"),)
    assert drop((RECORD,), {"ra", "diaSource.band"}) == (RECORD,)


def test_arrow_types_are_wide_and_modes_are_nullability():
    fields = {
        "a": Column("a", "INT64", "REQUIRED", "An id.").arrow,
        "b": Column("b", "TIMESTAMP").arrow,
        "c": Column("c", "FLOAT64", "REPEATED").arrow,
        "d": Column("d", "RECORD", "REPEATED", fields=RECORD.fields).arrow,
        "e": Column("e", "JSON").arrow,
    }
    assert (fields["a"].type, fields["a"].nullable, fields["a"].metadata) == (pa.int64(), False, {b"description": b"An id."})
    assert (fields["b"].type, fields["b"].nullable, fields["b"].metadata) == (pa.timestamp("us", "UTC"), True, None)
    assert (fields["c"].type, fields["c"].nullable) == (pa.list_(pa.float64()), False)
    assert fields["d"].type == pa.list_(pa.struct([("ra", pa.float64()), ("dec", pa.float64())]))
    assert fields["e"].type == pa.string()


def test_bigquery_gets_names_types_modes_descriptions_and_fields():
    table = Table("t", (Column("night", "DATE", "REQUIRED", "Night."), RECORD), partition_by="night")
    number = {"type": "FLOAT64", "mode": "NULLABLE"}
    assert table.to_bigquery() == {
        "fields": [
            {"name": "night", "type": "DATE", "mode": "REQUIRED", "description": "Night."},
            {
                "name": "diaSource",
                "type": "RECORD",
                "mode": "NULLABLE",
                "fields": [{"name": "ra", **number}, {"name": "dec", **number}],
            },
        ]
    }


def test_columns_are_found_by_name():
    table = Table("t", (RECORD,))
    assert table.by_name["diaSource"].by_name["ra"] is RECORD.fields[0]
    assert table.arrow_schema.names == ["diaSource"]
