"""A file of the index: under which keys the alerts of some Parquet files stand, sorted, and in which of the files.

Columns: ``of`` (what the key is: ``object_id``, ``healpix29`` or ``alert_id``), ``key`` (int64: itself, or what stands for an
object's id) and ``file`` (the number that the manifest has for it), in this order. So what is asked for lies together, and of a
file of any size only the row groups are read that can have it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from warehouses.files import create_file, open_file
from warehouses.folder.parquet_files import described
from warehouses.units import WrittenFile

Integers = npt.NDArray[np.int64]
Entries = dict[str, tuple[Integers, Integers]]
"""By what the keys are: keys, and the numbers of files."""

KEYS = ("object_id", "healpix29", "alert_id")
SCHEMA = pa.schema([pa.field("of", pa.string()), pa.field("key", pa.int64()), pa.field("file", pa.int64())])
_GROUP_ROWS = 16_384


def object_key(object_id: str) -> int:
    """The 64 bits that stand for an object's id; where two ids have the same, a file is read for nothing."""
    return int.from_bytes(hashlib.blake2b(object_id.encode(), digest_size=8).digest(), "little", signed=True)


def entries_of(uri: str, number: int) -> Entries:
    """The entries of a Parquet file of alerts. Raises ``OSError`` and ``pyarrow.ArrowException`` where it cannot be read."""
    with open_file(uri) as file:
        parquet = pq.ParquetFile(file)
        there = [name for name in KEYS if name in parquet.schema_arrow.names]
        rows = parquet.read(columns=there)
    found: Entries = {}
    for name in there:
        # What has no such value is not found by one.
        values = rows.column(name).combine_chunks().unique().drop_null()
        keys = [object_key(str(value)) for value in values.to_pylist()] if name == "object_id" else values.to_numpy()
        found[name] = (np.array(keys, np.int64), np.full(len(values), number, np.int64))
    return found


def read_entries(uri: str) -> Entries:
    """All that a file of the index holds."""
    with open_file(uri) as file:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        groups = _groups_by_key(parquet.metadata)
        return {name: _pairs(parquet, list(groups[name][0])) for name in groups}


def joined(parts: Sequence[Entries], files: Integers) -> Entries:
    """The entries of several, but of no other files than these, sorted and each once."""
    found = {}
    for name in KEYS:
        own = [part[name] for part in parts if name in part]
        keys, numbers = (np.concatenate([pair[side] for pair in own] or [np.empty(0, np.int64)]) for side in (0, 1))
        there = np.isin(numbers, files)
        keys, numbers = keys[there], numbers[there]
        order = np.lexsort((numbers, keys))
        keys, numbers = keys[order], numbers[order]
        first = np.ones(len(keys), bool)
        first[1:] = (keys[1:] != keys[:-1]) | (numbers[1:] != numbers[:-1])
        found[name] = keys[first], numbers[first]
    return found


def write_entries(place: WrittenFile, entries: Entries) -> WrittenFile:
    """Write sorted entries to a file's temporary place."""
    with create_file(place.temporary) as file:
        # By their extremes row groups are chosen; there is nothing else that a reader wants of a column.
        with pq.ParquetWriter(
            file, SCHEMA, compression="zstd", use_dictionary=["of", "file"], write_page_checksum=True
        ) as writer:
            for name, (keys, numbers) in entries.items():
                rows = pa.table([pa.repeat(name, len(keys)), keys, numbers], schema=SCHEMA)
                writer.write_table(rows, row_group_size=_GROUP_ROWS)
        size_bytes = file.tell()
    return described(replace(place, size_bytes=size_bytes), writer.writer.metadata, SCHEMA)


def files_of(uri: str, name: str, ranges: Integers) -> Integers:
    """Numbers of the files that have a key in one of some ranges (n, 2), first and last, in order and without overlaps."""
    with open_file(uri) as file:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        numbers, least, greatest = _groups_by_key(parquet.metadata).get(name, (np.empty(0, np.int64),) * 3)
        # The first range that does not end before the group begins; it must begin before the group ends.
        next_range = np.searchsorted(ranges[:, 1], least)
        some = next_range < len(ranges)
        some[some] = ranges[next_range[some], 0] <= greatest[some]
        keys, files = _pairs(parquet, numbers[some].tolist())
    begins, ends = np.searchsorted(keys, ranges[:, 0]), np.searchsorted(keys, ranges[:, 1], "right")
    chosen = [files[begin:end] for begin, end in zip(begins, ends, strict=True) if begin < end]
    return np.unique(np.concatenate(chosen or [np.empty(0, np.int64)]))


def _groups_by_key(footer: pq.FileMetaData) -> dict[str, tuple[Integers, Integers, Integers]]:
    """By what the keys are: numbers of the row groups, and their least and greatest key."""
    found: dict[str, list[tuple[int, int, int]]] = {}
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        if group.num_rows:
            name, keys = (group.column(column).statistics for column in (0, 1))
            found.setdefault(name.min, []).append((number, keys.min, keys.max))
    return {name: tuple(np.array(groups, np.int64).T) for name, groups in found.items()}


def _pairs(parquet: pq.ParquetFile, groups: Iterable[int]) -> tuple[Integers, Integers]:
    if not (chosen := [int(number) for number in groups]):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    rows = parquet.read_row_groups(chosen, columns=["key", "file"])
    return rows.column("key").to_numpy(), rows.column("file").to_numpy()
