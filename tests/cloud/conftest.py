"""Google's services for tests: emulators that speak the real protocols, and the real clients pointed at them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.emulators import settings
from tests.emulators.cloud import Cloud
from tests.emulators.fixtures import cloud, pubsub
from tests.emulators.rpc_faults import FaultyRpcProxy

__all__ = ["cloud", "pubsub"]


@pytest.fixture
def proxy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyRpcProxy]:
    """Before the Storage Write API, one of the test's own, whose counts nobody else's requests change."""
    with FaultyRpcProxy(os.environ[settings.BIGQUERY_WRITE]) as proxy:
        monkeypatch.setenv(settings.BIGQUERY_WRITE, proxy.host)
        yield proxy
