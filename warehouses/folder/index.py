"""The index of a warehouse's folder: in which files alerts stand, by object, place and id.

    {warehouse}/_index/{unique}.parquet      ``warehouses.folder.index_files``

It says where not to look, and nothing else: rows are read from the tables' files, with the condition asked for. A file whose
rows are not in it is always looked into, and where it cannot be read, all files are.

Files of the index are merged by age: from ``_FANOUT`` of one size one is made, so that after years there are a few, and each
entry has been written a few times. Like all files they never change, and a version of the manifest names those that go with it.
"""

from __future__ import annotations

import logging
import math
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.surveys import SURVEYS
from warehouses.files import delete, files_below, remove_empty
from warehouses.folder import readers
from warehouses.folder.in_place import put_in_place
from warehouses.folder.index_files import (
    KEYS,
    Entries,
    Integers,
    entries_of,
    files_of,
    joined,
    object_key,
    read_entries,
    write_entries,
)
from warehouses.folder.locks import alone
from warehouses.folder.manifest import INDEX, SCHEMA, Manifest, publish
from warehouses.folder.manifest_rows import rows_of
from warehouses.folder.parquet_files import TEMPORARY
from warehouses.sought import Sought
from warehouses.units import STREAM, WrittenFile

AT_LEAST = 8
"""So many files wait to be indexed: until then a reader looks into each."""
_AT_MOST, _AT_MOST_ROWS = 1024, 2_000_000
"""So many are indexed at once, so that memory is bounded and a folder from before is not made to wait."""
_MERGED_ROWS = 2**25
"""Of more entries no one file is made: they are sorted in memory, of which each takes some 40 bytes."""
_FANOUT = 4
_LEAST_ROWS = 4096
_AT_ONCE = 8
_TRIES = 20
_LOG = logging.getLogger(__name__)
_ALERTS = pa.array([facts.alerts_table.name for facts in SURVEYS.values()])


def keep(warehouse: str, at_least: int) -> bool:
    """Take files into the index that are not in it, where there are ``at_least`` so many; whether there are more.

    Whatever dies or fails before its end has changed nothing that anybody reads; what fails is logged.
    """
    try:
        return _kept(warehouse, at_least)
    except Exception as error:  # a bucket's errors are of many kinds, and a run that has committed has not failed
        _LOG.warning(
            "%s could not be indexed (%s); objects and cones are found all the same, but more slowly, until: "
            "broker compact --warehouse %s",
            warehouse,
            error,
            warehouse,
        )
        return False


def complete(warehouse: str) -> None:
    """Take all files into the index that are not in it, as ``keep`` does; where a part of it is gone, it is made anew."""
    current = readers.begun(warehouse)
    there = {file.uri.removeprefix(f"{warehouse}/") for file in files_below(f"{warehouse}/{INDEX}")}
    if not there.issuperset(current.index.column("path").to_pylist()):
        with alone(warehouse):
            _forget(warehouse)
    while keep(warehouse, at_least=1):
        pass


def _kept(warehouse: str, at_least: int) -> bool:
    current, let_go = readers.newest(warehouse)
    try:
        waiting = not_indexed(current)
        if waiting.num_rows < max(at_least, 1):
            return False
        some = waiting.slice(0, min(_AT_MOST, 1 + int(np.searchsorted(np.cumsum(waiting.column("rows")), _AT_MOST_ROWS))))
        step = _step(warehouse, current, some)
    finally:
        let_go()
    if step is None:
        return False
    with alone(warehouse):
        if step.written is None:
            return _forget(warehouse)
        # Who comes too late tries again.
        return not _take_in(warehouse, step, step.written) or waiting.num_rows > some.num_rows


@dataclass(frozen=True)
class _Step:
    """A file of the index that is written, and what it stands for."""

    run_id: str
    written: WrittenFile | None
    """None where a file that it would replace cannot be read."""
    numbers: dict[str, int]
    """By path, the files whose rows come into the index by it, under these numbers."""
    merged: list[str]
    """Of the index's files that it replaces."""


def not_indexed(manifest: Manifest) -> pa.Table:
    """The files of alerts whose rows are not in the index, but for some that are too large to be sorted in memory."""
    known = pc.or_(pc.fill_null(manifest.live.column("indexed"), False), pc.greater(manifest.live.column("rows"), _AT_MOST_ROWS))
    return manifest.live.filter(pc.and_(pc.is_in(manifest.live.column("table"), _ALERTS), pc.invert(known)))


def _step(warehouse: str, current: Manifest, files: pa.Table) -> _Step | None:
    """The next file of the index, written; None where none of the files can be read."""
    paths = files.column("path").to_pylist()
    known = _numbers(current, paths)
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        read = dict(zip(paths, threads.map(lambda path: _entries_of(f"{warehouse}/{path}", known[path]), paths), strict=True))
    # One that cannot be read is looked into by whoever asks, who then hears of it; it does not keep the others waiting.
    parts = [entries for entries in read.values() if entries is not None]
    known = {path: known[path] for path, entries in read.items() if entries is not None}
    if not parts:
        return None
    numbers = current.live.column("number").drop_null().to_numpy()
    numbers = np.concatenate([numbers, np.array(list(known.values()), np.int64)])
    merged = _to_merge(current.index, sum(len(part[name][0]) for part in parts for name in part))
    run_id = f"index-{uuid.uuid4().hex[:12]}"
    try:
        parts += [read_entries(f"{warehouse}/{path}") for path in merged]
    except Exception as error:  # whatever is wrong with it
        _LOG.warning("a file of the index of %s cannot be read (%s); the index is made anew", warehouse, error)
        return _Step(run_id, None, known, merged)
    entries = joined(parts, numbers)
    name = f"{INDEX}/{uuid.uuid4().hex}.parquet"
    place = WrittenFile(STREAM, f"{warehouse}/{TEMPORARY}/{run_id}/{name}", f"{warehouse}/{name}", 0)
    return _Step(run_id, write_entries(place, entries), known, merged)


def _entries_of(uri: str, number: int) -> Entries | None:
    try:
        return entries_of(uri, number)
    except Exception as error:  # whatever is wrong with it
        _LOG.warning("%s cannot be read (%s), and is not in the index", uri, error)
        return None


def _numbers(manifest: Manifest, paths: Sequence[str]) -> dict[str, int]:
    """The numbers of some files, by their paths."""
    named = manifest.numbered.filter(pc.is_in(manifest.numbered.column("path"), pa.array(paths, pa.string())))
    return dict(zip(named.column("path").to_pylist(), named.column("number").to_pylist(), strict=True))


def _to_merge(index: pa.Table, rows: int) -> list[str]:
    """Paths of the index's files that become one with so many new entries."""
    there = sorted(zip(index.column("rows").to_pylist(), index.column("path").to_pylist(), strict=True))
    chosen: list[str] = []
    while True:
        level = _level(rows)
        # What is smaller than what comes goes into it, and what is alike when there are enough.
        smaller = [each for each in there if _level(each[0]) < level]
        alike = [each for each in there if _level(each[0]) == level]
        some = smaller + (alike if len(alike) >= _FANOUT - 1 else [])
        if not some or rows + sum(size for size, _ in some) > _MERGED_ROWS:
            return chosen
        rows += sum(size for size, _ in some)
        chosen += [path for _, path in some]
        there = [each for each in there if each not in some]


def _level(rows: int) -> int:
    return max(0, math.floor(math.log(max(rows, 1) / _LEAST_ROWS, _FANOUT)))


def _take_in(warehouse: str, step: _Step, written: WrittenFile) -> bool:
    """Have the manifest name the file; False where another has done so meanwhile, and it is thrown away."""
    note = put_in_place(warehouse, step.run_id, [written])
    for _ in range(_TRIES):
        current = readers.begun(warehouse)
        waiting = set(not_indexed(current).column("path").to_pylist())
        if not all(path in waiting or not current.is_live(path) for path in step.numbers):
            break
        # Where the manifest was made anew meanwhile, the same name may be another file's.
        if any(step.numbers[path] != number for path, number in _numbers(current, list(step.numbers)).items()):
            break
        if not set(step.merged) <= set(current.index.column("path").to_pylist()):
            break
        following = current.next(
            without=step.merged,
            added=rows_of(warehouse, [written], {}, []),
            deleted=readers.collect(warehouse, current),
            indexed=step.numbers,
        )
        if publish(warehouse, following, f"{warehouse}/{TEMPORARY}/{step.run_id}/{uuid.uuid4().hex}.manifest"):
            delete([note])
            remove_empty(f"{warehouse}/{TEMPORARY}/{step.run_id}")
            return True
    delete([written.final, note])
    return False


def _forget(warehouse: str) -> bool:
    """Have the manifest name no index; whether it does."""
    current = readers.begun(warehouse)
    gone = current.index.column("path").to_pylist()
    following = current.unindexed().next(without=gone, added=SCHEMA.empty_table())
    return publish(warehouse, following, f"{warehouse}/{TEMPORARY}/{uuid.uuid4().hex}.manifest")


def narrowed(warehouse: str, manifest: Manifest, sought: Sought) -> Manifest:
    """Of the files of alerts only those in which some of those sought may be. Raises ``OSError`` where it cannot be read."""
    ranges = _key_ranges(sought)
    try:
        found = [files_of(f"{warehouse}/{path}", sought.column, ranges) for path in manifest.index.column("path").to_pylist()]
    except Exception as error:  # whatever is wrong with it
        raise OSError(f"{type(error).__name__}: {error}") from error
    numbers = pa.array(np.concatenate([*found, np.empty(0, np.int64)]), pa.int64())
    unknown = pc.invert(pc.fill_null(manifest.live.column("indexed"), False))
    chosen = manifest.live.filter(pc.or_(pc.is_in(manifest.live.column("number"), numbers), unknown))
    return manifest.narrowed(chosen, _ALERTS.to_pylist())


def _key_ranges(sought: Sought) -> Integers:
    if sought.column not in KEYS:
        raise ValueError(f"the index has no {sought.column}; it has {', '.join(KEYS)}")
    if sought.column == "object_id":
        key = object_key(sought.values["object_id"])
        return np.array([(key, key)], np.int64)
    return np.array(sought.ranges, np.int64).reshape(-1, 2)
