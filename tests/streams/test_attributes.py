"""Key and headers as attributes of Pub/Sub and back: whatever they hold, within Pub/Sub's limits."""

from __future__ import annotations

import random
from datetime import datetime, timezone

import pytest

from streams.attributes import MAX_ATTRIBUTES, MAX_NAME_BYTES, MAX_VALUE_BYTES, from_attributes, to_attributes
from streams.errors import MessageRefused
from streams.kafka_messages import KafkaMessage, LostRange
from streams.kafka_ranges import OffsetRange
from streams.messages import Message
from streams.relayed import relayed, restored

Headers = tuple[tuple[str, bytes | None], ...]


def within_limits(attributes: dict[str, str]) -> bool:
    names, values = list(attributes), list(attributes.values())
    return (
        len(names) <= MAX_ATTRIBUTES
        and all(0 < len(name.encode()) <= MAX_NAME_BYTES and not name.lower().startswith("goog") for name in names)
        and all(0 < len(value.encode()) <= MAX_VALUE_BYTES for value in values)
        and not {"topic", "data", "self", "retry", "timeout", "ordering_key"} & set(names)
    )


ODD: list[Headers] = [
    (),
    (("schema", b"v7"),),
    (("b", b"1"), ("a", b"2"), ("c", b"3")),
    (("a", b"1"), ("a", b"2"), ("a", None), ("b", b"")),
    (("goog-id", b"1"), ("GOOGLE", b"2"), ("", b"3"), ("topic", b"4"), ("data", b"5"), ("self", b"6")),
    (("kafka_key", b"1"), ("kafka_rest_0", b"2"), ("kafka_no_value", b"3"), ("kafka_source", b"4"), ("key", b"5")),
    (("raw", b"\xff\xfe"), ("nul", b"\0"), ("umlaut-ä" * 40, "ü".encode())),
    (("long", b"x" * 1024), ("longer", b"x" * 1025), ("wide", "ü".encode() * 513)),
    tuple((f"name-{number:03d}", b"v") for number in range(300)),
    tuple((f"name-{number % 7}", bytes([number])) for number in range(256)),
    (("kafka_source", b"kafka://other/t/0/1"), ("kafka_timestamp_ms", b"no")),
]


@pytest.mark.parametrize("headers", ODD)
@pytest.mark.parametrize("key", [None, b"", b"ZTF18", b"\x80\x00", b"k" * 2000, "é".encode()])
@pytest.mark.parametrize("value", [None, b"", b"Obj"])
def test_key_and_headers_come_back_as_they_were(headers: Headers, key: bytes | None, value: bytes | None) -> None:
    message = Message(value, key, headers)
    attributes = to_attributes(message)
    assert within_limits(attributes)
    assert from_attributes(value or b"", attributes) == message
    sent = KafkaMessage("t.1", 3, 2**40, value, datetime(2026, 11, 29, 1, 2, 3, 4000, timezone.utc), key, headers)
    assert restored(from_attributes(value or b"", to_attributes(relayed(sent, "c")))) == ("c", sent)


def test_any_headers_at_all() -> None:
    chance = random.Random(7)
    names = ["", "a", "b", "goog", "topic", "kafka_rest_1", "kafka_source", "n" * 257, "ä"]
    for _ in range(2_000):
        headers = tuple(
            (chance.choice(names), chance.choice([None, b"", chance.randbytes(chance.randrange(40)), b"text"]))
            for _ in range(chance.randrange(12))
        )
        message = Message(b"v", chance.choice([None, b"k", chance.randbytes(3)]), headers)
        attributes = to_attributes(message)
        assert within_limits(attributes)
        assert from_attributes(b"v", attributes) == message


def test_what_fits_can_be_read_by_anybody() -> None:
    message = KafkaMessage(
        "t", 3, 7, b"v", datetime(2026, 11, 29, tzinfo=timezone.utc), b"ZTF18", (("schema", b"v7"), ("b", b"1"))
    )
    attributes = to_attributes(relayed(message, "c"))
    rest = attributes.pop("kafka_rest_0")
    assert attributes == {
        "kafka_key": "ZTF18",
        "kafka_source": "kafka://c/t/3/7",
        "kafka_topic": "t",
        "kafka_timestamp_ms": "1795910400000",
        "schema": "v7",
        "b": "1",
    }
    assert rest == '[[0,"kafka_source"],[1,"kafka_timestamp_ms"],[2,"kafka_topic"],[3,"schema"],[4,"b"]]'


def test_no_more_than_that_is_carried_where_nothing_is_odd() -> None:
    message = KafkaMessage("t", 3, 7, b"v", datetime(2026, 11, 29, tzinfo=timezone.utc))
    assert set(to_attributes(relayed(message, "c"))) == {"kafka_source", "kafka_topic", "kafka_timestamp_ms"}


def test_headers_that_no_attributes_hold_are_refused() -> None:
    with pytest.raises(MessageRefused, match=r"its 1 headers need 1\d\d attributes of Pub/Sub, which allows 100"):
        to_attributes(Message(b"v", None, (("large", random.Random(1).randbytes(100_000)),)))
    long = Message(b"v", None, (("long", b"schema" * 100_000),))
    assert from_attributes(b"v", to_attributes(long)) == long


def test_what_kafka_has_deleted_is_told_on() -> None:
    lost = LostRange(OffsetRange("t", 2, 5, 9))
    message = relayed(lost, "c")
    attributes = to_attributes(message)
    assert attributes["kafka_source"] == "kafka://c/t/2/5..8"
    assert restored(from_attributes(b"", attributes)) == ("c", lost)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"schema": "v7"},
        {"kafka_source": ""},
        {"kafka_source": "kafka://c/t/x/1"},
        {"kafka_source": "kafka://c/t/1"},
        {"kafka_source": "kafka://c/t/1/2/3"},
        {"kafka_source": f"kafka://c/t/1/{'9' * 30}"},
    ],
)
def test_what_comes_from_elsewhere_is_no_message_of_kafka(attributes: dict[str, str]) -> None:
    assert restored(from_attributes(b"", attributes)) is None


@pytest.mark.parametrize(
    "attributes",
    [
        {"kafka_rest_0": "{}"},
        {"kafka_rest_x": "[]"},
        {"kafka_rest_0": '[["a"]]'},
        {"kafka_rest_0": '[[0,"a","?"]]'},
        {"kafka_rest_0": "AAAA"},
    ],
)
def test_attributes_that_nobody_of_ours_made_are_told(attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"no list|invalid literal|no header|base64|padding|no rest"):
        from_attributes(b"", attributes)
