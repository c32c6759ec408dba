"""``broker relay`` struck by ``kill -9`` at random moments: every message of Kafka is in Pub/Sub, and copies have the same id."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from streams.kafka_messages import KafkaMessage
from streams.relayed import received
from tests.cloud.pulled import pulled
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud
from tests.faults.runs import Run, Verdict
from tests.faults.test_rounds import KILLS, messages, of, server, topics
from tests.kafka.topics import TestTopics

pytestmark = pytest.mark.faults
__all__ = ["messages", "server", "topics"]

SENT, BACKLOG = 5_350, 3_000


def test_killed_while_messages_come(
    topics: TestTopics,
    messages: list[bytes],
    pubsub: Cloud,
    tmp_path: Path,
    tell: Callable[..., None],
) -> None:
    name, topic = topics.make(topics.name()), Topic(pubsub.project)
    sent = list(of(messages, SENT))
    # A backlog, in whose midst some kills strike, and then what comes.
    topics.send(name, sent[:BACKLOG], keys=[b"k\xff"])
    sending = threading.Thread(target=topics.send, args=(name, sent[BACKLOG:]), kwargs={"rate": 150.0, "keys": [b"k\xff"]})
    sending.start()

    def begin(*others: str) -> Run:
        source = ("--kafka", topics.servers, "--kafka_topic", name, "--kafka_group", "faults")
        words = ("relay", *source, "--publish", f"pubsub:{topic.name}", *others)
        return Run(tmp_path / "log", *words, environment=pubsub.variables)

    chance = random.Random(8)
    struck = 0
    for _ in range(KILLS):
        run = begin()
        run.wait_for(lambda run=run: "group faults" in run.said)
        time.sleep(chance.uniform(0, 1.0))
        struck += run.kill()
    sending.join()
    last = begin("--once")
    assert last.end() == 0, last.said
    found: Counter[tuple[int, int]] = Counter()
    altered = 0
    for message in pulled(topic.subscriptions[0], lambda found: len({one.attributes["kafka_source"] for one in found}) >= SENT):
        _, kafkas = received(message.data, message.attributes) or ("", None)
        assert isinstance(kafkas, KafkaMessage)
        found[kafkas.partition, kafkas.offset] += 1
        altered += (kafkas.value, kafkas.key) != (sent[kafkas.offset * 4 + kafkas.partition], b"k\xff")
    missing = {(number % 4, number // 4) for number in range(SENT)} - set(found)
    faults = {kind: number for kind, number in {"missing": len(missing), "altered": altered}.items() if number}
    verdict = Verdict(int(bool(faults)), SENT, faults, Counter())
    copies = found.total() - len(found)
    tell(
        "Kafka to Pub/Sub by broker relay: SIGKILL at random moments",
        struck,
        verdict,
        f"{copies:,} messages twice in Pub/Sub, with the same id",
    )
    assert (verdict.lost, struck) == (0, KILLS)
