"""The local warehouse: rows to Parquet files, put in place when all of them are whole."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from alerts.tables import table_named
from schemas import Table
from transforms import metrics
from transforms.elements import TableBatch
from transforms.notes import name_run
from transforms.together import AtTheEnd
from warehouses.folder.commit import commit
from warehouses.folder.parquet_files import UnitWriter
from warehouses.units import Unit, WrittenFile


@dataclass
class WriteParquet(beam.PTransform):
    """Rows of any tables (``TableBatch``) to a warehouse folder.

    Gives the number of rows whenever some have been put in place.
    """

    row_steps: ClassVar[Mapping[str, str]] = {"alerts": "Alerts", "letters": "DeadLetters", "matches": "Matches"}

    warehouse: str
    run_id: str
    units: Sequence[Unit] = ()
    """What is replaced; rows of other units are put beside those that are there."""
    together: beam.PTransform = field(default_factory=AtTheEnd)
    """When files are put in place: gathers them to lists."""
    reads_all: bool = True
    """Whether every unit is read; else only those are replaced of which something was written."""
    fenced: bool = False
    """Whether the run must still have its claim when it puts files in place."""

    def expand(self, inputs: dict[str, beam.PCollection[TableBatch]]) -> beam.PCollection[int]:
        """``inputs``: rows of alerts and their cutouts together, in the same order; all else under any other names."""
        return (
            inputs
            | "AllFiles" >> _AllFiles(self.warehouse, self.run_id)
            | "Together" >> self.together
            | "Commit"
            >> beam.Map(_commit, self.warehouse, self.run_id, list(self.units), reads_all=self.reads_all, fenced=self.fenced)
        )


@dataclass
class _AllFiles(beam.PTransform):
    warehouse: str
    run_id: str

    def expand(self, inputs: dict[str, beam.PCollection[TableBatch]]) -> beam.PCollection[WrittenFile]:
        # Written one by one: what is flattened a local runner holds in memory, and that are to be the files, not the rows.
        files = [rows | step >> beam.ParDo(_WriteFiles(self.warehouse, self.run_id)) for step, rows in inputs.items()]
        return files | "Flatten" >> beam.Flatten()


def _commit(
    files: list[WrittenFile], warehouse: str, run_id: str, units: Iterable[Unit], *, reads_all: bool, fenced: bool
) -> int:
    written = {file.unit for file in files}
    rows = commit(warehouse, run_id, [unit for unit in units if reads_all or unit.key in written], files, fenced=fenced)
    for file in files:
        metrics.ROWS_WRITTEN.inc(file.rows, file.final.removeprefix(f"{warehouse}/").partition("/")[0])
    return rows


class _WriteFiles(beam.DoFn):
    """Writes batches unit by unit: a worker's rows of one unit come one after another."""

    def __init__(self, warehouse: str, run_id: str) -> None:
        self._warehouse, self._run_id = warehouse, run_id
        self._writer: UnitWriter | None = None

    def setup(self) -> None:
        name_run(self._run_id)

    def start_bundle(self) -> None:
        self._unit = ""

    def process(self, batch: TableBatch, timestamp: Timestamp = beam.DoFn.TimestampParam) -> Iterator[WrittenFile]:
        self._timestamp = timestamp
        if self._writer is None or batch.unit != self._unit:
            yield from self._finish()
            self._writer = UnitWriter(self._warehouse, self._run_id, batch.unit)
            self._unit = batch.unit
        yield from self._writer.write(_table_with(batch.table, tuple(batch.rows.schema.names)), batch.rows)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for file in self._finish():
            yield WindowedValue(file, self._timestamp, [GlobalWindow()])

    def _finish(self) -> Iterator[WrittenFile]:
        if self._writer is not None:
            yield from self._writer.close()
        self._writer = None

    def teardown(self) -> None:
        if self._writer is not None:
            self._writer.abort()


@functools.lru_cache(maxsize=64)
def _table_with(name: str, columns: tuple[str, ...]) -> Table:
    """The table with those of its columns that rows have: Parquet files lack what is left out."""
    table = table_named(name)
    return replace(table, columns=tuple(column for column in table.columns if column.name in columns))
