"""Fixtures of the folders whose tests use Google's services: emulators that speak the real protocols to the real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators import processes
from tests.emulators.cloud import Cloud, running


@pytest.fixture(scope="package")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """The emulators of BigQuery and Cloud Storage, and of Pub/Sub where it can run, for the tests of one folder."""
    pytest.importorskip("bqemulator", reason="no BigQuery emulator: pip install --constraint constraints.txt '.[cloud]'")
    with running(tmp_path_factory.mktemp("emulators")) as here:
        yield here


@pytest.fixture
def pubsub(cloud: Cloud) -> Cloud:
    """The cloud, where Pub/Sub can run; else the test is skipped and says how to get it."""
    if not cloud.has_pubsub:
        pytest.skip(str(processes.pubsub_missing()))
    return cloud
