"""Messages to Kafka: as they were given, each once, and what was not delivered is told."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest

from broker import cli
from pipelines.messages import messages
from streams.errors import MessageRefused
from streams.kafka_client import KafkaAway, KafkaProblem, KafkaSettings
from streams.kafka_messages import KafkaMessage, read_ranges
from streams.kafka_ranges import OffsetRange
from streams.messages import Message
from streams.write_kafka import KafkaWriter
from tests.kafka.topics import TestTopics
from tests.nights import simulated


def read(kafka: TestTopics, topic: str, count: int) -> list[KafkaMessage]:
    found = read_ranges(KafkaSettings(kafka.servers, "tests"), [OffsetRange(topic, 0, 0, count)])
    return [message for some in found for message in some if isinstance(message, KafkaMessage)]


def test_value_key_and_headers_arrive_as_they_were(kafka: TestTopics) -> None:
    topic = kafka.make(kafka.name(), 1)
    sent = [
        Message(b"Obj1", b"ZTF18", (("a", b"1"), ("a", b"\xff"), ("none", None), ("", b""))),
        Message(None, b"\x80"),
        Message(b"", b""),
        *(Message(f"{number}".encode()) for number in range(2_000)),
    ]
    with KafkaWriter(kafka.servers, topic) as writer:
        writer.check()
        for message in sent:
            assert writer.room(10)
            writer.send(message)
        flushed = writer.flush(30)
    assert (flushed.on_their_way, flushed.undelivered) == (0, ())
    assert writer.deliveries.messages == len(sent)
    assert [Message(found.value, found.key, found.headers) for found in read(kafka, topic, len(sent))] == sent


def test_a_full_queue_is_waited_for(kafka: TestTopics, tmp_path: Path) -> None:
    topic = kafka.make(kafka.name(), 1)
    file = tmp_path / "settings"
    file.write_text("queue.buffering.max.messages=7\n")
    with KafkaWriter(kafka.servers, topic, str(file)) as writer:
        for number in range(500):
            writer.send(Message(f"{number}".encode()))
        assert writer.flush(30).undelivered == ()
    assert [int(message.value or b"") for message in read(kafka, topic, 500)] == list(range(500))


def test_a_message_that_is_too_large_is_told_and_the_others_arrive(kafka: TestTopics) -> None:
    topic = kafka.make(kafka.name(), 1)
    too_large = Message(b"0" * 9_000_000)
    with KafkaWriter(kafka.servers, topic) as writer:
        for message in (Message(b"a"), too_large, Message(b"b")):
            writer.send(message)
        (refused,) = writer.flush(30).undelivered
    assert refused.message is too_large
    assert isinstance(refused.why, MessageRefused)
    assert "Kafka refuses a message of 9,000,000 bytes" in str(refused.why)
    assert {message.value for message in read(kafka, topic, 2)} == {b"a", b"b"}


def test_what_is_not_there_is_told_before_anything_is_sent(kafka: TestTopics, tmp_path: Path) -> None:
    topic = kafka.make(kafka.name())
    with KafkaWriter(kafka.servers, f"{topic}x") as writer, pytest.raises(KafkaProblem, match=rf"did you mean {topic}\?"):
        writer.check()
    with KafkaWriter("127.0.0.1:1", topic) as writer, pytest.raises(KafkaAway, match=r"127\.0\.0\.1:1 does not answer"):
        writer.check()
    file = tmp_path / "settings"
    file.write_text("sasl.pasword=hunter2\n")
    with pytest.raises(KafkaProblem, match=r"sasl\.pasword") as raised:
        KafkaWriter(kafka.servers, topic, str(file))
    assert "hunter2" not in str(raised.value)


def test_a_topic_that_goes_away_is_told_within_seconds(kafka: TestTopics) -> None:
    with KafkaWriter(kafka.servers, "no-such-topic-at-all") as writer:
        writer.send(Message(b"a"))
        began = time.monotonic()
        (failure,) = writer.flush(30).undelivered
        assert time.monotonic() - began < 20
    assert "no-such-topic-at-all" in str(failure.why)


def test_a_kafka_that_is_away_keeps_nobody_waiting_for_ever() -> None:
    began = time.monotonic()
    with KafkaWriter("127.0.0.1:1", "t") as writer:
        writer.send(Message(b"a"))
        assert writer.flush(0.3).on_their_way == 1
    assert time.monotonic() - began < 10


def test_publish_puts_every_packet_on_the_topic(kafka: TestTopics, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night = str(simulated(tmp_path, "--alerts", "40", "--damaged", "6", "--seed", "8"))
    topic = kafka.make(kafka.name(), 1)
    address = f"kafka:{kafka.servers}/{topic}"
    assert cli.main(["publish", "--input", night, "--to", address, "--rate", "400/s"]) == 0
    sent = Counter(messages([night], empty=True))
    assert sent[b""]
    assert f"published {sent.total()} messages" in capsys.readouterr().out
    assert Counter(message.value for message in read(kafka, topic, sent.total())) == sent
    assert cli.main(["publish", "--input", night, "--to", f"{address}x"]) == 2
    assert "has no topic" in capsys.readouterr().err
    assert cli.main(["publish", "--input", night, "--to", f"{address}?ordered"]) == 2
    assert "ordered is not for this command" in capsys.readouterr().err


def test_small_messages_are_not_refused_for_what_they_are_sent_with(kafka: TestTopics) -> None:
    # What the client puts together is more than this topic takes, though only one of the messages is.
    topic = kafka.make(kafka.name(), 1, **{"max.message.bytes": "20000"})
    chance = random.Random(1)
    small, large = [Message(chance.randbytes(1_000)) for _ in range(100)], Message(chance.randbytes(30_000))
    with KafkaWriter(kafka.servers, topic) as writer:
        for message in (*small[:50], large, *small[50:]):
            assert writer.room(10)
            writer.send(message)
        flushed = writer.flush(30)
    assert [each.message for each in flushed.undelivered] == [large]
    assert isinstance(flushed.undelivered[0].why, MessageRefused)
    assert flushed.on_their_way == 0
    assert sorted(message.value or b"" for message in read(kafka, topic, len(small))) == sorted(
        each.value or b"" for each in small
    )
