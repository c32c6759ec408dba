"""One grammar of addresses: what is right is understood, what is wrong is told in a sentence with what to write."""

from __future__ import annotations

import pytest

from streams.addresses import Address, parse_address
from streams.errors import StreamProblem

ALL = ("format", "config", "ordered", "private")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pubsub:projects/my-project/topics/alerts", Address("pubsub", "projects/my-project/topics/alerts")),
        ("pubsub:projects/my-project/subscriptions/s-1", Address("pubsub", "projects/my-project/subscriptions/s-1")),
        (
            "pubsub:projects/example.com:my-project/topics/T%2B1",
            Address("pubsub", "projects/example.com:my-project/topics/T%2B1"),
        ),
        ("kafka:host:9092/ztf_20261129", Address("kafka", "ztf_20261129", "host:9092")),
        ("kafka:a:1,b.org:65535,[::1]:9092/t.t-t", Address("kafka", "t.t-t", "a:1,b.org:65535,[::1]:9092")),
        ("folder:night", Address("folder", "night")),
        ("folder:/data/a b:c", Address("folder", "/data/a b:c")),
        (
            "kafka:host:9092/t?format=lite&config=/etc/a%26b&ordered&private",
            Address("kafka", "t", "host:9092", "lite", "/etc/a&b", True, True),
        ),
        ("folder:.?format=packet", Address("folder", ".", format="packet")),
    ],
)
def test_an_address_is_understood(text: str, found: Address) -> None:
    assert parse_address(text, "--to", ALL) == found


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no address; write pubsub:projects/PROJECT/topics/NAME, kafka:HOST:PORT/TOPIC, folder:PATH"),
        ("projects/my-project/topics/alerts", "write pubsub:projects/my-project/topics/alerts"),
        ("pubsup:projects/my-project/topics/alerts", "did you mean pubsub:projects/PROJECT/topics/NAME?"),
        ("./night", "write folder:./night"),
        ("s3:x", "is no address; write "),
        ("pubsub:my-topic", "is not of the form pubsub:projects/PROJECT/topics/NAME"),
        ("pubsub:projects/P/topics/alerts", "is not of the form pubsub:projects/PROJECT/topics/NAME"),
        ("kafka:host:9092", "names no topic; write kafka:HOST:PORT/TOPIC"),
        ("kafka:host:9092/", "names no topic; write kafka:HOST:PORT/TOPIC"),
        ("kafka:host/t", "host is not of the form HOST:PORT"),
        ("kafka:a:1,/t", "nothing is not of the form HOST:PORT"),
        ("kafka:host:9092/a b", "a b is no topic's name"),
        ("kafka:host:9092/..", ".. is no topic's name"),
        ("kafka:host:9092/" + 250 * "x", "is no topic's name"),
        ("folder:", "names no folder; write folder:PATH"),
        ("folder:gs://bucket/x", "is not on this machine"),
        ("folder:x?fromat=lite", "'fromat' is no option of an address; did you mean format?"),
        ("folder:x?z=1", "'z' is no option of an address; known are format, config, filter, ordered, private"),
        ("folder:x?format=csv", "format csv is not known; known are packet, lite, json"),
        ("folder:x?format", "format needs a value; write format=packet"),
        ("folder:x?ordered=1", "ordered takes no value; write ordered alone"),
        ("folder:x?ordered&ordered", "ordered is given twice"),
        ("folder:x?config=file", "config is for kafka alone"),
    ],
)
def test_what_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(StreamProblem, match=f"^--to {_plain(text)}") as raised:
        parse_address(text, "--to", ALL)
    assert told in str(raised.value)


def _plain(text: str) -> str:
    return "".join(rf"\{letter}" if not letter.isalnum() else letter for letter in text.partition("?")[0])


@pytest.mark.parametrize("option", ["format=lite", "config=x", "ordered", "private"])
def test_what_a_command_does_not_take_is_refused(option: str) -> None:
    with pytest.raises(StreamProblem, match="is not for this command; leave it out"):
        parse_address(f"kafka:host:9092/x?{option}", "--to")
    assert parse_address("folder:x?format=packet", "--to").format == "packet"


def test_a_file_of_secrets_is_not_shown() -> None:
    address = parse_address("kafka:host:9092/t?config=/etc/secret", "--to", ALL)
    assert "secret" not in f"{address} {address!r}"
