"""Rows of any tables into a dataset by the Storage Write API, and by load jobs those that it does not take."""

from __future__ import annotations

import abc
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.cloud import bigquery

from alerts.tables import table_named
from schemas import Table
from warehouses.bigquery.append import Appender, RetryTimes, RowRefused, WriteStream
from warehouses.bigquery.append_connection import channel_of, write_client
from warehouses.bigquery.load_rows import load_avro
from warehouses.bigquery.partition_age import streamable
from warehouses.bigquery.pending import PendingStream
from warehouses.bigquery.row_digest import added, rows_digest
from warehouses.bigquery.unit_streams import UnitStreams
from warehouses.bigquery.written_streams import WrittenStream, both_spans
from warehouses.files import create_file


@dataclass(frozen=True)
class Rows:
    """Rows of a unit for a table, by its name."""

    table: str
    unit: str
    rows: pa.RecordBatch


class Connected:
    """The clients that a process writes to one dataset with, whatever its number of threads."""

    def __init__(self, project: str, dataset: str, run_id: str = "", patience: RetryTimes | None = None) -> None:
        self.project, self.dataset, self.run_id = project, dataset, run_id
        self.patience = patience or RetryTimes()
        self.client = bigquery.Client(project=project)
        self.write = write_client()
        trace_id = f"pitt-broker:{run_id}" if run_id else "pitt-broker"
        self.appender = Appender(channel_of(self.write), patience=self.patience, trace_id=trace_id)

    def path(self, table: str) -> str:
        """A table as the Storage Write API names it."""
        return f"projects/{self.project}/datasets/{self.dataset}/tables/{table}"

    @property
    def unit_streams(self) -> UnitStreams:
        """The notes of which unit was written by which streams."""
        return UnitStreams(self.client, self.write, self.appender, self.dataset, self.patience)

    def close(self) -> None:
        """Close all connections."""
        self.appender.close()
        self.write.transport.close()
        self.client.close()


class Writing(abc.ABC):
    """What one bundle of a run writes."""

    def __init__(self, connected: Connected, as_avro: Callable[[Table, pa.RecordBatch], bytes]) -> None:
        self._connected, self._as_avro = connected, as_avro

    def add(self, parts: Sequence[Rows]) -> list[list[RowRefused]]:
        """Write rows and wait until BigQuery has them; gives those of each part that it refuses.

        Parts of one table have the same columns.
        Raises ``AppendRefused`` and ``TryAgain``, and what Google's clients raise.
        """
        today = datetime.now(timezone.utc).date()
        streamed, numbers = [], []
        for part in parts:
            taken = streamable(table_named(part.table), part.rows, today)
            if taken is not None:
                self._load(part.table, part.rows.filter(pa.array(~taken)))
                part = Rows(part.table, part.unit, part.rows.filter(pa.array(taken)))  # noqa: PLW2901
            streamed.append(part)
            numbers.append(None if taken is None else np.flatnonzero(taken))
        found = self._append(streamed)
        return [
            some if own is None else [RowRefused(int(own[row.number]), row.message) for row in some]
            for some, own in zip(found, numbers, strict=True)
        ]

    def _load(self, table: str, rows: pa.RecordBatch) -> None:
        place = f"{self._connected.project}.{self._connected.dataset}.{table}"
        load_avro(self._connected.client, place, self._as_avro(table_named(table), rows))

    @abc.abstractmethod
    def _append(self, parts: Sequence[Rows]) -> list[list[RowRefused]]:
        """The same for rows that the Storage Write API takes."""

    @abc.abstractmethod
    def end(self) -> list[WrittenStream]:
        """Nothing more comes: gives the streams that are to be committed."""

    @abc.abstractmethod
    def give_up(self) -> None:
        """The bundle has failed, or has ended: keeps no connection that nobody else uses."""


class AtOnce(Writing):
    """By default streams: rows are seen when they are acknowledged, at least once."""

    def _append(self, parts: Sequence[Rows]) -> list[list[RowRefused]]:
        return self._connected.appender.append([(self._connected.path(part.table), part.rows) for part in parts])

    def end(self) -> list[WrittenStream]:
        """None: all are seen."""
        return []

    def give_up(self) -> None:
        """Nothing: its connections are for whoever writes to these tables next."""


class ByStreams(Writing):
    """By a PENDING stream for each table and unit: rows are seen when it is committed, once."""

    def __init__(self, connected: Connected, as_avro: Callable[[Table, pa.RecordBatch], bytes]) -> None:
        super().__init__(connected, as_avro)
        self._streams: dict[tuple[str, str], PendingStream] = {}
        self._digests: dict[tuple[str, str], int] = {}
        self._nights: dict[tuple[str, str], tuple[date, date] | None] = {}

    def _append(self, parts: Sequence[Rows]) -> list[list[RowRefused]]:
        streams = [self._stream(part) for part in parts]
        work: list[tuple[WriteStream, pa.RecordBatch]] = [
            (pending.stream, part.rows) for pending, part in zip(streams, parts, strict=True)
        ]
        found = self._connected.appender.append_to(work)
        for part, refused in zip(parts, found, strict=True):
            key = part.table, part.unit
            good = without(part.rows, refused)
            self._digests[key] = added(self._digests[key], rows_digest(good))
            self._nights[key] = both_spans(self._nights[key], nights_of(good))
        return found

    def _stream(self, part: Rows) -> PendingStream:
        key = part.table, part.unit
        if key not in self._streams:
            here = self._connected
            self._streams[key] = PendingStream(here.write, here.appender, here.path(part.table), here.patience)
            self._digests[key], self._nights[key] = 0, None
        return self._streams[key]

    def end(self) -> list[WrittenStream]:
        """Those of the bundle, finalized; without those that have no row."""
        found = []
        for key, stream in self._streams.items():
            stream.finalize()
            if stream.row_count:
                table, unit = key
                found.append(WrittenStream(unit, table, stream.name, stream.row_count, self._digests[key], self._nights[key]))
        self._streams, self._digests, self._nights = {}, {}, {}
        return found

    def give_up(self) -> None:
        """See ``Writing``. The streams are not finalized: they are gone after a while."""
        for stream in self._streams.values():
            self._connected.appender.let_go(stream.stream)


class ByLoads(Writing):
    """By load files below a folder, for each table and unit: rows are seen when their job is done, once."""

    def __init__(self, connected: Connected, as_avro: Callable[[Table, pa.RecordBatch], bytes], folder: str) -> None:
        super().__init__(connected, as_avro)
        self._folder = folder
        self._files: list[WrittenStream] = []

    def add(self, parts: Sequence[Rows]) -> list[list[RowRefused]]:
        """Write rows to files, of whatever night they are; a load takes all rows or none."""
        return self._append(parts)

    def _append(self, parts: Sequence[Rows]) -> list[list[RowRefused]]:
        for part in parts:
            name = f"{self._folder}/{self._connected.run_id}/{part.table}-{part.unit}-{uuid.uuid4().hex}.avro"
            with create_file(name) as file:
                file.write(self._as_avro(table_named(part.table), part.rows))
            digest, nights = rows_digest(part.rows), nights_of(part.rows)
            self._files.append(WrittenStream(part.unit, part.table, name, part.rows.num_rows, digest, nights))
        return [[] for _ in parts]

    def end(self) -> list[WrittenStream]:
        """The files of the bundle."""
        found, self._files = self._files, []
        return found

    def give_up(self) -> None:
        """Nothing: its files are in nobody's notes."""


def without(rows: pa.RecordBatch, refused: Sequence[RowRefused]) -> pa.RecordBatch:
    """Rows without those that were refused."""
    if not refused:
        return rows
    keep = np.ones(rows.num_rows, bool)
    keep[[row.number for row in refused]] = False
    return rows.filter(pa.array(keep))


def nights_of(rows: pa.RecordBatch) -> tuple[date, date] | None:
    """The first and the last night of rows; None where they have none."""
    if "night" not in rows.schema.names or not rows.num_rows:
        return None
    found = pc.min_max(rows.column("night")).as_py()
    return found["min"], found["max"]
