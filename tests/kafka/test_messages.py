"""Messages of ranges of offsets: each once, with holes, with what retention took, with keys and headers as they were sent."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.kafka_client import KafkaProblem, KafkaSettings, read_config
from streams.kafka_messages import KafkaMessage, LostRange, read_ranges
from streams.kafka_ranges import KafkaTopics, OffsetRange, Plan, share
from tests.kafka.topics import TestTopics


def settings(kafka: TestTopics) -> KafkaSettings:
    return KafkaSettings(kafka.servers, "tests")


def read(kafka: TestTopics, *ranges: OffsetRange) -> list[KafkaMessage | LostRange]:
    return [message for some in read_ranges(settings(kafka), ranges) for message in some]


def test_every_message_of_some_ranges_once(kafka: TestTopics) -> None:
    topic = kafka.make(kafka.name())
    kafka.send(topic, [f"{number}".encode() for number in range(2000)])
    found = read(kafka, *(OffsetRange(topic, partition, 10, 400) for partition in range(4)))
    assert sorted(int(message.value) for message in found) == list(range(40, 1600))
    assert {(message.partition, message.offset): int(message.value) for message in found} == {
        (number % 4, number // 4): number for number in range(40, 1600)
    }


def test_a_range_ends_where_offsets_have_no_message(kafka: TestTopics) -> None:
    """Marks of transactions stand among the messages, and at the end of a partition: nothing comes at them."""
    topic = kafka.make(kafka.name(), 1)
    producer = kafka.transactional("t")
    for number in range(6):
        producer.begin_transaction()
        producer.produce(topic, f"{number}".encode())
        assert producer.flush(30) == 0
        (producer.abort_transaction if number % 3 == 2 else producer.commit_transaction)(30)
    with_marks = KafkaTopics(settings(kafka), topic)
    (low, high) = with_marks.ends([(topic, 0)])[topic, 0]
    with_marks.close()
    assert (low, high) == (0, 12)
    assert [message.value for message in read(kafka, OffsetRange(topic, 0, 0, high))] == [b"0", b"1", b"3", b"4"]
    assert read(kafka, OffsetRange(topic, 0, 4, 6)) == []


def test_what_retention_took_is_told_with_its_range(kafka: TestTopics) -> None:
    topic = kafka.make(kafka.name(), 2)
    kafka.send(topic, [f"{number}".encode() for number in range(40)], partitions=2)
    kafka.delete_before(topic, 0, 7)
    kafka.delete_before(topic, 1, 20)
    found = read(kafka, OffsetRange(topic, 0, 2, 12), OffsetRange(topic, 1, 3, 15))
    lost = sorted(message.range for message in found if isinstance(message, LostRange))
    assert lost == [OffsetRange(topic, 0, 2, 7), OffsetRange(topic, 1, 3, 15)]
    assert [message.offset for message in found if isinstance(message, KafkaMessage)] == list(range(7, 12))


def test_key_headers_time_and_size_as_they_were_sent(kafka: TestTopics) -> None:
    topic = kafka.make(kafka.name(), 1)
    large = bytes(range(256)) * 30_000
    headers = [("schema", b"v7"), ("schema", b"again"), ("raw", b"\xff\xfe"), ("none", None)]
    kafka.send(topic, [large, None], partitions=1, keys=[b"ZTF18", b"\x80"], headers=headers)
    first, second = read(kafka, OffsetRange(topic, 0, 0, 2))
    assert first.value == large
    assert first.attributes() == {"key": "ZTF18", "schema": "v7", "schema_again": "again", "raw_base64": "//4="}
    assert first.published_at is not None
    assert first.source("c") == f"kafka://c/{topic}/0/0"
    assert (second.value, second.attributes()["key_base64"]) == (None, "gA==")


def test_a_share_is_of_all_ranges_alike() -> None:
    ranges = [OffsetRange("t", partition, 5, 5 + size) for partition, size in enumerate((3, 100, 10, 1000))]
    assert [len(each) for each in share(ranges, 10_000)] == [3, 100, 10, 1000]
    assert sum(len(each) for each in share(ranges, 200)) == 200
    assert [len(each) for each in share(ranges, 200)] == [3, 93, 10, 94]
    assert [len(each) for each in share(ranges, 1)] == [1]
    assert share([], 10) == ()
    assert all(each.first_offset == 5 for each in share(ranges, 50))


def test_a_plan_is_known_again_by_its_ranges() -> None:
    plan = Plan("c", "g", (OffsetRange("t", 0, 1, 2), OffsetRange("t", 1, 2**40, 2**40 + 5)))
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.messages == 6
    assert Plan.from_json(plan.to_json()).uri == plan.uri
    later = [Plan("c", "g", plan.ranges, f"2026-11-29T03:00:{second:02}.000+00:00") for second in (9, 10)]
    assert later[0].uri < later[1].uri
    assert Plan.from_json(later[0].to_json()) == later[0]
    # As it was kept before plans had a time.
    assert Plan.from_json('{"cluster_id": "c", "group": "g", "ranges": []}') == Plan("c", "g", ())
    assert Plan("c", "other", plan.ranges).uri != plan.uri != Plan("c", "g", plan.ranges[:1]).uri


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sasl.password", "line 1: it is not of the form key=value"),
        ("# fine\n\nsasl.mechanism=PLAIN\ngroup.id=x", "line 4: group.id is not for this file; --kafka_group says it"),
        ("enable.auto.commit=true", "line 1: enable.auto.commit is not for this file"),
    ],
)
def test_what_a_file_of_settings_may_not_say(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "kafka.properties"
    file.write_text(text)
    with pytest.raises(KafkaProblem, match=told):
        read_config(str(file))


def test_a_setting_that_the_client_does_not_know_is_told_without_its_value(tmp_path: Path) -> None:
    pytest.importorskip("confluent_kafka")
    file = tmp_path / "kafka.properties"
    file.write_text("sasl.pasword=hunter2\n")
    with pytest.raises(KafkaProblem, match=r"No such configuration property.*sasl.pasword") as raised:
        KafkaSettings("127.0.0.1:1", "g", str(file)).consumer()
    assert "hunter2" not in str(raised.value)
    with pytest.raises(KafkaProblem, match="cannot be read"):
        read_config(str(tmp_path / "none"))
