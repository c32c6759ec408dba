"""What cutting packets down to ``lite`` takes, in times decoding everything of them.

python -m benchmarks.lite [FOLDER_OF_REAL_PACKETS]
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.lite_batches import lite_packets
from alerts.avro.packets import Packet
from alerts.avro.patience import PATIENCE
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import survey

ARCHIVES = (
    ("ztf", "ztf/nightly/ztf_public_20181129.tar.gz"),
    ("ztf", "ztf/nightly/ztf_public_20231012.tar.gz"),
    ("lsst", "lsst/nightly/lsst_20260310_v10_0.tar.gz"),
)
ROUNDS = 7


def packets_of(path: Path) -> list[Packet]:
    """256 packets of an archive, some of them several times where it has fewer."""
    with path.open("rb") as file:
        found = [item for item in read_input(file, path.name, WireSchemas()) if isinstance(item, Packet)]
    return (found * (256 // len(found) + 1))[:256]


def micros(work: Callable[[], object]) -> float:
    """The median CPU time of a piece of work for each of 256 packets, µs."""
    work()
    spent = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        work()
        spent.append(time.process_time() - begin)
    return statistics.median(spent) / 256 * 1e6


def main() -> None:
    """Print a line for each archive."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    PATIENCE.begin()
    for name, archive in ARCHIVES:
        facts, some = survey(name), packets_of(root / archive)
        cut = micros(lambda some=some, facts=facts: lite_packets(some, facts))
        whole = micros(lambda some=some, facts=facts: decode(some, survey=facts))
        small = lite_packets(some, facts).nbytes / 256e3
        large = sum(len(packet.data) for packet in some) / 256e3
        print(f"{archive}: {cut:.0f} µs, decoding {whole:.0f} µs, {cut / whole:.2f} times; {small:.0f} kB of {large:.0f} kB")


if __name__ == "__main__":
    main()
