"""From Kafka to Pub/Sub: every message at least once with all that stands beside it, and ingest reads it as if from Kafka."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from google.cloud import pubsub_v1

from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from broker import cli
from streams import write_pubsub
from streams.kafka_client import KafkaSettings
from streams.kafka_messages import KafkaMessage, LostRange, read_ranges
from streams.kafka_ranges import KafkaTopics, OffsetRange
from streams.messages import Message
from streams.relay import Relay
from streams.relayed import received, restored
from streams.write_folder import FolderWriter
from streams.write_pubsub import PubsubWriter
from tests.cloud.pulled import pulled
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud
from tests.kafka.topics import TestTopics
from transforms.read_pubsub import open_message
from warehouses import at

ROOT = Path(__file__).parents[2]
CLUSTER = "pittbroker0000000000000w"


def words(kafka: TestTopics, topic: str, to: str, *others: str, group: str = "r") -> list[str]:
    source = ["--kafka", kafka.servers, "--kafka_topic", topic, "--kafka_group", group]
    return ["relay", *source, "--publish", to, *others]


def read(subscription: str, count: int) -> list[tuple[str, KafkaMessage | LostRange]]:
    """Messages of Kafka, each with its cluster, until so many different ones have come."""

    def enough(found) -> bool:
        return len({message.attributes.get("kafka_source") for message in found}) >= count

    return [received(message.data, message.attributes) or ("", None) for message in pulled(subscription, enough)]


def test_every_message_with_its_key_headers_and_time(
    kafka: TestTopics, pubsub: Cloud, packets: list[bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    begin, topic = kafka.name("night"), Topic(pubsub.project)
    name = kafka.make(f"{begin}_1")
    headers = [("schema", b"v7"), ("schema", b"again"), ("raw", b"\xff\xfe"), ("none", None), ("goog", b"x"), ("topic", b"")]
    kafka.send(name, [*packets[:20], b"no alert", None, b""], keys=[b"ZTF18", b"\x80"], headers=headers)
    flags = words(kafka, f"{begin}_.*", f"pubsub:{topic.name}", "--once")
    assert cli.main(flags) == 0
    out = capsys.readouterr().out
    assert "group r is new to Kafka and begins at the earliest, in 4 partitions\n" in out
    assert "relayed 23 messages (" in out
    found = read(topic.subscriptions[0], 23)
    assert {cluster for cluster, _ in found} == {CLUSTER}
    sent = {(message.partition, message.offset): message for _, message in found}
    for number, value in enumerate([*packets[:20], b"no alert", None, b""]):
        message = sent[number % 4, number // 4]
        assert message.value == value
        assert message.key == [b"ZTF18", b"\x80"][number % 2]
        assert message.headers == tuple(headers)
        assert message.published_at is not None
    assert kafka.committed("r", name) == [6, 6, 6, 5]
    # Nothing again; of a topic that appears later everything, and what retention has taken is told.
    later = kafka.make(f"{begin}_2", 1)
    kafka.send(later, packets[:6], partitions=1)
    kafka.send(name, packets[:1], partitions=1)
    kafka.commit("r", later, 1)
    kafka.delete_before(later, 0, 4)
    assert cli.main(flags) == 0
    assert "group r goes on where Kafka has it" in capsys.readouterr().out
    again = [message for _, message in read(topic.subscriptions[0], 4)]
    assert sorted(message.offset for message in again if isinstance(message, KafkaMessage)) == [4, 5, 6]
    assert [message.range for message in again if isinstance(message, LostRange)] == [OffsetRange(later, 0, 1, 4)]


def start(kafka: TestTopics, cloud: Cloud, topic: str, to: str, *others: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "broker", *words(kafka, topic, to, *others)]
    environment = {**os.environ, **cloud.variables}
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@contextlib.contextmanager
def ending(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is not left behind, whatever becomes of the test."""
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_killed_again_and_again_nothing_is_lost_and_sigterm_ends_it_with_0(
    kafka: TestTopics, pubsub: Cloud, packets: list[bytes]
) -> None:
    name, topic = kafka.make(kafka.name()), Topic(pubsub.project)
    kafka.send(name, packets * 20)
    chance = random.Random(6)
    for _ in range(3):
        with ending(start(kafka, pubsub, name, f"pubsub:{topic.name}")) as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.5))
    with ending(start(kafka, pubsub, name, f"pubsub:{topic.name}")) as process:
        found = read(topic.subscriptions[0], 1200)
        assert {(message.partition, message.offset) for _, message in found} == {
            (number % 4, number // 4) for number in range(1200)
        }
        deadline = time.monotonic() + 30
        while kafka.committed("r", name) != [300] * 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        # Also while it waits.
        with pubsub_v1.PublisherClient() as client:
            client.delete_topic(topic=topic.name)
        kafka.send(name, packets[:1])
        assert process.stderr is not None
        assert f"waiting: there is no topic {topic.name}" in process.stderr.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert time.monotonic() - began < 10


def test_a_place_that_is_away_is_waited_for(
    kafka: TestTopics, pubsub: Cloud, packets: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    name, topic = kafka.make(kafka.name()), Topic(pubsub.project)
    kafka.send(name, packets[:8])
    monkeypatch.setattr(write_pubsub, "_TRIED_SECS", 0.5)
    made = []

    def writer() -> PubsubWriter:
        with monkeypatch.context() as patched:
            if not made:
                patched.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
            made.append(PubsubWriter(topic.name))
        return made[-1]

    settings = KafkaSettings(kafka.servers, "r")
    relay = Relay(settings, KafkaTopics(settings, name), "group", writer, once=True, tell=lambda text: None)
    relay.run()
    relay.topics.close()
    assert len(made) >= 2
    assert [text for text in caplog.messages if text.startswith("waiting: Pub/Sub does not take messages")]
    assert len(read(topic.subscriptions[0], 8)) == 8
    assert kafka.committed("r", name) == [2, 2, 2, 2]


def test_what_pubsub_never_takes_stops_the_relay_or_is_put_aside(
    kafka: TestTopics, pubsub: Cloud, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, topic = kafka.make(kafka.name(), 1), Topic(pubsub.project)
    kafka.send(name, packets[:3], partitions=1)
    kafka.send(name, [b"Obj"], partitions=1, headers=[("kafka_source", random.Random(1).randbytes(100_000))])
    kafka.send(name, packets[3:5], partitions=1)
    flags = words(kafka, name, f"pubsub:{topic.name}", "--once")
    assert cli.main(flags) == 1
    err = capsys.readouterr().err
    assert f"kafka://{CLUSTER}/{name}/0/3 is not taken: its 4 headers need" in err
    assert "give --refused folder:PATH" in err
    assert kafka.committed("r", name, 1) == [0]
    assert cli.main([*flags, "--refused", f"folder:{tmp_path}/kept"]) == 0
    assert kafka.committed("r", name, 1) == [6]
    assert {message.offset for _, message in read(topic.subscriptions[0], 5)} == {0, 1, 2, 4, 5}
    assert (tmp_path / "kept" / f"{name}-0-000000000003.avro").read_bytes() == b"Obj"


def test_ingest_reads_a_message_that_was_sent_on_as_one_of_kafka(kafka: TestTopics, pubsub: Cloud, packets: list[bytes]) -> None:
    name, topic = kafka.make(kafka.name(), 1), Topic(pubsub.project)
    kafka.send(name, [packets[0], b"no alert"], partitions=1, keys=[b"k\xff"], headers=[("h", b"1"), ("h", b"2")])
    assert cli.main(words(kafka, name, f"pubsub:{topic.name}", "--once")) == 0
    came = pulled(topic.subscriptions[0], lambda found: len(found) == 2)
    items = [
        item
        for message in came
        for item in open_message(
            PubsubMessage(message.data, dict(message.attributes), message.message_id, message.publish_time), WireSchemas()
        )
    ]
    (packet,) = [item for item in items if isinstance(item, Packet)]
    (letter,) = [item for item in items if isinstance(item, DeadLetter)]
    assert packet.source == f"kafka://{CLUSTER}/{name}/0/0"
    assert packet.published_at is not None
    assert packet.published_at < came[0].publish_time
    assert (letter.source, letter.payload) == (f"kafka://{CLUSTER}/{name}/0/1", b"no alert")
    assert {key: letter.attributes[key] for key in ("key_base64", "h", "h_again")} == {
        "key_base64": "a/8=",
        "h": "1",
        "h_again": "2",
    }


def test_from_kafka_through_pubsub_into_a_folder_all_is_accounted_for(
    kafka: TestTopics, pubsub: Cloud, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, topic, place = kafka.make(kafka.name()), Topic(pubsub.project, 2), str(tmp_path / "w")
    (opened,) = open_packets(packets[-1], "s", WireSchemas())
    assert isinstance(opened, Packet)
    kafka.send(name, [*packets[:10], b"no alert", None])
    kafka.send(name, [bytes(opened.datum)], keys=[opened.schema.text])
    lost = kafka.make(f"{name}_lost", 1)
    kafka.send(lost, packets[:3], partitions=1)
    kafka.commit("r", lost, 0)
    kafka.delete_before(lost, 0, 2)
    # A copy of all of it, as a relay sends it that was killed before it could say how far it was.
    for group in ("r", "again"):
        assert cli.main(words(kafka, f"{name}.*", f"pubsub:{topic.name}", "--once", group=group)) == 0
    sources = ["--subscription", topic.subscriptions[0], "--warehouse", place, "--once", "--every_secs", "0.5"]
    assert cli.main(["ingest", *sources]) == 0
    with at(place) as there:
        alerts = there.query("SELECT source, COUNT(*) AS n FROM ztf_alerts GROUP BY 1").to_pylist()
        letters = there.query("SELECT DISTINCT source FROM dead_letters").column("source").to_pylist()
    assert {row["source"]: row["n"] for row in alerts} == {
        **{f"kafka://{CLUSTER}/{name}/{number % 4}/{number // 4}": 2 for number in range(10)},
        f"kafka://{CLUSTER}/{name}/0/3": 2,
        f"kafka://{CLUSTER}/{lost}/0/2": 2,
    }
    assert sorted(letters) == sorted(
        [f"kafka://{CLUSTER}/{name}/2/2", f"kafka://{CLUSTER}/{name}/3/2", f"kafka://{CLUSTER}/{lost}/0/0..1"]
    )
    capsys.readouterr()
    status = cli.main(["audit", "--subscription", topic.subscriptions[1], "--silence_secs", "3", "--warehouse", place])
    out = capsys.readouterr().out
    assert status == 0, out


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--publish", "projects/p/topics/t"), "write pubsub:projects/p/topics/t"),
        (("--publish", "pubsub:projects/my-project/subscriptions/name"), "is a subscription, which is read; give a topic"),
        (("--publish", "pubsub:projects/my-project/topics/no-such-topic"), "there is no topic"),
        (("--publish", "folder:x?format=lite"), "format=lite is not for this command"),
        (("--refused", "kafka:a:1/t"), "write --refused folder:PATH"),
        (("--kafka_topic", "no-such-topic-at-all"), "Kafka has no such topic"),
        (("--kafka_topic", "("), "is no regular expression"),
        (("--kafka_from", "monday"), "--kafka_from monday is none of"),
        (("--kafka", "127.0.0.1:1"), "Kafka at 127.0.0.1:1 does not answer"),
        (("--kafka_config", "/nowhere"), "cannot be read"),
    ],
)
def test_what_is_refused_before_anything_starts(
    kafka: TestTopics, pubsub: Cloud, flags: tuple[str, ...], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*words(kafka, "nobody_has_such.*", f"folder:{tmp_path}", "--once"), *flags]) == 2
    assert told in capsys.readouterr().err


def test_what_is_read_is_not_written_to(kafka: TestTopics, capsys: pytest.CaptureFixture[str]) -> None:
    name = kafka.make(kafka.name())
    assert cli.main(words(kafka, f"{name}|x", f"kafka:{kafka.servers}/{name}")) == 2
    assert "would come again for ever" in capsys.readouterr().err


def test_latest_holds_for_what_is_there_and_a_topic_that_was_made_anew_ends_it(
    kafka: TestTopics, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begin = kafka.name("nights")
    old = kafka.make(f"{begin}_1", 1)
    kafka.send(old, [b"before"] * 4, partitions=1)
    flags = words(kafka, f"{begin}_.*", f"folder:{tmp_path}/out", "--once", "--kafka_from", "latest")
    assert cli.main(flags) == 0
    later = kafka.make(f"{begin}_2", 1)
    kafka.send(later, [b"later"] * 3, partitions=1)
    kafka.send(old, [b"after"] * 2, partitions=1)
    assert cli.main(flags) == 0
    assert sorted(file.read_bytes() for file in (tmp_path / "out").glob("*.avro")) == [b"after"] * 2 + [b"later"] * 3
    kafka.delete(old)
    kafka.make_again(old)
    kafka.commit("r", old, 6)
    capsys.readouterr()
    assert cli.main(flags) == 1
    assert f"{old}/0 ends at offset 0, before 6" in capsys.readouterr().err


def test_a_group_whose_old_topics_are_gone_is_told_to_kafka_again(
    kafka: TestTopics, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By a relay that has run since they were there."""
    begin = kafka.name("nights")
    old, new = (kafka.make(f"{begin}_{number}", 1) for number in (1, 2))
    for topic in (old, new):
        kafka.send(topic, [b"message"] * 2, partitions=1)
    settings = KafkaSettings(kafka.servers, begin)
    topics = KafkaTopics(settings, f"{begin}_.*")
    relay = Relay(settings, topics, "group", lambda: FolderWriter(str(tmp_path)))
    relay._writer = relay.new_writer()
    relay._begin()
    assert relay._round() == 0
    kafka.delete(old)
    # Kafka has forgotten what it was told.
    kafka.commit(begin, new, 0)
    relay._told_at -= 100_000
    assert relay._round() == 0
    topics.close()
    assert kafka.committed(begin, new, 1) == [2]
    assert "do not follow" not in caplog.text


def test_from_one_topic_of_kafka_to_another(kafka: TestTopics) -> None:
    name, other = kafka.make(kafka.name(), 1), kafka.make(kafka.name("copy"), 1)
    own = [("kafka_source", b"kafka://another/t/1/1"), ("h", b"\xff")]
    kafka.send(name, [b"Obj", None], partitions=1, keys=[b"k"], headers=own)
    assert cli.main(words(kafka, name, f"kafka:{kafka.servers}/{other}", "--once")) == 0
    found = [
        message for some in read_ranges(KafkaSettings(kafka.servers, "x"), [OffsetRange(other, 0, 0, 2)]) for message in some
    ]
    for number, message in enumerate(found):
        assert isinstance(message, KafkaMessage)
        _, again = restored(Message(message.value, message.key, message.headers)) or ("", None)
        assert isinstance(again, KafkaMessage)
        assert (again.topic, again.offset, again.headers) == (name, number, tuple(own))
        assert (again.value, again.key) == ([b"Obj", None][number], b"k")
    assert len(found) == 2


def test_another_relay_in_the_group_is_noticed(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = kafka.make(kafka.name(), 1)
    kafka.send(name, packets[:4], partitions=1)
    settings = KafkaSettings(kafka.servers, "r")
    relay = Relay(settings, KafkaTopics(settings, name), "group", lambda: PubsubWriter("unused"))
    relay._begin()
    kafka.commit("r", name, 3)
    relay._tell({(name, 0): 2})
    relay.topics.close()
    assert any("somebody else has set group r to offset 3" in text for text in caplog.messages)
