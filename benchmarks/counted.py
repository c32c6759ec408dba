"""What ``benchmarks.instructions`` counts: decoding in memory, with marks around each phase that callgrind sees.

    python -m benchmarks.counted PACKETS

PACKETS is a pickled list of packets. Run without callgrind first, it fills numba's cache on disk.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import PROJECTIONS, Decoder, naive, ours

MARK = "getppid"
"""The function of the C library by which the marks are made: nothing else calls it, and callgrind can be told of it."""
NAIVE = "fastavro.reader"
PHASES = (NAIVE, *PROJECTIONS)
_NAIVE_PACKETS = 16


def phase(name: str, packets: Sequence[bytes]) -> tuple[Decoder, Sequence[bytes]]:
    """A phase's decoder, and the packets that it gets: few where each costs the same however many they are."""
    return (naive, packets[:_NAIVE_PACKETS]) if name == NAIVE else (ours(name), packets)


def main(argv: Sequence[str]) -> int:
    """Decode the packets in every phase; gives the exit status."""
    packets: list[bytes] = pickle.loads(Path(argv[0]).read_bytes())
    for name in PHASES:
        decoder, own = phase(name, packets)
        # Twice before it counts: compiled code is loaded, schemas are parsed, the room for arrays is known.
        done = [decoder(own), decoder(own)]
        os.getppid()
        done.append(decoder(own))
        os.getppid()
        if done != [len(own)] * 3:
            print(f"{name} gives {done} alerts for {len(own)} packets", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
