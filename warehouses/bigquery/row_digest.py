"""By what it is known that two runs have written the same rows for the same inputs."""

from __future__ import annotations

import functools
from importlib import metadata

import numpy as np
import pyarrow as pa
import xxhash

_MASK = 2**64 - 1
_TOLD_BY = (
    *("stage", "source", "payload"),
    *("alert_id", "catalog"),
    *("cluster_id", "kafka_group", "topic", "kafka_partition", "first_offset", "end_offset"),
)
"""What a row is of, in tables whose rows are of no packet: dead letters, matches, offsets."""


def rows_digest(rows: pa.RecordBatch) -> int:
    """A number below 2^64 that stands for the packets, or the failures, that rows were made of.

    Digests of parts add up, modulo 2^64, to that of the whole, in whatever order and however it was cut. When a row was made,
    and by which run, is no part of it; the columns and the version of this software are.
    """
    shape = _shape(tuple(rows.schema.names)) * rows.num_rows
    return (shape + _contents(rows)) & _MASK


def added(first: int, second: int) -> int:
    """The digest of two parts together."""
    return (first + second) & _MASK


def _contents(rows: pa.RecordBatch) -> int:
    if "packet_digest" in rows.schema.names:
        found = rows.column("packet_digest").drop_null()
        # XXH3-128: the first eight of the sixteen bytes.
        numbers = np.frombuffer(b"".join(found.to_pylist()), "<u8")[::2]
        return int(numbers.sum(dtype=np.uint64))
    names = [name for name in _TOLD_BY if name in rows.schema.names]
    found = 0
    for row in rows.select(names).to_pylist():
        found = added(found, xxhash.xxh3_64_intdigest(repr(_plain(row)).encode()))
    return found


def _plain(row: dict[str, object]) -> list[object]:
    # What BigQuery refused is kept as the row was, with its run and its time.
    return [value for name, value in row.items() if not (name == "payload" and row.get("stage") == "write")]


@functools.lru_cache(maxsize=64)
def _shape(names: tuple[str, ...]) -> int:
    return int(xxhash.xxh3_64_intdigest("\n".join((metadata.version("pitt-broker"), *sorted(names))).encode()))
