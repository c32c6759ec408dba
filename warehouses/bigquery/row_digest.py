"""By what it is known that two runs have written the same rows for the same inputs."""

from __future__ import annotations

import functools
from importlib import metadata

import numpy as np
import pyarrow as pa
import xxhash

_MASK = 2**64 - 1
_TOLD_BY = (
    *("stage", "source", "payload", "message"),
    *("alert_id", "catalog"),
    *("cluster_id", "kafka_group", "topic", "kafka_partition", "first_offset", "end_offset"),
    *("watch", "uri", "size_bytes", "modified_at"),
)
"""What a row is of, in tables whose rows are of no packet: dead letters, matches, offsets, watched files."""


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
        if rows.column("packet_digest").null_count:
            rows = rows.filter(rows.column("packet_digest").is_valid())
        # XXH3-128: the first eight of the sixteen bytes.
        numbers = np.frombuffer(b"".join(rows.column("packet_digest").to_pylist()), "<u8")[::2]
        return int((numbers * _versions(rows)).sum(dtype=np.uint64))
    names = [name for name in _TOLD_BY if name in rows.schema.names]
    found = 0
    for row in rows.select(names).to_pylist():
        found = added(found, xxhash.xxh3_64_intdigest(repr(_plain(row)).encode()))
    return found


def _versions(rows: pa.RecordBatch) -> np.ndarray:
    """A factor for each row: the same bytes written with another schema mean something else. Odd, so that nothing is lost."""
    if "schema_version" not in rows.schema.names:
        return np.ones(rows.num_rows, np.uint64)
    coded = rows.column("schema_version").dictionary_encode(null_encoding="encode")
    factors = [xxhash.xxh3_64_intdigest(repr(version).encode()) | 1 for version in coded.dictionary.to_pylist()]
    found: np.ndarray = np.array(factors, np.uint64)[coded.indices.to_numpy()]
    return found


def _plain(row: dict[str, object]) -> list[object]:
    # What BigQuery refused is kept as the row was, with its run and its time, and its words name the stream. Of an input too
    # large to keep, what is wrong with it tells one failure from another, as in the letters' ids.
    refused = row.get("stage") == "write"
    leave = {"message"} if refused or row.get("payload") is not None else set()
    return [value for name, value in row.items() if name not in (leave | {"payload"} if refused else leave)]


@functools.lru_cache(maxsize=64)
def _shape(names: tuple[str, ...]) -> int:
    return int(xxhash.xxh3_64_intdigest("\n".join((metadata.version("pitt-broker"), *sorted(names))).encode()))
