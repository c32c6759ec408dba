"""Fixtures of the folders whose tests use Google's services: emulators that speak the real protocols to the real clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.emulators import processes, settings
from tests.emulators.cloud import Cloud


@pytest.fixture(scope="package")
def cloud(emulators: Cloud) -> Iterator[Cloud]:
    """The emulators, with this process's clients pointed at them while the tests of one folder run."""
    with settings.point_clients(emulators.variables):
        yield emulators
    emulators.faults.heal()
    emulators.storage_faults.heal()
    emulators.write_faults.heal()


@pytest.fixture
def pubsub(cloud: Cloud) -> Cloud:
    """The cloud, where Pub/Sub can run; else the test is skipped and says how to get it."""
    if not cloud.has_pubsub:
        pytest.skip(str(processes.pubsub_missing()))
    return cloud
