"""Columns to Avro: byte for byte what fastavro writes of the same rows, and so what Beam's own load files held."""

from __future__ import annotations

import io
import math
from datetime import date, datetime, timezone
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.io.gcp.bigquery_tools import get_avro_schema_from_table_schema
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro import encode as encoder
from alerts.avro.decode import decode
from alerts.avro.encode import container_blocks, container_header, encode
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import SURVEYS
from schemas import Column, Table
from schemas.tables import CROSSMATCHES, DEAD_LETTERS
from tests.alerts.making import LSST_SCHEMA, container, examples, filled, lsst_record, ztf_record

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "INT64": st.integers(-(2**63), 2**63 - 1) | st.integers(-70, 70),
    "FLOAT64": st.floats(),
    "BOOL": st.booleans(),
    "STRING": st.text(max_size=5) | st.just("x" * 100),
    "JSON": st.just('{"a":1}'),
    "BYTES": st.binary(max_size=5) | st.just(bytes(70)),
    # fastavro makes these times of datetimes, which reach from year 1 to 9999.
    "TIMESTAMP": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone.utc)),
    "DATE": st.dates(date(1600, 1, 1), date(2200, 1, 1)),
}
SYNC = bytes(range(16))
MODES = st.sampled_from(["NULLABLE", "REQUIRED", "REPEATED"])


@st.composite
def columns(draw: st.DrawFn, name: str, depth: int = 0) -> Column:
    kinds = [*VALUES, *(["RECORD"] * 3 if depth < 2 else [])]
    kind = draw(st.sampled_from(kinds))
    mode = draw(MODES)
    fields = (
        [draw(columns(f"{name}_{number}", depth + 1)) for number in range(draw(st.integers(1, 3)))] if kind == "RECORD" else ()
    )
    return Column(name, kind, mode, fields=tuple(fields))


def values(column: Column) -> st.SearchStrategy[Any]:
    one = VALUES.get(column.type)
    if one is None:
        one = st.fixed_dictionaries({field.name: values(field) for field in column.fields})
    if column.mode == "REPEATED":
        return st.lists(one, max_size=3)
    return one | st.none() if column.mode == "NULLABLE" else one


@st.composite
def batches(draw: st.DrawFn) -> tuple[pa.RecordBatch, Table]:
    table = Table("t", tuple(draw(columns(f"c{number}")) for number in range(draw(st.integers(1, 4)))))
    rows = draw(st.lists(st.fixed_dictionaries({one.name: values(one) for one in table.columns}), max_size=6))
    return pa.RecordBatch.from_pylist(rows, schema=table.arrow_schema), table


def encoded(rows: pa.RecordBatch, table: Table) -> bytes:
    datums, ends = encode(rows, table)
    return bytes(datums[: ends[-1]]) if len(ends) else b""


def by_fastavro(rows: list[dict[str, Any]], table: Table) -> bytes:
    """The datums as Beam's writer has them written."""
    schema = fastavro.parse_schema(get_avro_schema_from_table_schema(table.to_bigquery()))
    out = io.BytesIO()
    for row in rows:
        fastavro.schemaless_writer(out, schema, row)
    return out.getvalue()


@examples(200)
@given(batches(), st.integers(0, 3), st.integers(0, 3))
def test_any_columns_are_the_bytes_that_fastavro_writes(made, first, left_out):
    whole, table = made
    # A part of a batch, which shares the memory of all of it.
    rows = whole.slice(first, max(0, whole.num_rows - first - left_out))
    assert encoded(rows, table) == by_fastavro(rows.to_pylist(), table)


def alerts(survey: str) -> pa.RecordBatch:
    if survey == "ztf":
        data = container([ztf_record(number, null=number % 2 == 0, distnr=math.nan) for number in range(1, 40)])
    else:
        records = [lsst_record(number) for number in range(1, 5)] + [
            filled(LSST_SCHEMA, number, number > 6) for number in (5, 6, 7)
        ]
        data = container(records, LSST_SCHEMA)
    packets = [one for one in open_packets(data, "s", WireSchemas()) if isinstance(one, Packet)]
    return decode(packets).rows[survey]


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_alerts_and_stamps_come_back_from_a_file_as_they_were(survey):
    whole = alerts(survey)
    for table in (SURVEYS[survey].alerts_table, SURVEYS[survey].cutouts_table):
        rows = whole.select(table.arrow_schema.names)
        assert encoded(rows, table) == by_fastavro(rows.to_pylist(), table)
        schema = get_avro_schema_from_table_schema(table.to_bigquery())
        parts = [rows.slice(0, 2), rows.slice(2)]
        blocks = [piece for part in parts for piece in container_blocks(part, table, SYNC)]
        file = b"".join([container_header(schema, SYNC), *blocks])
        back = list(fastavro.reader(io.BytesIO(file)))
        # By their bytes, because NaN equals nothing.
        assert encoded(pa.RecordBatch.from_pylist(back, schema=rows.schema), table) == encoded(rows, table)


def test_columns_that_are_missing_are_null_or_empty():
    table = Table(
        "t", (Column("a", "INT64"), Column("b", "STRING", "REPEATED"), Column("c", "RECORD", fields=(Column("d", "DATE"),)))
    )
    rows = pa.RecordBatch.from_pylist([{"a": 1}, {"a": None}], schema=pa.schema([table.columns[0].arrow]))
    expected = [{"a": 1, "b": [], "c": None}, {"a": None, "b": [], "c": None}]
    assert encoded(rows, table) == by_fastavro(expected, table)


def test_an_array_that_is_null_in_a_record_that_is_null_or_not_is_an_empty_one():
    item = Column("b", "INT64", "REPEATED")
    table = Table("t", (Column("a", "RECORD", fields=(item,)),))
    kind = pa.struct([pa.field("b", pa.list_(pa.int64()), nullable=False)])
    lists = pa.array([[1], None, None], pa.list_(pa.int64()))
    made = pa.StructArray.from_arrays([lists], fields=list(kind), mask=pa.array([False, False, True]))
    rows = pa.RecordBatch.from_arrays([made], schema=table.arrow_schema)
    assert encoded(rows, table) == by_fastavro([{"a": {"b": [1]}}, {"a": {"b": []}}, {"a": None}], table)


@pytest.mark.parametrize(
    ("column", "array", "message"),
    [
        (Column("a", "INT64", "REQUIRED"), pa.array([1, None]), "column a is REQUIRED, and NULL in 1 of 2 rows"),
        (Column("a", "INT64"), pa.array([1.5, 2.5]), "column a is int64, and its values are double"),
        (Column("a", "INT64", "REPEATED"), pa.array([[1], [None]]), "an array of column a holds NULL"),
    ],
)
def test_rows_that_do_not_fit_their_table_are_refused(column, array, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        encode(pa.RecordBatch.from_arrays([array], names=["a"]), Table("t", (column,)))


def test_a_required_column_that_is_missing_is_refused():
    rows = pa.RecordBatch.from_arrays([pa.array([1])], names=["b"])
    with pytest.raises(ValueError, match=r"^column a is REQUIRED, and NULL in 1 of 1 rows$"):
        encode(rows, Table("t", (Column("a", "INT64", "REQUIRED"), Column("b", "INT64"))))


@pytest.mark.parametrize("table", [CROSSMATCHES, DEAD_LETTERS])
def test_no_rows_are_no_bytes(table):
    assert len(encoded(pa.RecordBatch.from_pylist([], schema=table.arrow_schema), table)) == 0


def test_there_is_room_for_the_longest_values():
    extremes = np.array([-(2**63), 2**63 - 1] * 500)
    table = Table("t", (Column("a", "INT64"), Column("b", "INT64", "REPEATED")))
    lists = pa.ListArray.from_arrays(np.arange(0, 1001, dtype=np.int32), pa.array(extremes))
    rows = pa.RecordBatch.from_arrays([pa.array(extremes), lists.cast(table.columns[1].arrow.type)], schema=table.arrow_schema)
    assert encoded(rows, table) == by_fastavro(rows.to_pylist(), table)


@pytest.mark.parametrize("parent", ["NULLABLE", "REPEATED"])
def test_a_required_field_may_be_null_only_where_its_record_is(parent):
    table = Table("t", (Column("a", "RECORD", parent, fields=(Column("b", "INT64", "REQUIRED"),)),))
    kind = pa.struct([pa.field("b", pa.int64(), nullable=False)])

    def batch(numbers: pa.Array, mask: list[bool] | None) -> pa.RecordBatch:
        made = pa.StructArray.from_arrays([numbers], fields=list(kind), mask=mask and pa.array(mask))
        if parent == "REPEATED":
            made = pa.ListArray.from_arrays(np.arange(len(made) + 1, dtype=np.int32), made, table.columns[0].arrow.type)
        return pa.RecordBatch.from_arrays([made], schema=table.arrow_schema)

    if parent == "NULLABLE":
        whole = batch(pa.array([1, None]), [False, True])
        assert encoded(whole, table) == by_fastavro([{"a": {"b": 1}}, {"a": None}], table)
    with pytest.raises(ValueError, match=r"^column b is REQUIRED, and NULL in 1 of 2 rows$"):
        encode(batch(pa.array([1, None]), None), table)


def test_null_items_that_no_row_has_are_no_matter():
    table = Table("t", (Column("a", "INT64", "REPEATED"),))
    lists = pa.array([[None], [1]], pa.list_(pa.int64()))
    rows = pa.RecordBatch.from_arrays([lists.slice(1)], schema=table.arrow_schema)
    assert encoded(rows, table) == by_fastavro([{"a": [1]}], table)


@pytest.mark.parametrize(("block_bytes", "rows_in_blocks"), [(2**20, [5]), (210, [2, 2, 1]), (1, [1] * 5)])
def test_blocks_do_not_get_large(monkeypatch, block_bytes, rows_in_blocks):
    monkeypatch.setattr(encoder, "_BLOCK_BYTES", block_bytes)
    table = Table("t", (Column("a", "BYTES"),))
    rows = pa.RecordBatch.from_pylist([{"a": bytes(100)}] * 5, schema=table.arrow_schema)
    header = container_header(get_avro_schema_from_table_schema(table.to_bigquery()), SYNC)
    file = io.BytesIO(b"".join([header, *container_blocks(rows, table, SYNC)]))
    assert [block.num_records for block in fastavro.block_reader(file)] == rows_in_blocks
    file.seek(0)
    assert list(fastavro.reader(file)) == rows.to_pylist()
