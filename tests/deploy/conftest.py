"""Cloud Storage and BigQuery on loopback, for jobs that are submitted and never run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from google.cloud import storage

from tests.emulators.cloud import Cloud
from tests.emulators.fixtures import cloud
from tests.nights import simulated

__all__ = ["cloud"]


@pytest.fixture(scope="package")
def store(cloud: Cloud) -> Iterator[storage.Client]:
    """A client of Cloud Storage, with the buckets ``stage`` and ``night``."""
    with storage.Client(project=cloud.project) as client:
        for name in ("stage", "night"):
            if client.lookup_bucket(name) is None:
                client.create_bucket(name)
        yield client


@pytest.fixture(scope="package")
def archive(store: storage.Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A simulated night on Cloud Storage: its URI."""
    night = simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--archive", "tar")
    packed: Path = next(night.glob("*.tar"))
    store.bucket("night").blob(f"in/{packed.name}").upload_from_filename(str(packed))
    return f"gs://night/in/{packed.name}"
