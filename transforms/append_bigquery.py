"""The BigQuery warehouse by the Storage Write API: batches as they are, in a stream at least once, for an archive exactly once.

A round may also go by load jobs, noted and committed as streams are.

A bundle ends only when BigQuery has acknowledged its rows: what a runner does again then is written again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from alerts.rows import json_rows
from schemas.tables import DEAD_LETTERS
from transforms import metrics
from transforms.elements import TableBatch, UnitLetter
from transforms.load_files import avro_file
from transforms.notes import name_run
from transforms.table_rows import LetterRows
from transforms.together import AtTheEnd
from warehouses.bigquery.append import RowRefused
from warehouses.bigquery.append_requests import joined
from warehouses.bigquery.load_files import is_load
from warehouses.bigquery.refused import refused_row
from warehouses.bigquery.writing import AtOnce, ByLoads, ByStreams, Connected, Rows, Writing, without
from warehouses.bigquery.written_streams import WrittenStream
from warehouses.files import delete

_REFUSED = "refused"
_HOLD_BYTES = 16 * 2**20
"""Of rows that a bundle holds before they are sent: more are neither held nor on their way."""


@dataclass
class AppendBigQuery(beam.PTransform):
    """Rows of tables (``TableBatch``) to a dataset, whose tables must be there.

    Rows that BigQuery refuses become dead letters of the stage ``write``; what it cannot do now is tried again. Gives, of a
    stream, the batches that are in their tables, without the letters, and of what has an end the number of rows, when they are.
    """

    row_steps: ClassVar[Mapping[str, str]] = {"alerts": "AlertRows", "letters": "LetterRows", "matches": "MatchRows"}

    warehouse: str
    """``bigquery://PROJECT/DATASET``, and perhaps behind a question mark what queries there may cost."""
    run_id: str
    at_the_end: bool
    """Whether rows are seen when all are written, each once; else as they come, at least once."""
    loads_folder: str | None = None
    """Where load files are put that one job for each unit and table loads, instead of streams; only ``at_the_end``."""

    def expand(self, inputs: dict[str, beam.PCollection[TableBatch]]) -> beam.PCollection[Any]:
        """Rows of all tables; what it gives has come when they are written."""
        batches = list(inputs.values())
        rows = batches[0] if len(batches) == 1 else batches | "AllRows" >> beam.Flatten()
        project, dataset = self.warehouse.removeprefix("bigquery://").partition("?")[0].split("/")
        place = _Place(project, dataset, self.run_id)
        gives = WrittenStream if self.at_the_end else TableBatch
        append = beam.ParDo(_Append(place, self.at_the_end, self.loads_folder)).with_output_types(gives)
        written = rows | "Append" >> append.with_outputs(_REFUSED, main="written")
        letters = (
            written[_REFUSED]
            | "RefusedRows" >> beam.ParDo(LetterRows(self.run_id)).with_output_types(TableBatch)
            | "AppendRefused" >> append
        )
        if not self.at_the_end:
            # As they are: what is flattened a local runner holds, and writes down, whole batches.
            return written.written
        streams = (written.written, letters) | "Streams" >> beam.Flatten()
        return streams | "Together" >> AtTheEnd() | "Commit" >> beam.Map(_commit, place)


@dataclass(frozen=True)
class _Place:
    project: str
    dataset: str
    run_id: str

    def connect(self) -> Connected:
        return Connected(self.project, self.dataset, self.run_id)


def _commit(streams: Sequence[WrittenStream], place: _Place) -> int:
    connected = place.connect()
    try:
        done = connected.unit_streams.commit(place.run_id, streams)
    finally:
        connected.close()
    # Files of a run that died in the middle stay: a rule of the bucket takes them away.
    delete(stream.name for stream in streams if is_load([stream.name]))
    return done


class _Append(beam.DoFn):
    """Holds the batches of a bundle by table and unit, and gives on what BigQuery has, batches or streams to commit."""

    def __init__(self, place: _Place, at_the_end: bool, loads_folder: str | None) -> None:
        self._place, self._at_the_end, self._loads_folder = place, at_the_end, loads_folder
        self._shared = Shared()

    def setup(self) -> None:
        name_run(self._place.run_id)
        # One for all threads of a process: a connection is somebody's only while he writes.
        self._connected = self._shared.acquire(self._place.connect)

    def start_bundle(self) -> None:
        self._held: dict[tuple[str, str], list[TableBatch]] = {}
        self._held_bytes = 0
        self._schemas: dict[str, pa.Schema] = {}
        self._timestamp = MIN_TIMESTAMP
        self._writing = self._begin()

    def _begin(self) -> Writing:
        if self._loads_folder is not None:
            return ByLoads(self._connected, avro_file, self._loads_folder)
        return (ByStreams if self._at_the_end else AtOnce)(self._connected, avro_file)

    def process(self, batch: TableBatch, timestamp: Timestamp = beam.DoFn.TimestampParam) -> Iterator[Any]:
        self._timestamp = timestamp
        if not self._schemas.setdefault(batch.table, batch.rows.schema).equals(batch.rows.schema):
            yield from self._flush()
            self._schemas[batch.table] = batch.rows.schema
        self._held.setdefault((batch.table, batch.unit), []).append(batch)
        self._held_bytes += batch.rows.nbytes
        if self._held_bytes >= _HOLD_BYTES:
            yield from self._flush()

    def finish_bundle(self) -> Iterator[Any]:
        for element in (*self._flush(), *self._writing.end()):
            if isinstance(element, TaggedOutput):
                yield TaggedOutput(element.tag, self._windowed(element.value))
            else:
                yield self._windowed(element)

    def teardown(self) -> None:
        # So Beam ends one whose bundle has failed, and makes another.
        if hasattr(self, "_writing"):
            self._writing.give_up()

    def _windowed(self, element: Any) -> WindowedValue:
        return WindowedValue(element, self._timestamp, [GlobalWindow()])

    def _flush(self) -> Iterator[Any]:
        held, self._held, self._held_bytes = self._held, {}, 0
        if not held:
            return
        # One request for small batches of a table, however many they are.
        parts = [
            Rows(table, unit, rows) for (table, unit), batches in held.items() for rows in joined(batch.rows for batch in batches)
        ]
        for part, refused in zip(parts, self._writing.add(parts), strict=True):
            good = without(part.rows, refused)
            metrics.ROWS_WRITTEN.inc(good.num_rows, part.table)
            if good.num_rows and not self._at_the_end:
                yield TableBatch(part.table, part.unit, good)
            yield from _letters(part, refused)


def _letters(part: Rows, refused: Sequence[RowRefused]) -> Iterator[TaggedOutput]:
    for row in refused:
        if part.table == DEAD_LETTERS.name:
            raise RuntimeError(f"BigQuery refuses a dead letter, which must not be lost: {row.message}")
        metrics.ROWS_REFUSED.inc(1, part.table)
        (values,) = json_rows(part.rows.slice(row.number, 1))
        yield TaggedOutput(_REFUSED, UnitLetter(part.unit, refused_row(part.table, values, "invalid", row.message)))
