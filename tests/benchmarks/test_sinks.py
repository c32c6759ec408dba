"""Writing by the Storage Write API costs little: ratios in one run, with servers that only say yes, no seconds.

The goals, measured with care on a quiet machine, are a hundred times and twice (``docs/performance.md``): here is room for a busy
one. What else a machine does makes such a ratio worse, never better: it is enough that it is met once.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import samples
from benchmarks.samples import Sample
from benchmarks.sinks import OF_ARROW, OF_INSERTS, of_sinks, of_the_client
from benchmarks.yes_servers import YesServers, running

pytestmark = pytest.mark.cost
PACKETS = 80
JOBS = {"no sink": (1, 101), "storage_write": (1, 101), "streaming_inserts": (1, 3)}


@pytest.fixture(scope="module")
def servers() -> Iterator[YesServers]:
    with running() as servers:
        yield servers


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """A real night, or a simulated one where there is none."""
    real = [sample for sample in samples.real() if sample.name == samples.ZTF_RECENT]
    return real[0] if real else samples.simulated(tmp_path_factory.mktemp("night"), "ztf", PACKETS)


def test_the_sink_takes_a_small_part_of_what_inserts_take(sample: Sample, servers: YesServers) -> None:
    found: list[float] = []
    while len(found) < 3 and max(found, default=0) < 30:
        found.append(of_sinks(sample, servers, JOBS, rounds=1, packets=PACKETS // 2)[OF_INSERTS])
    assert max(found) >= 30, found


def test_the_client_takes_little_more_than_arrow_and_tls(sample: Sample, servers: YesServers) -> None:
    found: list[float] = []
    while len(found) < 8 and min(found, default=9) > 3:
        found.append(of_the_client(sample, servers, rounds=1, packets=2 * PACKETS)[OF_ARROW])
    assert min(found) <= 3, found
