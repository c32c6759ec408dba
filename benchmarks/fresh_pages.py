"""What a page of a file costs the first time, when the kernel must find memory for it, and when it was used just before.

    python -m benchmarks.fresh_pages [--gb 4]

On a virtual machine whose free memory goes back to its host the first time is dearer, and who writes first pays for all that
come after. That is why ``benchmarks.timing`` lets every other round go backwards.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine_facts import facts, sentence
from benchmarks.tables import MarkdownTable
from benchmarks.timing import cpu_secs

_PIECE = 2**20
_PAGE = 4096


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(description="What a page of a file costs in the kernel, first and afterwards.")
    parser.add_argument("--gb", type=int, default=4, help="size of the file, at most half of what is free (default 4)")
    given = parser.parse_args(argv)
    print(f"{sentence(facts())}\n")
    table = MarkdownTable(f"A file of {given.gb} GB, written and removed", ["time", "kernel, µs per page of 4 kB"])
    for time in ("first", "second", "third"):
        table.add_row({"time": time, "kernel, µs per page of 4 kB": _written_us(given.gb * 2**30)})
    print(table.to_markdown())
    return 0


def _written_us(size: int) -> float:
    piece = os.urandom(_PIECE)
    with tempfile.TemporaryDirectory() as folder, Path(folder, "file").open("wb") as file:
        _, begin = cpu_secs()
        for _ in range(size // _PIECE):
            file.write(piece)
        _, end = cpu_secs()
    return (end - begin) / (size / _PAGE) * 1e6


if __name__ == "__main__":
    sys.exit(main())
