"""Line (a): packets in memory to records or columns, everybody on the same ones, in one run."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.contenders import PROJECTIONS, Decoder, cached_schema, columns_alone, naive, naive_to_arrow, ours
from benchmarks.peers import peers
from benchmarks.samples import Sample
from benchmarks.tables import MarkdownTable
from benchmarks.timing import ROUNDS, TURN_SECS, Timing, taking_turns

AT_MOST = 256
"""Packets of a sample: a batch of ZTF's, which the processor's third cache may hold, as it may what was just read."""
_SLOW_SECS = 1.0
_SLOW_PACKETS = 64
"""Who takes longer than that for all of them gets only so many."""
NAIVE = "fastavro.reader"
ALONE = ", without the broker's own columns"


def decoding(samples: list[Sample], rounds: int = ROUNDS) -> MarkdownTable:
    """Microseconds of CPU per alert, and how many times faster than ``fastavro.reader``, by sample."""
    columns = [column for sample in samples for column in (f"{sample.name}, µs", f"{sample.name}, x faster")]
    table = MarkdownTable("Packets in memory to records or Arrow columns", ["decoder", *columns])
    rows: dict[str, dict[str, str | float | int | None]] = {}
    for sample in samples:
        packets = sample.packets(AT_MOST)
        timings, missing = _timed(sample, packets, rounds)
        for name, timing in timings.items():
            row = rows.setdefault(name, {"decoder": name})
            row[f"{sample.name}, µs"] = timing.micros
            row[f"{sample.name}, x faster"] = timing.times_faster(timings[NAIVE])
        size = sum(map(len, packets)) / len(packets) / 1000
        table.notes.append(f"{sample.name}: {len(packets)} packets of {size:.0f} kB on average.")
        table.notes += [sentence for sentence in missing if sentence not in table.notes]
    for row in rows.values():
        table.add_row(row)
    return table


def _timed(sample: Sample, packets: list[bytes], rounds: int) -> tuple[dict[str, Timing], list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        theirs, missing = peers(sample.survey, packets, Path(folder))
        decoders: dict[str, Decoder] = {
            NAIVE: naive,
            "fastavro.reader, then pa.Table.from_pylist": naive_to_arrow,
            "fastavro.schemaless_reader, schema parsed once": cached_schema,
            **theirs,
            **{f"ours, {want}": ours(want) for want in PROJECTIONS},
            **{f"ours, {want}{ALONE}": columns_alone(want) for want in PROJECTIONS},
        }
        timings = taking_turns(
            {name: _checked(name, decoder, packets) for name, decoder in decoders.items()}, rounds, turn_secs=TURN_SECS
        )
    return timings, missing


def _checked(name: str, decoder: Decoder, packets: list[bytes]) -> Callable[[], int]:
    """The decoder with its packets. Raises ``RuntimeError`` where it does not make an alert of every packet."""
    begin = time.process_time()
    if (got := decoder(packets)) != len(packets):
        raise RuntimeError(f"{name} gives {got} alerts for {len(packets)} packets")
    slow = time.process_time() - begin > _SLOW_SECS
    return functools.partial(decoder, packets[:_SLOW_PACKETS] if slow else packets)
