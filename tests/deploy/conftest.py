"""Cloud Storage and BigQuery on loopback, for jobs that are submitted and never run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import storage

from tests.emulators import processes, settings

BUCKETS = ("stage", "night")


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[storage.Client]:
    """Google's clients point at emulators; gives one of Cloud Storage, with the buckets ``stage`` and ``night``."""
    pytest.importorskip("gcp_storage_emulator")
    pytest.importorskip("bqemulator")
    folder = tmp_path_factory.mktemp("emulators")
    emulators = (processes.storage(folder), processes.bigquery(folder))
    try:
        for one in emulators:
            one.spawn()
        for one in emulators:
            one.wait()
        variables = settings.environment(
            project=processes.PROJECT,
            storage=emulators[0].hosts[0],
            bigquery=emulators[1].hosts[0],
            bigquery_read=emulators[1].hosts[1],
        )
        with settings.point_clients(variables), storage.Client(project=processes.PROJECT) as client:
            for name in BUCKETS:
                client.create_bucket(name)
            yield client
    finally:
        for one in emulators:
            one.stop()


@pytest.fixture(scope="session")
def archive(cloud: storage.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A simulated night on Cloud Storage: its URI."""
    from tests.nights import simulated  # noqa: PLC0415 - imports Beam, which a collection without these tests need not

    night = simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--archive", "tar")
    packed: Path = next(night.glob("*.tar"))
    cloud.bucket("night").blob(f"in/{packed.name}").upload_from_filename(str(packed))
    return f"gs://night/in/{packed.name}"
