"""What ``benchmarks.instructions`` counts: decoding in memory, each phase framed by requests to callgrind.

    python -m benchmarks.counted PACKETS

PACKETS is a pickled list of packets. Run without callgrind first, it fills numba's cache on disk.
"""

from __future__ import annotations

import ctypes
import mmap
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import PROJECTIONS, Decoder, naive, ours

NAIVE = "fastavro.reader"
PHASES = (NAIVE, *PROJECTIONS)
_NAIVE_PACKETS = 16


def phase(name: str, packets: Sequence[bytes]) -> tuple[Decoder, Sequence[bytes]]:
    """A phase's decoder, and the packets that it gets: few where each costs the same however many they are."""
    return (naive, packets[:_NAIVE_PACKETS]) if name == NAIVE else (ours(name), packets)


class Callgrind:
    """What a program under callgrind asks of it, as valgrind/callgrind.h does in C; without valgrind nothing happens."""

    _DUMP, _ZERO, _START, _STOP = (0x43540000 + number for number in (0, 1, 4, 5))
    _CODE = bytes.fromhex(
        "4889f8 31d2"  # rax = the address of the request, rdx = the answer where nobody listens
        "48c1c703 48c1c70d 48c1c73d 48c1c733 4887db"  # turns rdi by 128 bits in all: what valgrind looks for
        "4889d0 c3"  # rdx is the answer
    )

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._page.write(self._CODE)
        self._call = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p)(ctypes.addressof(ctypes.c_char.from_buffer(self._page)))

    def _ask(self, request: int) -> None:
        self._call((ctypes.c_uint64 * 6)(request))

    def count(self, decoder: Decoder, packets: Sequence[bytes]) -> int:
        """What the decoder gives; its instructions, and no others, become a file of counts of their own."""
        self._ask(self._START)
        self._ask(self._ZERO)  # a dump tells what came since the last one, and stopping has forgotten that
        alerts = decoder(packets)
        self._ask(self._DUMP)
        self._ask(self._STOP)
        return alerts


def main(argv: Sequence[str]) -> int:
    """Decode the packets in every phase; gives the exit status."""
    packets: list[bytes] = pickle.loads(Path(argv[0]).read_bytes())
    callgrind = Callgrind()
    for name in PHASES:
        decoder, own = phase(name, packets)
        # Twice before it counts: compiled code is loaded, schemas are parsed, the room for arrays is known.
        done = [decoder(own), decoder(own)]
        done.append(callgrind.count(decoder, own))
        if done != [len(own)] * 3:
            print(f"{name} gives {done} alerts for {len(own)} packets", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
