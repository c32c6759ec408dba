"""Hits into a real Kafka: topics that are made, keys and headers, order, what is refused, and who is killed while sending."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from broker import cli
from streams import read_kafka
from streams.addresses import parse_address
from streams.errors import StreamAway
from streams.readers import open_reader
from tests.kafka.topics import TestTopics
from tests.nights import ask, run, simulated
from tests.pipelines.test_filters import BRIGHT, folder, verdicts

ALERTS = 300
ALL_OF_THEM = "SELECT alert_id FROM alerts WHERE ra_deg > -1 AND candidate.jd > 0"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--seed", "12")


def messages(kafka: TestTopics, topic: str) -> list[Message]:
    """All messages of a topic, partition by partition."""
    consumer = Consumer({"bootstrap.servers": kafka.servers, "group.id": "read", "enable.auto.commit": False})
    found = []
    for number in consumer.list_topics(topic, timeout=30).topics[topic].partitions:
        here = TopicPartition(topic, number)
        low, high = consumer.get_watermark_offsets(here, timeout=30)
        consumer.assign([TopicPartition(topic, number, low)])
        while low < high:
            message = consumer.poll(30)
            assert message is not None
            assert message.error() is None
            found.append(message)
            low = message.offset() + 1
    consumer.close()
    return found


def headers(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers()}


def test_topics_are_made_and_each_object_stays_in_order(kafka: TestTopics, night: Path, tmp_path: Path):
    topic = kafka.name("hits")
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    publish = ("--publish", f"kafka:{kafka.servers}/{topic}-{{survey}}-{{filter}}?format=json")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *publish)) == 0
    came = messages(kafka, f"{topic}-ztf-bright")
    assert sorted(int(headers(one)["alert_id"]) for one in came) == sorted({row[0] for row in verdicts(tmp_path / "w", "bright")})
    places: dict[bytes, set[int]] = {}
    for one in came:
        told = headers(one)
        assert one.key().decode().endswith(f":{told['object_id']}")
        assert json.loads(one.value())["id"] == told["id"]
        places.setdefault(one.key(), set()).add(one.partition())
    assert max(map(len, places.values())) == 1


def test_what_is_refused_is_a_dead_letter_and_holds_up_no_other(kafka: TestTopics, night: Path, tmp_path: Path):
    small, large = kafka.make(kafka.name("small"), 1, **{"max.message.bytes": "3000"}), kafka.name("large")
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    publish = (
        "--publish",
        f"kafka:{kafka.servers}/{small}?format=packet",
        "--publish",
        f"kafka:{kafka.servers}/{large}?format=packet",
    )
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *publish)) == 0
    hits = {row[0] for row in verdicts(tmp_path / "w", "bright")}
    assert {int(headers(one)["alert_id"]) for one in messages(kafka, large)} == hits
    assert messages(kafka, small) == []
    letters = ask(tmp_path / "w", "SELECT stage, COUNT(*), COUNT(payload) FROM dead_letters_open GROUP BY stage")
    assert letters == [("publish", len(hits), len(hits))]
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM outbox_open") == [(0,)]
    # When the topic takes them, a replay sends them.
    kafka.delete(small)
    kafka.make_again(small)
    assert cli.main(["replay", "--warehouse", str(tmp_path / "w"), "--no_cutouts"]) == 0
    assert {int(headers(one)["alert_id"]) for one in messages(kafka, small)} == hits
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM dead_letters_open") == [(0,)]
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM ztf_alerts") == [(ALERTS,)]


def test_killed_while_it_sends_nothing_is_lost_and_by_id_nothing_is_there_twice(kafka: TestTopics, night: Path, tmp_path: Path):
    topic = kafka.name("killed")
    filters = folder(tmp_path / "filters", every=ALL_OF_THEM)
    words = [sys.executable, "-m", "broker", "ingest", "--input", str(night), "--warehouse", str(tmp_path / "w"), "--no_cutouts"]
    words += ["--filters", str(filters), "--publish", f"kafka:{kafka.servers}/{topic}?format=json"]
    # How long it takes where nobody is killed: with another warehouse and topic.
    other = [word.replace(str(tmp_path / "w"), str(tmp_path / "other")).replace(topic, f"{topic}-other") for word in words]
    begin = time.monotonic()
    assert subprocess.run(other, check=False, capture_output=True).returncode == 0
    secs = time.monotonic() - begin
    for number in range(4):
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(secs * (0.5 + 0.12 * number))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    sender = [sys.executable, "-m", "broker", "publish", "--outbox", "--warehouse", str(tmp_path / "w")]
    # Whoever comes next sends the rest: a run, or by hand.
    assert subprocess.run(words, check=False, capture_output=True).returncode == 0
    assert subprocess.run(sender, check=False, capture_output=True).returncode == 0
    came = Counter(headers(one)["id"] for one in messages(kafka, topic))
    assert len(came) == ALERTS
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM outbox_open") == [(0,)]


def test_who_listens_can_prove_that_all_came_and_finds_what_is_lost(
    kafka: TestTopics, night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    topic = kafka.make(kafka.name("proved"), 1)
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    publish = ("--publish", f"kafka:{kafka.servers}/{topic}")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *publish)) == 0
    listen = ["listen", f"kafka:{kafka.servers}/{topic}", "--once", "--quiet_secs", "2", "--verify"]
    hits = len({row[0] for row in verdicts(tmp_path / "w", "bright")})
    capfd.readouterr()
    assert cli.main(listen) == 0
    said = capfd.readouterr()
    assert len(said.out.splitlines()) == hits
    assert f"tell of {hits:,} messages; 0 of them are missing" in said.err
    first = headers(messages(kafka, topic)[0])["id"]
    kafka.delete_before(topic, 0, 1)
    assert cli.main(listen) == 1
    assert f"missing: {first}" in capfd.readouterr().err


def test_partitions_that_a_topic_gets_are_listened_to(kafka: TestTopics, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(read_kafka, "_PARTITIONS_SECS", 0.2)
    topic = kafka.make(kafka.name("widened"), 1)
    reader = open_reader(parse_address(f"kafka:{kafka.servers}/{topic}", "ADDRESS"), "latest")
    kafka.widen(topic, 3)
    # The first of them, before anybody has seen that there are others, among them.
    sent = {f"{number}".encode() for number in range(9)}
    assert kafka.send(topic, sorted(sent), partitions=3, **{"topic.metadata.propagation.max.ms": 10_000}) == len(sent)
    came, deadline = list[bytes | None](), time.monotonic() + 30
    while len(came) < len(sent) and time.monotonic() < deadline:
        came += [message.value for message in reader.read(0.5)]
    reader.close()
    assert sorted(came) == sorted(sent)


def test_a_partition_that_cannot_be_asked_is_a_stream_that_is_away(kafka: TestTopics):
    topic = kafka.make(kafka.name("hits"), 1)
    reader = open_reader(parse_address(f"kafka:{kafka.servers}/{topic}", "ADDRESS"))
    assert isinstance(reader, read_kafka.KafkaReader)
    with pytest.raises(StreamAway, match=topic):
        reader._ends(TopicPartition(topic, 7))
    reader.close()
