"""Streams of Kafka in rounds, struck: ``kill -9`` at random moments, Kafka itself killed, a full disk."""

from __future__ import annotations

import itertools
import random
import subprocess
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer
from tests.crossmatching import ALLWISE, as_allwise
from tests.emulators import kafka_server
from tests.emulators.cloud import Cloud
from tests.faults.nights import Night
from tests.faults.runs import Run, Verdict
from tests.faults.test_disk import mount, place  # noqa: F401 - a fixture
from tests.kafka.topics import TestTopics
from warehouses import at
from warehouses.offsets import done

pytestmark = pytest.mark.faults

KILLS = 10
GROUP = "faults"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka_server.KafkaServer]:
    if why := kafka_server.missing():
        pytest.skip(why)
    with kafka_server.KafkaServer(tmp_path_factory.mktemp("kafka")) as started:
        yield started


@pytest.fixture(scope="module")
def topics(server: kafka_server.KafkaServer) -> TestTopics:
    return TestTopics(server.servers)


@pytest.fixture(scope="session")
def messages(light: Night) -> list[bytes]:
    with tarfile.open(light.archive) as archive:
        return [archive.extractfile(member).read() for member in archive if member.isfile()]


def stream(
    topics: TestTopics, topic: str, warehouse: object, log: Path, *others: object, child: tuple[str, ...] = (), **more: Any
) -> Run:
    source = ("--kafka", topics.servers, "--kafka_topic", topic, "--kafka_group", GROUP)
    return Run(log, "ingest", *source, "--warehouse", warehouse, *others, child=child, **more)


def struck(begin: Callable[..., Run], seed: int, most_secs: float) -> int:
    """Begin a stream ten times and kill it at some moment; gives how often it lived until then. Then it reads the rest."""
    chance = random.Random(seed)
    lived = 0
    for _ in range(KILLS):
        run = begin()
        run.wait_for(lambda run=run: f"group {GROUP}" in run.said)
        time.sleep(chance.uniform(0, most_secs))
        lived += run.kill()
    return lived


def verdict(warehouse: str, topic: str, sent: int) -> Verdict:
    """Each message against the sources of rows and letters; what lies in a folder is asked as anybody would."""
    with at(warehouse) as opened:
        sql = "SELECT source FROM ztf_alerts UNION ALL SELECT source FROM dead_letters"
        found = Counter(opened.query(sql).column("source").to_pylist())
        cluster = next(iter(found)).split("/")[2]
        ends = done(opened, cluster, GROUP)
    expected = {f"kafka://{cluster}/{topic}/{number % 4}/{number // 4}" for number in range(sent)}
    assert set(found) <= expected
    assert sum(end for (name, _), end in ends.items() if name == topic) == sent
    faults = {"missing": len(expected - set(found)), "doubled": sum(found.values()) - len(found)}
    return Verdict(int(any(faults.values())), sent, {kind: number for kind, number in faults.items() if number}, Counter())


def judged(found: Verdict) -> None:
    assert (found.lost, found.doubled) == (0, 0)


def of(messages: list[bytes], count: int) -> Iterator[bytes]:
    return itertools.islice(itertools.cycle(messages), count)


def test_killed_in_a_backlog(topics: TestTopics, messages: list[bytes], tmp_path: Path, tell: Callable[..., None]) -> None:
    topic, warehouse = topics.make(topics.name()), str(tmp_path / "w")
    topics.send(topic, of(messages, 20_000))

    def begin(*others: object) -> Run:
        return stream(topics, topic, warehouse, tmp_path / "log", "--round_mb", "6", *others)

    lived = struck(begin, 1, 1.5)
    last = begin("--once")
    assert last.end() == 0, last.said
    found = verdict(warehouse, topic, 20_000)
    tell("Kafka in rounds into a folder, a backlog: SIGKILL at random moments", lived, found, "no round was read twice")
    judged(found)


def test_killed_while_messages_come(topics: TestTopics, messages: list[bytes], tmp_path: Path, tell: Callable[..., None]) -> None:
    topic, warehouse = topics.make(topics.name()), str(tmp_path / "w")
    sending = threading.Thread(target=topics.send, args=(topic, of(messages, 5_350)), kwargs={"rate": 150.0})
    sending.start()

    def begin(*others: object) -> Run:
        return stream(topics, topic, warehouse, tmp_path / "log", "--every_secs", "0.5", *others)

    lived = struck(begin, 2, 2.0)
    sending.join()
    last = begin("--once")
    assert last.end() == 0, last.said
    found = verdict(warehouse, topic, 5_350)
    tell("Kafka in rounds into a folder, 150 messages a second: SIGKILL at random moments", lived, found)
    judged(found)


@pytest.mark.parametrize(("kind", "count"), [("bucket", 5_350), ("BigQuery", 5_350)])
def test_killed_in_the_cloud(
    topics: TestTopics, messages: list[bytes], cloud: Cloud, tmp_path: Path, tell: Callable[..., None], kind: str, count: int
) -> None:
    topic = topics.make(topics.name())
    warehouse = cloud.folder() if kind == "bucket" else f"bigquery://{cloud.project}/{cloud.dataset()}"
    topics.send(topic, of(messages, count))

    def begin(*others: object) -> Run:
        flags = ("--survey", "ztf", "--no_cutouts", "--no_history", "--round_mb", "4")
        # A claim in a bucket is void when its holder has died.
        child = ("--cloud", "--claims_void_secs", "1.2")
        while True:
            run = stream(topics, topic, warehouse, tmp_path / "log", *flags, *others, child=child, environment=cloud.variables)
            run.wait_for(lambda run=run: f"group {GROUP}" in run.said)
            if run.lives or run.process.returncode != 2:
                return run

    lived = struck(begin, 3, 3.0)
    last = begin("--once")
    assert last.end() == 0, last.said
    found = verdict(warehouse, topic, count)
    tell(f"Kafka in rounds into {'a bucket' if kind == 'bucket' else 'BigQuery'}: SIGKILL at random moments", lived, found)
    judged(found)


def test_kafka_itself_is_killed_and_comes_back(
    server: kafka_server.KafkaServer, topics: TestTopics, messages: list[bytes], tmp_path: Path, tell: Callable[..., None]
) -> None:
    topic, warehouse = topics.make(topics.name()), str(tmp_path / "w")
    run = stream(topics, topic, warehouse, tmp_path / "log", "--every_secs", "0.2")
    assert run.wait_for(lambda: f"group {GROUP}" in run.said), run.said
    chance = random.Random(4)
    for number in range(5):
        topics.send(topic, messages[number * 1_000 : (number + 1) * 1_000])
        time.sleep(chance.uniform(0, 1.0))
        server.kill()
        time.sleep(2)
        server.start()
    topics.send(topic, messages[5_000:], **{"message.timeout.ms": 60_000})
    run.wait_for(lambda: read_all(warehouse, topic, 5_350))
    run.process.terminate()
    assert run.end() == 0, run.said
    found = verdict(warehouse, topic, 5_350)
    tell("Kafka in rounds into a folder: Kafka killed and begun again", 5, found, "the stream waited and went on by itself")
    judged(found)


def read_all(warehouse: str, topic: str, sent: int) -> bool:
    time.sleep(0.2)
    with at(warehouse) as opened:
        if not opened.holds_tables():
            return False
        ends = opened.query("SELECT topic, kafka_partition, MAX(end_offset) AS n FROM offsets GROUP BY 1, 2").to_pylist()
    return sum(row["n"] for row in ends if row["topic"] == topic) == sent


def test_no_room_for_a_round(
    topics: TestTopics,
    messages: list[bytes],
    place: Path,  # noqa: F811
    tmp_path: Path,
    tell: Callable[..., None],
) -> None:
    mount("-t", "tmpfs", "-o", "size=4m", "broker-faults", place)
    topic, warehouse = topics.make(topics.name()), str(place / "w")
    topics.send(topic, of(messages, 5_350))
    run = stream(topics, topic, warehouse, tmp_path / "log", "--every_secs", "0.5", "--round_mb", "8")
    run.wait_for(lambda: "No space left on device" in run.said)
    assert run.lives, run.said
    subprocess.run(["mount", "-o", "remount,size=400m", str(place)], check=True)
    run.wait_for(lambda: read_all(warehouse, topic, 5_350))
    run.process.terminate()
    assert run.end() == 0, run.said
    found = verdict(warehouse, topic, 5_350)
    tell(
        "Kafka in rounds into a folder: no room in the warehouse, then room", 1, found, "the stream waited and went on by itself"
    )
    judged(found)


def test_catalogs_are_down_while_rounds_go_on(
    topics: TestTopics, messages: list[bytes], light: Night, tmp_path: Path, tell: Callable[..., None]
) -> None:
    topic, warehouse = topics.make(topics.name()), str(tmp_path / "w")
    stars = as_allwise(pq.read_table(light.folder / "catalog.parquet"))
    with CatalogServer({"II/328/allwise": stars}) as server:
        asked = ("--crossmatch", ALLWISE, "--crossmatch_url", server.url, "--every_secs", "0.5")
        server.fail(Fault("closed"))
        run = stream(topics, topic, warehouse, tmp_path / "log", *asked)
        assert run.wait_for(lambda: f"group {GROUP}" in run.said), run.said
        topics.send(topic, of(messages, 5_350), rate=500.0)
        assert run.wait_for(lambda: read_all(warehouse, topic, 5_350)), run.said
        assert run.wait_for(lambda: server.calls), run.said
        struck_calls = len(server.calls)
        run.process.terminate()
        assert run.end() == 0, run.said
        with at(warehouse) as opened:
            assert opened.query("SELECT COUNT(*) AS n FROM crossmatches").to_pylist() == [{"n": 0}]
        server.heal()
        last = stream(topics, topic, warehouse, tmp_path / "log", *asked, "--once")
        assert last.end() == 0, last.said
    found = verdict(warehouse, topic, 5_350)
    with at(warehouse) as opened:
        alerts = opened.query("SELECT COUNT(*) AS n FROM ztf_alerts_unique").to_pylist()[0]["n"]
        states = opened.query("SELECT status, COUNT(*) AS n FROM crossmatches_unique GROUP BY 1 ORDER BY 1").to_pylist()
    tell(
        "Kafka in rounds into a folder: the catalogs' service is down",
        struck_calls,
        found,
        "rounds went on; afterwards every alert was answered",
    )
    judged(found)
    assert [row["status"] for row in states] == ["matched", "no_match"]
    assert sum(row["n"] for row in states) == alerts
