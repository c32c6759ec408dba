"""Packets that mean harm: a dead letter each, in little memory and time, and their neighbors are rows."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from alerts.avro.packets import open_packets, wrap_in_container
from alerts.avro.wire_schemas import WireSchemas, writer_schema
from alerts.limits import MAX_ALERT_DEPTH, MAX_BLOCK_BYTES, MAX_SCHEMA_PARTS
from alerts.surveys import SURVEYS
from tests.alerts.attacks import (
    DATUM,
    MIB,
    PACKET,
    Told,
    changed,
    deflated,
    gzipped,
    history_of_nothing,
    laughing,
    long,
    nested,
    schema_with,
    told,
    varint,
    with_field,
    with_schema,
    zeros,
    zstandard_of,
)
from tests.alerts.making import (
    SYNC,
    ZTF_SCHEMA,
    as_text,
    container,
    ingest,
    tar_of,
    wire_message,
    ztf_record,
)
from tests.within import TooMuch, within

SMALL, LARGE = 64 * MIB, 3 * MAX_BLOCK_BYTES
BOMB = deflated(zeros(MAX_BLOCK_BYTES + MIB))
NODE = {"type": "record", "name": "node", "fields": [{"name": "next", "type": ["null", "node"]}]}
ITSELF = {"type": "record", "name": "node", "fields": [{"name": "next", "type": "node"}]}
NOTHING = {"type": "record", "name": "nothing", "fields": []}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 10**6, "scale": 2}


def one_letter(data: bytes, reason: str, memory_bytes: int = SMALL) -> Told:
    """The packet is a dead letter for this reason; inside an archive its neighbors are none the worse for it."""
    alone = within(memory_bytes, 20, told, data)
    assert (alone.alert_ids, len(alone.messages)) == ([], 1), alone
    assert reason in alone.messages[0]
    among = within(memory_bytes, 20, told, tar_of({"1.avro": PACKET, "2.avro": data, "3.avro": container([ztf_record(3)])}))
    assert among.alert_ids == [1, 3]
    assert among.messages == alone.messages
    return alone


def _take(size: int) -> int:
    return len(bytes(size))


def _end() -> None:
    struct.unpack("P", b"")


def test_what_takes_too_much_would_be_noticed():
    assert within(SMALL, 10, _take, SMALL // 2) == SMALL // 2
    with pytest.raises(TooMuch, match="MemoryError"):
        within(SMALL, 10, _take, 2 * SMALL)
    with pytest.raises(TooMuch, match=r"struct\.error"):
        within(SMALL, 10, _end)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (nested(1, "null"), long(2**40) + b"\0"),
        (nested(1, NOTHING), long(2**40) + b"\0"),
        (nested(1, {"type": "fixed", "name": "none", "size": 0}), long(2**40) + b"\0"),
        (nested(1, "null"), long(-(2**40)) + long(1) + b"\0"),
        (nested(1, "null"), (long(2**19) + b"\0") + long(2**40)),
        (nested(2), long(4 * MIB) + bytes(4 * MIB) + b"\0"),
        ({"type": "map", "values": "null"}, long(4 * MIB) + bytes(4 * MIB) + b"\0"),
        (laughing(12), b""),
    ],
    ids=["nulls", "empty records", "empty fixed", "a block that tells its size", "twice", "empty arrays", "a map", "laughs"],
)
def test_more_values_than_an_alert_may_hold(kind, value):
    if value.startswith(long(2**19)):
        kind = {"type": "record", "name": "two", "fields": [{"name": "a", "type": kind}, {"name": "b", "type": kind}]}
    one_letter(with_field(kind, value), "the alert holds more than 1,048,576 values, the limit")


def test_a_history_of_nothing_is_not_left_to_the_compiled_decoder():
    # Each block has no more items than there are bytes left, all together have 2 * 10^8.
    assert len(history_of_nothing(20_000)) < 80_000
    one_letter(history_of_nothing(20_000), "the alert holds more than 1,048,576 values, the limit")


@pytest.mark.parametrize("depth", [10**3, 10**5, 10**6])
def test_records_nested_by_a_recursive_schema_until_the_stack_is_gone(depth):
    one_letter(with_field(NODE, b"\2" * depth + b"\0"), "nests records and arrays more than 32 deep")


def test_records_nested_as_deep_as_is_allowed():
    # The alert itself is a record too, and the last of them holds a null.
    allowed = told(with_field(NODE, b"\2" * (MAX_ALERT_DEPTH - 2) + b"\0"))
    assert allowed.alert_ids == [1]
    one_letter(with_field(NODE, b"\2" * (MAX_ALERT_DEPTH - 1) + b"\0"), "32 deep")


def test_a_record_that_holds_itself():
    one_letter(with_field(ITSELF, b""), "nests records and arrays more than 32 deep")


@pytest.mark.parametrize("kind", ["bytes", "string"])
@pytest.mark.parametrize("length", [2**40, 2**62, -1, -(2**40), -(2**63)])
def test_a_text_that_claims_any_length(kind, length):
    one_letter(with_field(kind, long(length) + b"abc"), "does not fit its schema")


@pytest.mark.parametrize("size", [-1, 2**27, 2**62, 2**70, 1.5, "4", None])
def test_a_fixed_value_of_any_size(size):
    text = as_text(schema_with({"type": "fixed", "name": "f", "size": size}))
    one_letter(with_schema(text, DATUM + b"abc"), "the schema has a fixed value of")


def test_a_decimal_number_that_would_take_hours_to_write():
    one_letter(with_field(DECIMAL, long(4 * MIB) + b"\7" * 4 * MIB), "decimal number of more than 64 bytes")
    fixed = {"type": "fixed", "name": "f", "size": 4 * MIB, "logicalType": "decimal", "precision": 9}
    one_letter(with_field(fixed, b"\7" * 4 * MIB), "decimal number of more than 64 bytes")


@pytest.mark.parametrize("count", [2, 10**6, 2**40, 2**62])
@pytest.mark.parametrize("block", [b"", b"x"])
def test_a_block_that_claims_more_records_than_it_has_room_for(count, block):
    empty = as_text({"type": "record", "name": "ztf.alert", "fields": []})
    one_letter(with_schema(empty, block, count), f"claims {count} records; no alert is so short")


@pytest.mark.parametrize("claims", [(1, 2**40), (1, -(2**40)), (-5, 3), (1, 2**62), (-(2**63), -(2**63))])
def test_a_block_that_claims_any_size(claims):
    count, size = claims
    one_letter(container([]) + long(count) + long(size) + b"xxx" + SYNC, "is damaged")


def test_tiny_records_do_not_become_dead_letters_of_a_large_schema_each():
    text = as_text({"type": "record", "name": "no.alert", "doc": "x" * 200_000, "fields": [{"name": "t", "type": "string"}]})
    found = within(SMALL, 20, told, with_schema(text, 1000 * (long(12) + b"hello, world"), 1000))
    assert len(found.messages) == 1000
    assert found.payload_bytes == 0


@pytest.mark.parametrize(
    ("codec", "block"),
    [
        ("deflate", BOMB),
        ("zstandard", zstandard_of(zeros(MAX_BLOCK_BYTES + 64 * MIB))),
        # A frame whose header claims 2^40 bytes.
        ("zstandard", b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + b"\1\0\0"),
        ("snappy", varint(2**32 - 1) + b"\0\0" + bytes(4)),
        ("snappy", varint(2**40) + b"\0\0" + bytes(4)),
    ],
    ids=["deflate", "zstandard", "zstandard claims", "snappy claims", "snappy claims 2^40"],
)
def test_blocks_that_decompress_to_gigabytes(codec, block):
    one_letter(wrap_in_container(writer_schema(as_text(ZTF_SCHEMA)), block, 1, codec), "does not decompress", LARGE)


def test_a_bomb_among_blocks_costs_only_itself():
    rest = container([ztf_record(2)], codec="deflate")
    header = len(container([], codec="deflate"))
    file = container([ztf_record(1)], codec="deflate") + long(1) + long(len(BOMB)) + BOMB + SYNC + rest[header:]
    found = within(LARGE, 20, told, file)
    assert found.alert_ids == [1, 2]
    assert "the limit" in found.messages[0]


@pytest.mark.parametrize("behind", [long(1) + long(11) + b"avro.schema" + long(2**30), long(2**40)], ids=["schema", "entries"])
def test_a_container_header_that_never_ends(behind):
    found = within(SMALL, 20, told, gzipped(zeros(100 * MIB, b"Obj\1" + behind)))
    assert "header is damaged or cut" in found.messages[0]


def test_a_header_of_many_entries_is_not_read_beyond_its_limit():
    entries = b"".join(b"\x0c%06d\0" % number for number in range(10**6))
    found = within(SMALL, 20, told, b"Obj\1" + long(2**40) + entries)
    assert "header is damaged or cut" in found.messages[0]


def test_an_alert_of_more_than_its_limit_is_not_taken_for_one():
    found = within(12 * 64 * MIB, 30, told, gzipped(zeros(65 * MIB, b"\0\0\0\3\xe8")))
    assert "an alert of 67108865 bytes; the limit is 67108864" in found.messages[0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (as_text(ZTF_SCHEMA) + b" " * 2**18, "bytes; the limit is 262144"),
        (as_text(schema_with(nested(80))), "nested more than 64 deep"),
        (b"[" * 10**5 + b"]" * 10**5, "not valid Avro (RecursionError"),
        (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, "not valid Avro (RecursionError"),
        (as_text([0] * (MAX_SCHEMA_PARTS + 1)), "more than 20,000 parts"),
        (changed(name="a" * 300), "a name of more than 256 characters"),
        (changed(version="4" * 300), "a version of more than 256 characters"),
        (changed(version={"a": "b" * 300}), "a version of more than 256 characters"),
        (
            changed(name="alert", fields=[{"name": "x", "type": {**NOTHING, "name": "union"}}]),
            "a type named 'union', a word of Avro's own",
        ),
        (changed().replace(b"{", b'{"doc": ' + b"9" * 4400 + b", ", 1), "not valid Avro (ValueError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_schemas_that_are_too_much(text, reason):
    one_letter(with_schema(text), reason)


def test_a_schema_that_says_it_has_been_checked_is_checked():
    # fastavro believes that, and follows a name that stands for itself until the stack is gone.
    trusted = {"__fastavro_parsed": True, "__named_schemas": {"a": "a"}}
    one_letter(with_schema(changed(**trusted, fields=[{"name": "x", "type": "a"}])), "no word of Avro's")
    inner = {"type": "record", "name": "r", "fields": [{"name": "x", "type": "a"}], **trusted}
    one_letter(with_schema(as_text(schema_with(inner))), "no word of Avro's")


def _many_schemas(count: int) -> int:
    for number in range(count):
        # Each different, each as large as is allowed, all of them alerts.
        text = changed(doc=f"{number:06}" + "x" * 240_000)
        told(with_schema(text))
    return count


def test_a_new_large_schema_with_every_packet_does_not_fill_the_memory():
    assert within(SMALL, 60, _many_schemas, 100) == 100


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "'; DROP TABLE ztf_alerts; --",
        "ztf'.alert",
        "ztf.alert; ATTACH 'x'",
        "ztf.alert\n",
        "`ztf`.alert",
        "/dev/null",
        "ztf.alert\0",
    ],
)
@pytest.mark.parametrize("part", ["name", "namespace"])
def test_a_schema_named_like_a_path_or_like_sql_is_of_no_survey(name, part):
    values: dict[str, Any] = {"namespace": "", "name": name} if part == "name" else {"namespace": name, "name": "alert"}
    fields = [one for one in ZTF_SCHEMA["fields"] if one["name"] not in ("objectId", "candidate")]
    outcome = ingest(with_schema(changed(**values, fields=fields)))
    assert not outcome.rows
    assert outcome.letters[0].survey is None
    # With ZTF's fields it is ZTF's all the same, under the survey's own name and no other.
    assert {row["survey"] for row in ingest(with_schema(changed(**values))).rows} <= set(SURVEYS)


def test_messages_of_any_schema_id_leave_no_more_behind_than_is_allowed():
    assert within(SMALL, 60, _refused_ids, 12_000) == 10_000


def _refused_ids(count: int) -> int:
    schemas = WireSchemas()
    message = wire_message({"x": 1}, 0, {"type": "record", "name": "a", "fields": [{"name": "x", "type": "int"}]})
    for number in range(count):
        list(open_packets(b"\0" + (2000 + number).to_bytes(4, "big") + message[5:], "m", schemas))
    return len(schemas._refused)
