"""Reading is no slower than fastavro's own loop, and memory does not grow with the night. Ratios in one run, no seconds."""

from __future__ import annotations

import io
import statistics
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import fastavro
import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import in_batches, read_input
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from tests.conftest import RealData
from tests.nights import simulated
from transforms.read import BATCH_BYTES, BATCH_PACKETS

pytestmark = pytest.mark.cost


def naive(archive: Path) -> int:
    """The bare loop: every packet by ``fastavro.reader``."""
    with tarfile.open(archive) as packed:
        return sum(1 for member in packed if member.isfile() for _ in fastavro.reader(packed.extractfile(member)))


def ours(archive: Path) -> int:
    """Packets to the finished Arrow rows, stamps and envelope included."""
    with archive.open("rb") as file:
        packets = (item for item in read_input(file, str(archive), WireSchemas()) if isinstance(item, Packet))
        batches = (decode(batch) for batch in in_batches(packets, BATCH_PACKETS, BATCH_BYTES))
        return sum(rows.num_rows for decoded in batches for rows in decoded.rows.values())


def cpu_secs(function: Callable[[Path], int], archive: Path, expected: int) -> float:
    begin = time.process_time()
    assert function(archive) == expected
    return time.process_time() - begin


def ratio(archive: Path, alerts: int, rounds: int = 3) -> float:
    """CPU seconds of ours over those of the naive loop, median over rounds in which they take turns."""
    ours(archive)
    return statistics.median(cpu_secs(ours, archive, alerts) / cpu_secs(naive, archive, alerts) for _ in range(rounds))


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = simulated(tmp_path_factory.mktemp("night"), "--alerts", "1000", "--seed", "9")
    return next(folder.glob("*.tar.gz"))


def test_decoding_is_at_least_as_fast_as_a_fastavro_loop(tmp_path: Path) -> None:
    night = simulated(tmp_path, "--alerts", "300", "--seed", "9")
    assert ratio(next(night.glob("*.tar.gz")), 300) <= 0.5


def test_decoding_real_packets_is_at_least_as_fast_as_a_fastavro_loop(real_data: RealData) -> None:
    assert ratio(real_data / "ztf/nightly/ztf_public_20181129.tar.gz", 498) <= 1.0


_RUN = """
import resource, sys
from pipelines.ingest import run
assert run(sys.argv[1:]) == 0
print("peak_kb", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_mb(archive: Path, warehouse: Path) -> float:
    """Peak memory of a process that does one whole ingest."""
    command = [sys.executable, "-c", _RUN, "--input", str(archive), "--warehouse", str(warehouse)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split("peak_kb")[1]) / 1024


def test_memory_stays_flat_from_1000_to_20000_alerts(night: Path, tmp_path: Path) -> None:
    # Twenty times the same thousand packets under other names, as a plain tar: what counts is how many they are.
    many = tmp_path / "many.tar"
    with tarfile.open(night) as packed, tarfile.open(many, "w") as archive:
        members = [(member, packed.extractfile(member).read()) for member in packed]
        for copy in range(20):
            for member, data in members:
                member.name = f"{copy:02d}-{member.name.rsplit('-', 1)[-1]}"
                archive.addfile(member, io.BytesIO(data))
    small = peak_mb(night, tmp_path / "small")
    large = peak_mb(many, tmp_path / "large")
    assert large <= 1.5 * small + 100, f"peak {small:.0f} MB for 1,000 alerts, {large:.0f} MB for 20,000"
