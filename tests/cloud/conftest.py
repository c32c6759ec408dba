"""Google's services for tests: emulators that speak the real protocols, and the real clients pointed at them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from google.cloud import bigquery, storage

from tests.emulators import processes, settings


@dataclass(frozen=True)
class Cloud:
    """A project on emulators, with a bucket."""

    project: str
    bucket: str
    """``gs://...``"""
    has_pubsub: bool

    def client(self) -> bigquery.Client:
        """A BigQuery client."""
        return bigquery.Client(project=self.project)

    def dataset(self) -> str:
        """A name for a new dataset."""
        return f"alerts_{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The emulators of BigQuery and Cloud Storage, and of Pub/Sub where it can run, as long as the session lasts."""
    pytest.importorskip("bqemulator", reason="no BigQuery emulator: pip install --constraint constraints.txt '.[cloud]'")
    folder: Path = tmp_path_factory.mktemp("emulators")
    given = os.environ.get(settings.PUBSUB)
    emulators = [processes.storage(folder), processes.bigquery(folder)]
    if not given and processes.pubsub_missing() is None:
        emulators.append(processes.pubsub(folder))
    try:
        for emulator in emulators:
            emulator.spawn()
        for emulator in emulators:
            emulator.wait()
        pubsub_host = emulators[2].hosts[0] if len(emulators) > 2 else given
        variables = settings.environment(
            project=processes.PROJECT,
            storage=emulators[0].hosts[0],
            bigquery=emulators[1].hosts[0],
            bigquery_read=emulators[1].hosts[1],
            pubsub=pubsub_host,
        )
        with settings.point_clients(variables):
            bucket = f"bucket-{uuid.uuid4().hex[:8]}"
            storage.Client(project=processes.PROJECT).create_bucket(bucket)
            yield Cloud(processes.PROJECT, f"gs://{bucket}", pubsub_host is not None)
    finally:
        for emulator in emulators:
            emulator.stop()


@pytest.fixture
def pubsub(cloud: Cloud) -> Cloud:
    """The cloud, where Pub/Sub can run; else the test is skipped and says how to get it."""
    if not cloud.has_pubsub:
        pytest.skip(str(processes.pubsub_missing()))
    return cloud


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Google's clients, inside Beam too, leave sockets for the garbage collector, which pytest would call an error."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
