"""Streams out, struck: who sends hits is killed at random moments, receivers go away, topics are deleted, messages refused."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.cloud import pubsub_v1

from broker import cli
from tests.emulators.cloud import Cloud
from tests.emulators.kafka_server import KafkaServer
from tests.emulators.settings import PUBSUB
from tests.emulators.tcp_relay import TcpRelay
from tests.faults.nights import Night
from tests.faults.runs import Run
from tests.faults.streams_out import Place, dealt, filters, heard, in_kafka, in_pubsub, open_letters, rows, verdict, waiting
from tests.faults.test_rounds import KILLS, messages, server, stream, topics
from tests.faults.test_streams import packed
from tests.kafka.topics import TestTopics

pytestmark = pytest.mark.faults
__all__ = ["messages", "server", "topics"]

AWAY_SECS = 60
PROVED = "`broker listen --verify` finds nothing missing"


def test_a_stream_into_kafka_is_killed(
    topics: TestTopics, messages: list[bytes], light: Night, tmp_path: Path, tell: Callable[..., None]
) -> None:
    """At any moment from where it begins, and, every other time, while it sends what a round has written."""
    source, warehouse, place = topics.make(topics.name()), tmp_path / "w", in_kafka(topics)
    asked = ("--filters", filters(tmp_path / "filters"), *place.flags, "--every_secs", "0.2")
    chance, struck = random.Random(21), 0
    *parts, rest = dealt(messages, KILLS + 1)
    for number, part in enumerate(parts):
        topics.send(source, part)
        run = stream(topics, source, warehouse, tmp_path / "log", *asked)
        sign, most_secs = ("round 1", 0.6) if number % 2 else ("group faults", 2.0)
        run.wait_for(lambda run=run, sign=sign: sign in run.said)
        time.sleep(chance.uniform(0, most_secs))
        struck += run.kill()
    topics.send(source, rest)
    last = stream(topics, source, warehouse, tmp_path / "log", *asked, "--once")
    assert last.end() == 0, last.said
    came = heard(place)
    found = verdict(light, warehouse, came.alerts)
    note = f"{came.copies:,} messages came again, with the same id; {PROVED}"
    tell("hits of a stream in rounds into Kafka: SIGKILL at random moments", struck, found, note)
    found.must_be_whole()
    assert (waiting(warehouse), came.status, struck) == (0, 0, KILLS), came.said


def test_runs_into_pubsub_are_killed(
    pubsub: Cloud, messages: list[bytes], light: Night, tmp_path: Path, tell: Callable[..., None]
) -> None:
    """Runs over a part of the night each, ten of them killed; what one has left the next one sends, whose input is another."""
    warehouse, place, given = tmp_path / "w", in_pubsub(pubsub.project), filters(tmp_path / "filters")
    parts = [packed(list(part), tmp_path / f"part{number}.tar") for number, part in enumerate(dealt(messages, KILLS))]

    def begin(warehouse: Path, place: Place, *inputs: Path) -> Run:
        locks = set(warehouse.glob("_tmp/*.lock"))
        words = [word for path in inputs for word in ("--input", path)]
        words += ["--warehouse", warehouse, "--filters", given, "--no_cutouts", *place.flags]
        run = Run(tmp_path / "log", "ingest", *words, environment=pubsub.variables)
        # Python's start is not what is tested here.
        run.wait_for(lambda: set(warehouse.glob("_tmp/*.lock")) - locks)
        return run

    undisturbed = begin(tmp_path / "undisturbed", in_pubsub(pubsub.project), parts[0])
    begun = time.monotonic()
    assert undisturbed.end() == 0, undisturbed.said
    secs = time.monotonic() - begun
    chance, struck = random.Random(22), 0
    for part in itertools.cycle(parts):
        run = begin(warehouse, place, part)
        time.sleep(secs * chance.random())
        struck += run.kill()
        if struck == KILLS:
            break
    last = begin(warehouse, place, *parts)
    assert last.end() == 0, last.said
    came = heard(place)
    found = verdict(light, warehouse, came.alerts)
    note = f"{came.copies:,} messages came again, with the same id; {PROVED}"
    tell("hits of runs into Pub/Sub: SIGKILL at random moments", struck, found, note)
    found.must_be_whole()
    assert (waiting(warehouse), came.status) == (0, 0), came.said


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[KafkaServer]:
    """A Kafka that nobody else needs."""
    with KafkaServer(tmp_path / "receiver") as started:
        yield started


@pytest.fixture
def relay(pubsub: Cloud) -> Iterator[TcpRelay]:
    """Before Pub/Sub."""
    started = TcpRelay(int(pubsub.variables[PUBSUB].rpartition(":")[2]))
    yield started
    started.close()


def test_receivers_are_away_for_a_minute(
    topics: TestTopics,
    receiver: KafkaServer,
    relay: TcpRelay,
    pubsub: Cloud,
    messages: list[bytes],
    light: Night,
    tmp_path: Path,
    tell: Callable[..., None],
) -> None:
    """Two of three, in the midst of what comes: tables go on, so does the third, and the outbox says that it waits."""
    source, warehouse = topics.make(topics.name()), tmp_path / "w"
    steady, away = in_kafka(topics), {"Kafka": in_kafka(TestTopics(receiver.servers)), "Pub/Sub": in_pubsub(pubsub.project)}
    outlets = [word for place in (steady, *away.values()) for word in place.flags]
    asked = ("--filters", filters(tmp_path / "filters"), *outlets, "--every_secs", "0.5")
    environment = {**pubsub.variables, PUBSUB: f"127.0.0.1:{relay.port}"}
    run = stream(topics, source, warehouse, tmp_path / "log", *asked, environment=environment)
    sending = threading.Thread(target=topics.send, args=(source, messages), kwargs={"rate": 300.0})
    sending.start()
    assert run.wait_for(lambda: rows(warehouse) > 1_000), run.said
    receiver.kill()
    relay.refuses = True
    relay.cut()
    begun = time.monotonic()
    assert run.wait_for(lambda: rows(warehouse) == len(messages)), run.said
    assert run.wait_for(lambda: not waiting(warehouse, steady)), run.said
    told = [f"hits wait in the outbox for {place.publish}: " for place in away.values()]
    assert run.wait_for(lambda: time.monotonic() - begun > AWAY_SECS and all(text in run.said for text in told)), run.said
    assert all(waiting(warehouse, place) > 1_000 for place in away.values())
    receiver.start()
    relay.refuses = False
    assert run.wait_for(lambda: not waiting(warehouse)), run.said
    run.process.terminate()
    assert run.end() == 0, run.said
    sending.join()
    assert heard(steady).status == 0
    for kind, place in away.items():
        came = heard(place)
        found = verdict(light, warehouse, came.alerts)
        note = f"tables and another receiver went on; sent when it was there again; {PROVED}"
        tell(f"hits of a stream in rounds: {kind} away for a minute", 1, found, note)
        found.must_be_whole()
        assert came.status == 0, came.said


def test_topics_are_deleted(
    topics: TestTopics, pubsub: Cloud, messages: list[bytes], light: Night, tmp_path: Path, tell: Callable[..., None]
) -> None:
    """Kafka's is made again by who sends. Pub/Sub's is waited for: without its subscriptions nobody would get anything."""
    source, warehouse = topics.make(topics.name()), tmp_path / "w"
    kafka, other = in_kafka(topics), in_pubsub(pubsub.project)
    asked = ("--filters", filters(tmp_path / "filters"), *kafka.flags, *other.flags, "--every_secs", "0.5")
    run = stream(topics, source, warehouse, tmp_path / "log", *asked, environment=pubsub.variables)
    half = len(messages) // 2 // 4 * 4
    topics.send(source, messages[:half])
    assert run.wait_for(lambda: rows(warehouse) == half and not waiting(warehouse)), run.said
    before = {place: heard(place) for place in (kafka, other)}
    assert all(came.status == 0 for came in before.values())
    topics.delete(kafka.name)
    name = other.publish.removeprefix("pubsub:")
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        publisher.delete_topic(topic=name)
        topics.send(source, messages[half:])
        assert run.wait_for(lambda: f"{other.publish} is gone; make it again" in run.said), run.said
        assert run.wait_for(lambda: rows(warehouse) == len(messages) and not waiting(warehouse, kafka)), run.said
        assert waiting(warehouse, other)
        publisher.create_topic(name=name)
        again = f"{other.listen[0].removeprefix('pubsub:')}-again"
        subscriber.create_subscription(name=again, topic=name)
    assert run.wait_for(lambda: not waiting(warehouse)), run.said
    run.process.terminate()
    assert run.end() == 0, run.said
    # Of what the deleted topic had the manifests still tell.
    for kind, place, status in (
        ("Kafka", kafka, 1),
        ("Pub/Sub", Place(other.publish, (f"pubsub:{again}", *other.listen[1:])), 0),
    ):
        came = heard(place)
        earlier = before[kafka if place is kafka else other].alerts
        found = verdict(light, warehouse, earlier + came.alerts)
        what = "made again by who sends" if kind == "Kafka" else "waited for until somebody made it, and its subscription, again"
        tell(f"hits of a stream in rounds: the topic in {kind} is deleted", 1, found, f"{what}; who listened has all")
        found.must_be_whole()
        assert came.status == status, came.said
        assert (f"{earlier.total():,} of them are missing" in came.said) == bool(status)


def test_messages_are_refused(topics: TestTopics, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """All are too large for one of two topics, until it takes them."""
    warehouse, place, other = tmp_path / "w", in_kafka(topics), in_kafka(topics)
    topics.make(place.name, 4, **{"max.message.bytes": "1000"})
    words = ("--input", light.archive, "--warehouse", warehouse, "--filters", filters(tmp_path / "filters"), "--no_cutouts")
    run = Run(tmp_path / "log", "ingest", *words, "--publish", f"{place.publish}?format=packet", *other.flags)
    assert run.end() == 0, run.said
    assert (waiting(warehouse), heard(other).status) == (0, 0), run.said
    letters = open_letters(warehouse, "publish")
    topics.set(place.name, **{"max.message.bytes": str(8 * 2**20)})
    assert cli.main(["replay", "--stage", "publish", "--warehouse", str(warehouse), "--no_cutouts"]) == 0
    came = heard(place)
    found = verdict(light, warehouse, came.alerts)
    note = "dead letters of stage publish; `broker replay --stage publish` sent them when the topic took them"
    tell("hits of a run into Kafka: messages too large for the topic", letters, found, note)
    found.must_be_whole()
    assert letters == came.alerts.total()
    assert (open_letters(warehouse, "publish"), came.status) == (0, 0), came.said
