"""How rows come into the tables of a warehouse: its write method, and the sink that it names. Nobody else chooses a sink."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam

from alerts.avro.layout import EVERYTHING, Projection
from schemas.tables import CROSSMATCHES
from transforms.append_bigquery import AppendBigQuery
from transforms.elements import TableBatch
from transforms.ends import Sink
from transforms.table_rows import LetterRows, alert_rows, match_rows
from transforms.together import AtTheEnd, EverySecs
from transforms.write_bigquery import REQUEST_ROWS, WriteBigQuery
from transforms.write_parquet import WriteParquet
from warehouses.units import Unit


@dataclass(frozen=True)
class SinkSettings:
    """Where rows go and how, as plain values."""

    warehouse: str
    """A folder, ``gs://bucket/folder`` or ``bigquery://PROJECT/DATASET``."""
    method: str
    """``parquet``, ``file_loads``, ``streaming_inserts`` or ``storage_write``."""
    run_id: str
    tables: tuple[str, ...]
    """Names of the tables that rows may be of."""
    surveys: tuple[str, ...]
    """Whose tables there must be before anything is written."""
    units: tuple[Unit, ...] = ()
    """What is replaced, where rows can be: in a folder."""
    reads_all: bool = True
    """Whether every unit is read; else only those are replaced of which something was written."""
    every_secs: float | None = None
    """How often a stream puts files in place."""
    rows_per_request: int = REQUEST_ROWS
    at_least_once: bool = False
    """Whether rows may be seen as they come, though the run ends: what it reads comes again where it dies, in another run."""
    loads_folder: str | None = None
    """Where a round's load files are put, which are loaded once."""
    fenced: bool = False
    """Whether the run must still have its claim when rows are put in place: not where it goes on when its command has ended."""

    @property
    def of_matches(self) -> SinkSettings:
        """The same for rows of ``crossmatches``, which replace nothing."""
        return replace(self, tables=(CROSSMATCHES.name,), units=())


def sink_of(settings: SinkSettings) -> Sink:
    """The transform that writes so. Raises ``ValueError`` for a method that there is none for."""
    try:
        made = _SINKS[settings.method]
    except KeyError:
        raise ValueError(f"there is no write method {settings.method!r}; known are {', '.join(_SINKS)}") from None
    return made(settings)


def _parquet(settings: SinkSettings) -> Sink:
    together = EverySecs(settings.every_secs) if settings.every_secs else AtTheEnd()
    return WriteParquet(settings.warehouse, settings.run_id, settings.units, together, settings.reads_all, settings.fenced)


def _bigquery(settings: SinkSettings) -> Sink:
    if settings.loads_folder is not None:
        return AppendBigQuery(settings.warehouse, settings.run_id, at_the_end=True, loads_folder=settings.loads_folder)
    return WriteBigQuery(
        settings.warehouse,
        settings.run_id,
        settings.method,
        settings.tables,
        settings.every_secs,
        settings.surveys,
        settings.rows_per_request,
    )


def _storage_write(settings: SinkSettings) -> Sink:
    return AppendBigQuery(
        settings.warehouse, settings.run_id, at_the_end=settings.every_secs is None and not settings.at_least_once
    )


_SINKS: dict[str, Callable[[SinkSettings], Sink]] = {
    "parquet": _parquet,
    "file_loads": _bigquery,
    "streaming_inserts": _bigquery,
    "storage_write": _storage_write,
}


@dataclass
class WriteTables(beam.PTransform):
    """Alerts, matches and dead letters, each as the pipeline has made them, to a sink as rows of their tables."""

    sink: Sink
    run_id: str
    want: Projection = EVERYTHING
    """Which columns alerts have, and whether their stamps are rows too."""

    def expand(self, inputs: dict[str, beam.PCollection[Any]]) -> beam.PCollection[Any]:
        """``inputs``: ``alerts``, ``matches``, rows as they are (``AS_THEY_ARE``), and dead letters under any other names.

        Gives what the sink gives.
        """
        rows = {}
        for name, made in inputs.items():
            step = AS_THEY_ARE.get(name) or self.sink.row_steps.get(name) or f"{self.sink.row_steps['letters']}_{name}"
            rows[step] = made | step >> self._rows(name).with_output_types(TableBatch)
        # The sink's steps stand beside these: Dataflow finds the steps of a job that it updates by their names.
        return self.sink.expand(rows)

    def _rows(self, name: str) -> beam.ParDo:
        if name == "alerts":
            return beam.FlatMap(alert_rows, self.want)
        if name in AS_THEY_ARE:
            return beam.Map(_same)
        return beam.Map(match_rows) if name == "matches" else beam.ParDo(LetterRows(self.run_id))


AS_THEY_ARE = {
    "beside": "BesideRows",
    "verdicts": "VerdictRows",
    "filter_counts": "FilterCountRows",
    "outbox": "OutboxRows",
}
"""Inputs that are rows of tables already, and how their steps are called."""


def _same(rows: TableBatch) -> TableBatch:
    return rows
