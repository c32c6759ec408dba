"""Many small files of a night to few sorted ones, in which an object's rows and a place's rows lie together.

Rows of several units become those of one, which stands for all of their inputs: a run over one of these again takes its rows out
as it does with any unit of several inputs (``warehouses.folder.overlaps``). The manifest changes when all files are there;
whatever dies before leaves all as it was.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alerts.surveys import SURVEYS
from alerts.tables import own_tables
from schemas.run_ids import began_at
from schemas.tables import CROSSMATCHES, RUNS, SHARED_TABLES
from warehouses.files import delete, is_remote, open_file
from warehouses.folder import claims, index, readers, unit_inputs
from warehouses.folder.beside import Beside, goes_beside
from warehouses.folder.in_place import put_in_place
from warehouses.folder.locks import alone
from warehouses.folder.manifest import Manifest, publish
from warehouses.folder.manifest_rows import rows_of, the_input
from warehouses.folder.parquet_files import PART_ROWS, TEMPORARY, read_rows, write_rows
from warehouses.units import STREAM, Unit, WrittenFile, unit_key

MANY_FILES = 32
"""A night with so many files of a table, that are not full, is compacted by itself at the end of a run, .."""
MANY_ROUNDS = 8
""".. and with so many at the end of a stream's round, of which a night has thousands."""
FILE_BYTES = 320 * 2**20
"""The most that goes into one file and those beside it: all are sorted in memory. Half of it is a full one."""
_RECENT_SECS = 3600.0
"""A run that began so long ago has been accounted for, or has its claim still."""
_GROUP_ROWS = 2048
_OURS = {
    *(table.name for table in SHARED_TABLES),
    *(table.name for survey in SURVEYS.values() for table in own_tables(survey)),
}
_WITHOUT_SOURCE = {table.name for table in SHARED_TABLES if "source" not in table.arrow_schema.names}
_ORDERED_BY = (
    *("survey", "alert_id", "failed_at", "source", "started_at", "committed_at", "topic", "kafka_partition", "uri"),
    *("filter", "valid_from"),
)
"""The rows of what has no place."""
_CELL_BITS = 34
"""Of ``healpix29``: what is left is a cell of order 12, some 51 arcsec wide."""


def compact(
    warehouse: str,
    nights: tuple[date, date] | None = None,
    at_least: int = 2,
    run_id: str | None = None,
    *,
    whole_units: bool = False,
) -> tuple[int, int]:
    """Compact what has ``at_least`` so many small files of one table and night; gives how many files there were and are.

    ``run_id``: only of nights in which this run has written, and of those files without the full ones, so that a run costs what
    it brings and not what was there. ``whole_units``: nobody writes one of their inputs again by itself.

    Files of replays, and of units whose inputs nobody knows, stay as they are; cross-matches are put together unit by unit where
    these are not whole, since their rows do not tell of which input they are. Raises ``OSError``.
    """
    # Held, so that none of its files goes while it is read.
    before, let_go = readers.newest(warehouse)
    try:
        touched = before.nights_of_run(run_id) if run_id is not None else None
        if groups := list(_groups(warehouse, before, nights, at_least, touched, whole_units=whole_units)):
            own_id = f"compact-{uuid.uuid4().hex[:12]}"
            with claims.claim(warehouse, own_id, ()):
                for group in groups:
                    group.compact(warehouse, own_id)
    finally:
        let_go()
    if run_id is None:
        index.complete(warehouse)
    else:
        index.keep(warehouse, index.AT_LEAST)
    with alone(warehouse):
        current = readers.begun(warehouse)
        if groups:
            readers.collect(warehouse, current)
    return before.live.num_rows, current.live.num_rows


@dataclass
class _Group:
    """Files that become one, in one table or in several: row n of a file in one is row n of those beside it in the others."""

    paths: list[list[str]]
    """By table, the alerts' first."""
    key: str
    """Of the unit that they become."""
    unit: Unit | None
    """None where it is there already."""

    def compact(self, warehouse: str, run_id: str) -> None:
        """Write the one file, and have the manifest take it for the others, if all of them are still there."""
        try:
            tables = [pa.concat_tables([read_rows(f"{warehouse}/{path}") for path in paths]) for paths in self.paths]
        except FileNotFoundError:  # ingested again meanwhile, in a bucket an hour ago: the next time
            return
        if len({table.num_rows for table in tables}) > 1:
            return
        order = _order(tables[0])
        suffix = f"{uuid.uuid4().hex[:12]}-000.parquet"
        written = []
        for paths, rows in zip(self.paths, tables, strict=True):
            place = f"{paths[0].rpartition('/')[0]}/{self.key}-{suffix}"
            file = WrittenFile(self.key, f"{warehouse}/{TEMPORARY}/{run_id}/{place}", f"{warehouse}/{place}", 0)
            written.append(write_rows(file, rows.take(order), group_rows=_GROUP_ROWS))
        with alone(warehouse):
            while not self._take(warehouse, run_id, written):
                pass

    def _take(self, warehouse: str, run_id: str, written: list[WrittenFile]) -> bool:
        """Whether that is done, or not to be done any more; False where another commit came in between."""
        old = [path for paths in self.paths for path in paths]
        current = readers.begun(warehouse)
        claims.check_claim(warehouse, run_id)
        beside = Beside(current.live.column("path").to_pylist())
        together = [[path, *beside.of(path)] for path in self.paths[0]]
        if not all(current.is_live(path) for path in old) or together != [*map(list, zip(*self.paths, strict=True))]:
            # Somebody has ingested one of the inputs again meanwhile, or computed features of it: the next time.
            delete(path for file in written for path in (file.temporary, file.final))
            return True
        if self.unit is not None:
            unit_inputs.write_inputs(warehouse, run_id, self.unit, self.key)
        note = put_in_place(warehouse, run_id, written)
        units = {self.key: self.unit} if self.unit is not None else _known(warehouse, current, self.key)
        added = rows_of(warehouse, written, units, _still_asked_for(warehouse, current.runs_of(old)))
        following = current.next(without=old, added=added, deleted=readers.collect(warehouse, current))
        if not publish(warehouse, following, f"{warehouse}/{TEMPORARY}/{run_id}/{uuid.uuid4().hex}.manifest"):
            return False
        readers.collect(warehouse, following)
        delete([note, *_forgotten(warehouse, current, following)])
        return True


def _still_asked_for(warehouse: str, runs: list[str] | None) -> list[str] | None:
    """Of the runs whose rows are in some files, those that may still ask for their own: a stream has thousands a night.

    Whatever has ended is accounted for.
    """
    if runs is None:
        return None
    held, begun = claims.holders(warehouse), datetime.now(UTC) - timedelta(seconds=_RECENT_SECS)
    return [run for run in runs if run in held or not _began_before(run, begun)]


def _began_before(run_id: str, moment: datetime) -> bool:
    """Whether a run, whose id begins with the time when it began, did so before a moment; False where that is not told."""
    began = began_at(run_id)
    return began is not None and began < moment


def _forgotten(warehouse: str, current: Manifest, following: Manifest) -> list[str]:
    """What was kept of units that have no files any more. In a bucket it stays: nobody is alone there."""
    if is_remote(warehouse):
        return []
    gone = set(pc.unique(current.live.column("unit")).to_pylist()) - set(pc.unique(following.live.column("unit")).to_pylist())
    return [unit_inputs.uri_of(warehouse, key) for key in gone]


def _known(warehouse: str, current: Manifest, key: str) -> dict[str, Unit]:
    """What a unit stands for that stays the one it is."""
    inputs = {uri for file in current.of_units([key]).to_pylist() for uri in _inputs_of(warehouse, file)}
    return {key: Unit(tuple(sorted(inputs)))} if inputs else {}


def _order(rows: pa.Table) -> pa.Array:
    """By place, then object and time; what has no place comes last."""
    names = rows.schema.names
    if "healpix29" not in names:
        by = [name for name in _ORDERED_BY if name in names]
        return pc.sort_indices(rows.select(by), sort_keys=[(name, "ascending") for name in by])
    keys = rows.select(["object_id", "observed_at"]).append_column("cell", pc.shift_right(rows.column("healpix29"), _CELL_BITS))
    return pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in ("cell", "object_id", "observed_at")])


def _groups(
    warehouse: str,
    current: Manifest,
    nights: tuple[date, date] | None,
    at_least: int,
    touched: set[tuple[str, date | None]] | None,
    *,
    whole_units: bool,
) -> Iterator[_Group]:
    live = current.live
    # Of what has no night, only the runs: each is a file, and a stream has one each round.
    divided = pc.or_(pc.is_valid(live.column("night")), pc.equal(live.column("table"), RUNS.name))
    small = pc.and_(divided, pc.less(live.column("rows"), PART_ROWS))
    small = pc.and_(small, pc.invert(live.column("is_replay")))
    # A table of somebody's own is not ours to write anew.
    small = pc.and_(small, pc.is_in(live.column("table"), pa.array(sorted(_OURS), pa.string())))
    if nights is not None:
        first, last = (pa.scalar(night, pa.date32()) for night in nights)
        small = pc.and_(small, pc.and_(pc.greater_equal(live.column("night"), first), pc.less_equal(live.column("night"), last)))
    files = live.filter(small)
    counts = files.group_by(["table", "night"]).aggregate([("path", "count")]).filter(pc.field("path_count") >= at_least)
    wanted = {(row["table"], row["night"]) for row in counts.to_pylist()}
    if touched is not None:
        wanted &= touched
    if not wanted:
        return
    files = files.filter(pc.is_in(files.column("night"), pa.array({night for _, night in wanted}, pa.date32())))
    found: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    by_path = {file["path"]: file for file in files.sort_by("path").to_pylist()}
    beside = Beside(by_path)
    for path, file in by_path.items():
        if beside.goes_with(path) is not None:
            continue
        file["beside"] = [by_path[other] for other in beside.of(path)]
        if touched is not None and 2 * _size_bytes(file) >= FILE_BYTES:
            continue
        alike = (file["schema"], *((other["table"], other["schema"]) for other in file["beside"]), file["unit"] == STREAM)
        own = file["unit"] if file["table"] == CROSSMATCHES.name and not whole_units else None
        found.setdefault((file["table"], file["night"], own, *alike), []).append(file)
    for (table, night, *_), alike_files in found.items():
        if (table, night) in wanted and len(alike_files) >= (2 if touched is None else at_least):
            chosen = alike_files if touched is None else _smallest(alike_files)
            yield from _bins(list(_with_inputs(warehouse, chosen)))


def _smallest(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The small ones, without those that are far larger than all of them: else a night's rows are written again each time."""
    ordered = sorted(files, key=_size_bytes)
    sums = itertools.accumulate(map(_size_bytes, ordered))
    worth = itertools.takewhile(lambda pair: _size_bytes(pair[0]) <= 2 * pair[1], zip(ordered[1:], sums, strict=False))
    chosen = [ordered[0], *(file for file, _ in worth)]
    return sorted(chosen if len(chosen) > 1 else files, key=lambda file: str(file["path"]))


def _with_inputs(warehouse: str, files: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Files whose unit's inputs are known, or need not be."""
    for file in files:
        file["unit_inputs"] = set() if file["unit"] == STREAM else _inputs_of(warehouse, file)
        if file["table"] == CROSSMATCHES.name or file["unit"] == STREAM or file["unit_inputs"]:
            yield file


def _size_bytes(file: dict[str, Any]) -> int:
    """Of a file and those beside it."""
    return sum(int(each["bytes"]) for each in (file, *file["beside"]))


def _bins(files: list[dict[str, Any]]) -> Iterator[_Group]:
    """Files of one table and night that fit together into one, each; alone none is written anew."""
    some: list[dict[str, Any]] = []
    for file in [*files, None]:
        if file is None or (some and not _fit([*some, file])):
            if len(some) > 1:
                yield _group(some)
            some = []
        if file is not None:
            some.append(file)


def _fit(files: list[dict[str, Any]]) -> bool:
    return sum(file["rows"] for file in files) <= PART_ROWS and sum(map(_size_bytes, files)) <= FILE_BYTES


def _group(files: list[dict[str, Any]]) -> _Group:
    paths = [[file["path"] for file in together] for together in zip(*((file, *file["beside"]) for file in files), strict=True)]
    keys = {file["unit"] for file in files}
    if len(keys) == 1:
        return _Group(paths, keys.pop(), None)
    inputs = {uri for file in files for uri in file["unit_inputs"]}
    # Never the key of what was compacted before: what is known of that one may still be written by who takes inputs out of it.
    return _Group(paths, unit_key(("compacted", uuid.uuid4().hex)), Unit(tuple(sorted(inputs))))


def _names_its_input(file: dict[str, Any]) -> bool:
    """Whether a file's rows have a column ``source``."""
    return file["table"] not in _WITHOUT_SOURCE and not goes_beside(file["table"])


def _inputs_of(warehouse: str, file: dict[str, Any]) -> set[str]:
    """The inputs that a file's unit stands for; none where nobody has kept them, and its rows do not prove them."""
    if file["inputs"] == 1:
        return {the_input(file)}
    if file["inputs"] > 1:
        return set(unit_inputs.read_inputs(warehouse, file["unit"]).inputs)
    if not _names_its_input(file):
        return set()
    # From before the manifest: the key of a unit of one input is made of it.
    with open_file(f"{warehouse}/{file['path']}") as opened:
        parts = str(pq.ParquetFile(opened).read_row_group(0, columns=["source"]).column(0)[0].as_py()).split("#")
    names = ("#".join(parts[:count]) for count in range(len(parts), 0, -1))
    return {name for name in names if unit_key((name,)) == file["unit"]}
