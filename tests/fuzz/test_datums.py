"""Any datum of any schema: weighed as fastavro reads it, before fastavro reads it."""

from __future__ import annotations

import io
from typing import Any

import fastavro
from hypothesis import given
from hypothesis import strategies as st

from alerts.avro.weigh import weigh
from alerts.avro.wire_schemas import WriterSchema, writer_schema
from alerts.errors import UndecodablePacket, UnreadableInput
from tests.alerts.attacks import DATUM, with_field
from tests.alerts.making import as_text, datum, examples, filled, ingest
from tests.fuzz.making import accidents, assert_accounted, datums, in_time, schemas, suffer


def read(data: bytes, schema: WriterSchema) -> tuple[Any, int] | None:
    """What fastavro reads, and where it ends; None where it reads nothing."""
    file = io.BytesIO(data)
    try:
        return fastavro.schemaless_reader(file, schema.parsed, None), file.tell()
    except Exception:  # fastavro has no base class for what damaged bytes make it raise
        return None


def objects(value: Any) -> int:
    """How many objects a record is made of, keys of records apart."""
    if isinstance(value, dict):
        return 1 + sum(objects(one) for one in value.values())
    if isinstance(value, list):
        return 1 + sum(objects(one) for one in value)
    return 1


def known(schema: Any) -> WriterSchema | None:
    try:
        return writer_schema(as_text(schema))
    except UnreadableInput:  # a union of two arrays, of a union, ...
        return None


def a_datum(schema: Any, number: int, null: bool) -> bytes:
    """Any datum of a schema; none of one whose records hold themselves."""
    try:
        return datum(filled(schema, number, null), schema)
    except Exception:  # also of a union in which fastavro finds no place for the value
        return b""


@examples(400)
@given(schemas(), st.one_of(datums(), st.tuples(st.integers(0, 2**20), st.booleans())), accidents())
def test_a_datum_is_weighed_as_fastavro_reads_it(schema, made_of, some):
    writer = known(schema)
    if writer is None:
        return
    data = made_of if isinstance(made_of, bytes) else suffer(a_datum(schema, *made_of), some)
    with in_time():
        try:
            weight = weigh(data, 0, writer.nodes)
        except UndecodablePacket:
            return  # fastavro is not given it
        found = read(data, writer)
    if weight.stop is None:
        assert found is None
    elif found is not None:
        record, stop = found
        assert stop == weight.stop
        assert objects(record) <= weight.values


@examples(150)
@given(schemas(), datums(), accidents())
def test_a_packet_with_a_further_field_of_any_type_is_a_row_or_a_dead_letter(schema, value, some):
    packet = with_field(schema, value)
    with in_time():
        whole = ingest(packet)
        assert_accounted(whole)
        assert len(whole.rows) + len(whole.letters) == 1
        writer = known(schema)
        if writer is None:
            assert not whole.rows
        elif whole.rows:
            found = read(value, writer)
            assert found is not None
            assert found[1] == len(value)
        assert_accounted(ingest(suffer(packet, some)))


@examples(150)
@given(st.integers(1, 40), schemas(), st.lists(datums(), max_size=5), accidents())
def test_a_block_of_records_of_any_schema_is_divided_or_a_dead_letter(count, schema, values, some):
    packet = with_field(schema, DATUM.join(values))
    at = packet.index(DATUM) - 4
    with in_time():
        assert_accounted(ingest(suffer(packet, some)))
        assert_accounted(ingest(packet[: at - 1] + bytes([2 * count]) + packet[at:]))
