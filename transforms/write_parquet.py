"""The local warehouse: alerts, cutouts and dead letters to Parquet files, put in place when all of them are whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from alerts.avro.layout import EVERYTHING, Projection
from alerts.dead_letters import dead_letter_rows
from alerts.surveys import survey
from schemas import Table
from schemas.tables import CROSSMATCHES, DEAD_LETTERS
from transforms import metrics
from transforms.commit import commit
from transforms.elements import AlertBatch, MatchBatch, Unit, UnitLetter, WrittenFile
from transforms.notes import name_run, note
from transforms.parquet_files import UnitWriter
from transforms.together import AtTheEnd

_LETTERS_AT_ONCE = 256


@dataclass
class WriteParquet(beam.PTransform):
    """Alerts (``AlertBatch``) and dead letters (``UnitLetter``, any number of collections) to a warehouse folder.

    Gives one element when all is in place: the number of rows.
    """

    warehouse: str
    run_id: str
    units: Sequence[Unit] = ()
    want: Projection = EVERYTHING
    """Which columns there are to be."""
    together: beam.PTransform = field(default_factory=AtTheEnd)
    """When files are put in place: gathers them to lists."""
    reads_all: bool = True
    """Whether every unit is read; else only those are replaced of which something was written."""

    def prepare(self) -> None:
        """Nothing: folders are made as they are needed."""

    def matches(self) -> WriteMatches:
        """The sink for rows of ``crossmatches``."""
        return WriteMatches(self.warehouse, self.run_id, self.together)

    def expand(self, inputs: dict[str, beam.PCollection[Any]]) -> beam.PCollection[int]:
        """``inputs``: ``alerts``, and dead letters under any other names."""
        files = [
            inputs["alerts"] | "Alerts" >> beam.ParDo(_WriteAlerts(self)),
            *(
                letters | f"DeadLetters_{name}" >> beam.ParDo(_WriteDeadLetters(self))
                for name, letters in inputs.items()
                if name != "alerts"
            ),
        ]
        return (
            files
            | "AllFiles" >> beam.Flatten()
            | "Together" >> self.together
            | "Commit" >> beam.Map(_commit, self.warehouse, self.run_id, list(self.units), self.reads_all)
        )


@dataclass
class WriteMatches(beam.PTransform):
    """Rows of ``crossmatches`` (``MatchBatch``) to a warehouse folder, beside those that are there: the newest one counts."""

    warehouse: str
    run_id: str
    together: beam.PTransform = field(default_factory=AtTheEnd)

    def expand(self, matches: beam.PCollection[MatchBatch]) -> beam.PCollection[int]:
        """Gives the number of rows whenever some have been put in place."""
        settings = WriteParquet(self.warehouse, self.run_id)
        return (
            matches
            | "Matches" >> beam.ParDo(_WriteMatchRows(settings))
            | "Together" >> self.together
            | "Commit" >> beam.Map(_commit, self.warehouse, self.run_id, [], reads_all=True)
        )


def _commit(files: list[WrittenFile], warehouse: str, run_id: str, units: Iterable[Unit], reads_all: bool) -> int:
    written = {file.unit for file in files}
    rows = commit(warehouse, run_id, [one for one in units if reads_all or one.key in written], files)
    for file in files:
        metrics.ROWS_WRITTEN.inc(file.rows, file.final.removeprefix(f"{warehouse}/").partition("/")[0])
    return rows


class _WriteUnits(beam.DoFn):
    """Writes elements unit by unit: a worker's elements of one unit come one after another."""

    def __init__(self, settings: WriteParquet) -> None:
        self._warehouse, self._run_id, self._want = settings.warehouse, settings.run_id, settings.want
        self._writer: UnitWriter | None = None

    def setup(self) -> None:
        name_run(self._run_id)

    def start_bundle(self) -> None:
        self._unit = ""

    def process(
        self, element: AlertBatch | MatchBatch | UnitLetter, timestamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[WrittenFile]:
        self._timestamp = timestamp
        if element.unit != self._unit:
            yield from self._finish()
            self._writer = UnitWriter(self._warehouse, self._run_id, element.unit)
            self._unit = element.unit
        yield from self._write(element)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for file in self._finish():
            yield WindowedValue(file, self._timestamp, [GlobalWindow()])

    def _finish(self) -> Iterator[WrittenFile]:
        if self._writer is not None:
            yield from self._flush()
            yield from self._writer.close()
        self._writer, self._unit = None, ""

    def teardown(self) -> None:
        if self._writer is not None:
            self._writer.abort()

    def _write(self, element: Any) -> Iterator[WrittenFile]:
        raise NotImplementedError

    def _flush(self) -> Iterator[WrittenFile]:
        yield from ()

    def _put(self, table: Table, rows: pa.RecordBatch) -> Iterator[WrittenFile]:
        if self._writer is None:
            raise RuntimeError("rows were given outside of a unit")
        yield from self._writer.write(table, rows)


class _WriteAlerts(_WriteUnits):
    def _write(self, element: AlertBatch) -> Iterator[WrittenFile]:
        facts = survey(element.survey)
        for table in (self._want.alerts_table(facts), *([facts.cutouts_table] if self._want.stamps else [])):
            yield from self._put(table, element.rows.select(table.arrow_schema.names))


class _WriteMatchRows(_WriteUnits):
    def _write(self, element: MatchBatch) -> Iterator[WrittenFile]:
        yield from self._put(CROSSMATCHES, element.rows)


class _WriteDeadLetters(_WriteUnits):
    def start_bundle(self) -> None:
        super().start_bundle()
        self._letters: list[UnitLetter] = []

    def _write(self, element: UnitLetter) -> Iterator[WrittenFile]:
        note(element.letter)
        self._letters.append(element)
        if len(self._letters) >= _LETTERS_AT_ONCE:
            yield from self._flush()

    def _flush(self) -> Iterator[WrittenFile]:
        if self._letters:
            rows = dead_letter_rows([one.letter for one in self._letters], self._run_id)
            self._letters = []
            yield from self._put(DEAD_LETTERS, rows)
