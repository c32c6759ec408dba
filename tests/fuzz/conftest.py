"""What a made-up input may take: this much more memory than the tests have, and a minute."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY_BYTES = 2**30
SECS = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            # The alarm rings here for each example (no_hanging), so that the whole test's limit needs another clock.
            item.add_marker(pytest.mark.timeout(method="thread"))


@pytest.fixture(scope="package", autouse=True)
def little_memory() -> Iterator[None]:
    """Less than the machine has: whatever takes more raises ``MemoryError``, of which the tests take heed."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


class Hanging(BaseException):
    """One example took a minute. No ``Exception``, so that nothing on its way takes it for damage."""


@pytest.fixture(scope="package", autouse=True)
def no_hanging() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hanging

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
