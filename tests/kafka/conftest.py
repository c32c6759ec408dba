"""A real Kafka for the tests of this folder: started once for a session of pytest, or one that somebody names."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulators import kafka_server
from tests.emulators.fixtures import cloud, pubsub
from tests.kafka.topics import TestTopics
from tests.nights import simulated

__all__ = ["cloud", "pubsub"]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestTopics]:
    """Where topics can be made."""
    pytest.importorskip("confluent_kafka", reason="confluent-kafka is not installed: pip install '.[kafka]'")
    if given := os.environ.get(kafka_server.GIVEN):
        yield TestTopics(given)
        return
    if why := kafka_server.missing():
        pytest.skip(why)
    with kafka_server.KafkaServer(tmp_path_factory.mktemp("kafka")) as server:
        yield TestTopics(server.servers)


@pytest.fixture(scope="session")
def packets(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Sixty packets of ZTF, each once."""
    night = simulated(tmp_path_factory.mktemp("packets"), "--alerts", "60", "--seed", "11")
    with tarfile.open(next(Path(night).glob("*.tar.gz"))) as archive:
        files = [archive.extractfile(member) for member in archive if member.name.endswith(".avro")]
        return [file.read() for file in files if file is not None]
