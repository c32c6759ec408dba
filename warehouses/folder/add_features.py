"""Features of alerts that are in a folder: for each file of alerts one beside it, or another instead of the one that is there.

So they are replaced, sorted and joined with the alerts that they are of, as if they had been written with them. Who reads sees
those of some files more with every version of the manifest.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alerts.features.table import features_table_of, histories_of, made_of, rows_of, version
from alerts.surveys import Survey
from schemas import Table
from warehouses.computed import Computed
from warehouses.files import create_file, delete, open_file
from warehouses.folder import claims, manifest_rows, readers
from warehouses.folder.beside import Beside
from warehouses.folder.in_place import put_in_place
from warehouses.folder.locks import alone
from warehouses.folder.manifest import SCHEMA, publish
from warehouses.folder.parquet_files import TEMPORARY, described, file_schema, open_parquet
from warehouses.units import WrittenFile

_FILES_AT_ONCE = 16
"""So many are put in place together: every version of the manifest is written whole."""
_ROWS_AT_ONCE, _GROUP_ROWS = 256, 2048
_OF_THE_UNIT = ("unit", "inputs", "first_input", "last_input", "is_replay")
"""What the manifest says of a file of features as of that of its alerts."""


def add_features(
    warehouse: str, survey: Survey, nights: tuple[date, date], run_id: str, *, again: bool = False
) -> Iterator[Computed]:
    """Compute what alerts of some nights have no features of the present version of, or, ``again``, those of all of them.

    Gives the numbers of some files at a time, whose features are there then. Raises ``OSError`` and ``StaleRun``.
    """
    table = features_table_of(survey)
    if table is None:
        return
    looked_at: set[str] = set()
    computed = 0
    with claims.claim(warehouse, run_id, ()):
        # What was written anew while we were at it, by a compaction, is among the files of a later version.
        while True:
            before, let_go = readers.newest(warehouse)
            try:
                files = _of_nights(before.of(survey.alerts_table.name), nights)
                files = [file for file in files if file["path"] not in looked_at]
                if not files:
                    break
                adding = _Adding(warehouse, run_id, survey, table, again, Beside(before.live.column("path").to_pylist()))
                for begin in range(0, len(files), _FILES_AT_ONCE):
                    counts = adding.add(files[begin : begin + _FILES_AT_ONCE])
                    computed += counts.computed
                    # Alerts of the later ones have been counted, but for those that nothing had been computed of.
                    yield replace(counts, seen=counts.computed, had=0, without_history=0) if looked_at else counts
                looked_at.update(file["path"] for file in files)
            finally:
                let_go()
    if computed:
        # What was replaced, and was held by ourselves.
        with alone(warehouse):
            readers.collect(warehouse, readers.begun(warehouse))


def _of_nights(files: pa.Table, nights: tuple[date, date]) -> list[dict[str, Any]]:
    first, last = (pa.scalar(night, pa.date32()) for night in nights)
    night = files.column("night")
    return files.filter(pc.fill_null(pc.and_(pc.greater_equal(night, first), pc.less_equal(night, last)), False)).to_pylist()


@dataclass(frozen=True)
class _Made:
    """A file of features that is written, and not in place yet."""

    alerts: dict[str, Any]
    """The manifest's row of the file with the alerts."""
    old: str | None
    """The path of the file that it replaces."""
    written: WrittenFile
    failed: int


@dataclass(frozen=True)
class _Adding:
    warehouse: str
    run_id: str
    survey: Survey
    table: Table
    again: bool
    beside: Beside

    def add(self, files: Sequence[dict[str, Any]]) -> Computed:
        """Compute the features of some files of alerts, as far as that is to be done, and put them in place."""
        counts, made = Computed(), []
        for file in files:
            old = self.beside.of_table(file["path"], self.table.name)
            try:
                found = self._of_file(file, old)
            except FileNotFoundError:  # written anew meanwhile, in a bucket an hour ago
                continue
            if isinstance(found, Computed):
                counts += found
            else:
                made.append(found)
        taken, not_needed = self._take(made) if made else ([], [])
        for one_more in taken:
            rows = one_more.written.rows
            counts += Computed(seen=rows, computed=rows, failed=one_more.failed)
        rows = sum(each.written.rows for each in not_needed)
        return counts + Computed(seen=rows, had=rows)

    def _of_file(self, file: dict[str, Any], old: str | None) -> Computed | _Made:
        rows = int(file["rows"])
        if old is not None and self._is_done(old):
            return Computed(seen=rows, had=rows)
        with open_file(f"{self.warehouse}/{file['path']}") as opened:
            parquet = pq.ParquetFile(opened)
            if not {*histories_of(self.survey)} <= {*parquet.schema_arrow.names}:
                return Computed(seen=rows, without_history=rows)
            return self._write(parquet, file, old)

    def _is_done(self, path: str) -> bool:
        """Whether features are of the present version and, ``again``, ours: of what was compacted when we had computed them."""
        with open_file(f"{self.warehouse}/{path}") as opened:
            told = pq.ParquetFile(opened).read(columns=["version", "run_id"])
        versions, runs = (set(pc.unique(told.column(name)).to_pylist()) for name in ("version", "run_id"))
        return versions == {version(self.survey)} and (not self.again or runs == {self.run_id})

    def _write(self, parquet: pq.ParquetFile, file: dict[str, Any], old: str | None) -> _Made:
        night, name = file["path"].rpartition("/")[0].partition("/")[2], file["path"].rpartition("/")[2].partition(".")[0]
        place = f"{self.table.name}/{night}/{name}.{uuid.uuid4().hex[:12]}.parquet"
        temporary = f"{self.warehouse}/{TEMPORARY}/{self.run_id}/{place}"
        written, schema, failed = WrittenFile(file["unit"], temporary, f"{self.warehouse}/{place}", 0), file_schema(self.table), 0
        with create_file(temporary) as out:
            with open_parquet(out, schema) as writer:
                held: list[pa.RecordBatch] = []
                for alerts in _alerts_of(parquet, self.survey, file["night"]):
                    found = rows_of(alerts, self.survey, self.run_id)
                    if found is not None:
                        failed += len(found.failures)
                        held.append(found.rows.select(schema.names))
                    if sum(batch.num_rows for batch in held) >= _GROUP_ROWS:
                        writer.write_table(pa.Table.from_batches(held))
                        held = []
                if held:
                    writer.write_table(pa.Table.from_batches(held))
            size_bytes = out.tell()
        return _Made(file, old, described(replace(written, size_bytes=size_bytes), writer.writer.metadata, schema), failed)

    def _take(self, made: Sequence[_Made]) -> tuple[list[_Made], list[_Made]]:
        """Have the manifest name the files; gives those that it names, and those whose alerts have features of others now."""
        with alone(self.warehouse):
            while True:
                current = readers.begun(self.warehouse)
                claims.check_claim(self.warehouse, self.run_id)
                beside = Beside(current.live.column("path").to_pylist())
                there = [each for each in made if current.is_live(each.alerts["path"])]
                still = [each for each in there if each.old == beside.of_table(each.alerts["path"], self.table.name)]
                not_needed = [each for each in there if each not in still]
                gone = [path for each in made if each not in still for path in (each.written.temporary, each.written.final)]
                if not still:
                    delete(gone)
                    return still, not_needed
                note = put_in_place(self.warehouse, self.run_id, [each.written for each in still])
                following = current.next(
                    without=[each.old for each in still if each.old is not None],
                    added=self._rows(still),
                    deleted=readers.collect(self.warehouse, current),
                )
                temporary = f"{self.warehouse}/{TEMPORARY}/{self.run_id}/{uuid.uuid4().hex}.manifest"
                if publish(self.warehouse, following, temporary):
                    readers.collect(self.warehouse, following)
                    delete([note, *gone])
                    return still, not_needed

    def _rows(self, made: Sequence[_Made]) -> pa.Table:
        rows = manifest_rows.rows_of(self.warehouse, [each.written for each in made], {}, [self.run_id]).to_pylist()
        told = [row | {name: each.alerts[name] for name in _OF_THE_UNIT} for row, each in zip(rows, made, strict=True)]
        return pa.Table.from_pylist(told, schema=SCHEMA)


def _alerts_of(parquet: pq.ParquetFile, survey: Survey, night: date) -> Iterator[pa.RecordBatch]:
    """The alerts of a file, with the columns that features are made of, in order."""
    names, schema = parquet.schema_arrow.names, survey.alerts_table.arrow_schema
    wanted = [name for name in made_of(survey) if name in names]
    for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=wanted):
        held = [*zip(wanted, (batch.column(name) for name in wanted), strict=True)]
        # It stands in the folder's name.
        held.append(("night", pa.repeat(pa.scalar(night, schema.field("night").type), batch.num_rows)))
        yield pa.RecordBatch.from_arrays([array for _, array in held], names=[name for name, _ in held])
