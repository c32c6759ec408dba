"""What filters say of alerts, in the same step as the alerts are decoded in: verdicts, and how many alerts were asked about."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.shared import Shared
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from alerts.filters import verdicts
from alerts.filters.filter_set import FilterSet
from alerts.filters.running import Running
from alerts.limits import MAX_FILTER_US
from alerts.lists.columns import AskedLists, ListColumns
from alerts.surveys import survey
from schemas.filter_tables import FILTER_COUNTS, VERDICTS
from schemas.outbox import OUTBOX
from streams.delivering import PUBLISH
from transforms import (
    coders,  # noqa: F401 - those of the batches
    metrics,
)
from transforms.elements import AlertBatch, TableBatch, UnitLetter
from transforms.files import open_file
from transforms.hits import Hits
from transforms.in_public import PublicJudge, row_of
from transforms.notes import name_run, note_put_aside
from transforms.together import AtTheEnd, EverySecs
from warehouses.units import STREAM

COUNTS = "counts"
_ROWS_AT_ONCE = 10_000


@dataclass
class JudgeAlerts(beam.PTransform):
    """``AlertBatch``es with what the filters ask for to ``TableBatch``es of ``verdicts`` and ``filter_counts``."""

    filters: FilterSet
    run_id: str
    together: AtTheEnd | EverySecs
    """When the counts of a unit are put together."""
    max_us: float = MAX_FILTER_US
    """What a filter may take of each alert, µs."""
    hits: Hits = field(default_factory=Hits)
    """Where what is passed is to be sent, when its rows are durable."""

    def expand(self, alerts: beam.PCollection[AlertBatch]) -> dict[str, beam.PCollection[TableBatch]]:
        """``verdicts`` and ``filter_counts``, both of no unit: a rerun replaces the alerts, not what was said of them.

        And ``outbox``, where hits are sent, and dead letters ``publish`` of those whose packets nobody has.
        """
        judge = beam.ParDo(_Judge(self)).with_output_types(TableBatch)
        judged = alerts | "Judge" >> judge.with_outputs(COUNTS, OUTBOX.name, PUBLISH, main="verdicts")
        judged[COUNTS].element_type = beam.typehints.KV[str, Any]
        judged[OUTBOX.name].element_type = TableBatch
        judged[PUBLISH].element_type = UnitLetter
        counts = (
            judged[COUNTS]
            | "OfUnit" >> self.together.by_key()
            | "CountRows" >> beam.Map(_count_rows, self.run_id).with_output_types(TableBatch)
        )
        sent = [OUTBOX.name] if self.hits.outlets else []
        # Whoever reads packets has them.
        sent += [PUBLISH] if self.hits.outlets and self.hits.packets is not None else []
        return {"verdicts": judged.verdicts, "filter_counts": counts, **{name: judged[name] for name in sent}}


class _BySurvey(dict[tuple[str, bool], Running]):
    """What runs in this process, by survey, and whether it is asked only about what is public."""


class _Judge(beam.DoFn):
    def __init__(self, settings: JudgeAlerts) -> None:
        self._filters, self._run_id, self._max_us = settings.filters, settings.run_id, settings.max_us
        self._hits = settings.hits
        self._shared = Shared()

    def setup(self) -> None:
        name_run(self._run_id)
        # One for all threads of a process: what takes too long has taken it once.
        self._running = self._shared.acquire(_BySurvey)

    def start_bundle(self) -> None:
        self._rows: list[pa.RecordBatch] = []
        self._counts: dict[str, verdicts.Counts] = {}
        self._timestamp = MIN_TIMESTAMP

    def process(self, batch: AlertBatch, timestamp: Timestamp = beam.DoFn.TimestampParam) -> Iterator[TableBatch]:
        self._timestamp = timestamp
        if batch.survey not in self._filters.surveys:
            yield from self._to_send(batch, verdicts.none(), set()) if self._hits.outlets else ()
            return
        compiled, running = self._filters.of_survey(batch.survey), self._runs(batch.survey)
        judged = running.judge(row_of(batch))
        # Not by what is put aside now: another thread may have done that meanwhile.
        for name in compiled.names:
            if name not in judged:
                metrics.NOT_ASKED.inc(batch.rows.num_rows, f"{batch.survey} {name}")
        note_put_aside(batch.survey, {name: why for name, why in running.put_aside.items() if name in judged})
        verdicts.add(self._counts.setdefault(batch.unit, {}), verdicts.counts_of(batch.rows, batch.survey, judged, compiled))
        passed = verdicts.verdict_rows(batch.rows, judged, compiled, self._run_id)
        self._rows.append(passed)
        if self._hits.outlets:
            yield from self._to_send(batch, passed, set(judged))
        if sum(rows.num_rows for rows in self._rows) >= _ROWS_AT_ONCE:
            yield from self._together()

    def finish_bundle(self) -> Iterator[Any]:
        for rows in self._together():
            yield WindowedValue(rows, self._timestamp, [GlobalWindow()])
        for unit, counts in self._counts.items():
            told = WindowedValue((unit, (uuid.uuid4().hex, counts)), self._timestamp, [GlobalWindow()])
            yield TaggedOutput(COUNTS, told)

    def _runs(self, name: str, *, in_public: bool = False) -> Running:
        """What asks the filters of a survey in this process."""
        running = self._running.get((name, in_public))
        if running is None:
            compiled = self._filters.of_survey(name)
            lists = ListColumns(AskedLists.of(self._filters.lists, compiled.used), survey(name), open_file)
            running = self._running.setdefault((name, in_public), Running(compiled, lists, self._max_us))
        return running

    def _to_send(self, batch: AlertBatch, said: pa.RecordBatch, names: Collection[str]) -> Iterator[TaggedOutput]:
        """What is to be sent of what filters of these names have passed."""
        judge = PublicJudge(self._filters.of_survey(batch.survey), self._runs(batch.survey, in_public=True), self._run_id)
        for made in self._hits.rows(batch, said, names, judge):
            yield TaggedOutput(OUTBOX.name if isinstance(made, TableBatch) else PUBLISH, made)

    def _together(self) -> Iterator[TableBatch]:
        held, self._rows = [rows for rows in self._rows if rows.num_rows], []
        if held:
            rows = pa.Table.from_batches(held).combine_chunks().to_batches()[0]
            yield TableBatch(VERDICTS.name, STREAM, rows)


def _count_rows(counted: tuple[str, Iterable[tuple[str, verdicts.Counts]]], run_id: str) -> TableBatch:
    """The counts of a unit; named by the parts that they are of, so that a row that comes twice is known."""
    unit, parts = counted
    names, total = [], verdicts.Counts()
    for name, counts in parts:
        names.append(name)
        verdicts.add(total, counts)
    part = hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
    return TableBatch(FILTER_COUNTS.name, STREAM, verdicts.count_rows(total, run_id, unit, part))
