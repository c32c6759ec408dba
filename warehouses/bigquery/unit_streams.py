"""The streams by which runs have written units, kept in the table ``unit_streams``: a unit's rows are committed once.

A run notes its streams before it commits any, and that they are committed after. Whoever writes the same unit again, because
a run was killed or because somebody asked twice, finds the note: what it has written anew is left uncommitted, and the streams
that were noted first are committed, if they are not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient

from schemas.tables import UNIT_STREAMS
from warehouses.bigquery.append import Appender, RetryTimes
from warehouses.bigquery.pending import commit, committed_at
from warehouses.bigquery.row_digest import added
from warehouses.units import STREAM


@dataclass(frozen=True)
class WrittenStream:
    """A finalized stream with rows of one unit for one table."""

    unit: str
    table: str
    name: str
    row_count: int
    digest: int
    """See ``row_digest``."""


@dataclass(frozen=True)
class Noted:
    """What a run has written of a unit for a table."""

    run_id: str
    streams: tuple[str, ...]
    row_count: int
    digest: int
    noted_at: datetime
    committed: bool


@dataclass(frozen=True)
class Choice:
    """Whose streams of a unit are to stand in a table."""

    unit: str
    table: str
    noted: Noted


def noted_by_run(streams: Iterable[WrittenStream], run_id: str, noted_at: datetime) -> list[Choice]:
    """The streams of a run by unit and table."""
    parts: dict[tuple[str, str], list[WrittenStream]] = defaultdict(list)
    for stream in streams:
        parts[stream.unit, stream.table].append(stream)
    found = []
    for (unit, table), some in sorted(parts.items()):
        names, digest = tuple(sorted(stream.name for stream in some)), 0
        for stream in some:
            digest = added(digest, stream.digest)
        rows = sum(stream.row_count for stream in some)
        found.append(Choice(unit, table, Noted(run_id, names, rows, digest, noted_at, committed=False)))
    return found


def choose(own: Choice, others: Iterable[Noted], alive: Collection[str]) -> Choice:
    """The streams that are to stand for a unit: those of a run that wrote the same rows before, else the own.

    ``alive`` are the streams that can still be committed.
    """
    same = [other for other in others if (other.row_count, other.digest) == (own.noted.row_count, own.noted.digest)]
    usable = [other for other in same if other.committed or set(other.streams) <= set(alive)]
    if not usable:
        return own
    # What is committed cannot be taken back; of others the first, so that two runs choose alike.
    return replace(own, noted=min(usable, key=lambda other: (not other.committed, other.noted_at, other.run_id)))


class UnitStreams:
    """The table ``unit_streams`` of a dataset, and the streams that it names."""

    def __init__(
        self,
        client: bigquery.Client,
        write: BigQueryWriteClient,
        appender: Appender,
        dataset: str,
        patience: RetryTimes | None = None,
    ) -> None:
        self._client, self._write, self._appender = client, write, appender
        self._dataset, self._patience = dataset, patience

    def commit(self, run_id: str, streams: Sequence[WrittenStream]) -> int:
        """Let each unit's rows be in its tables once; gives the number of rows that this run has brought to units.

        Raises what Google's clients raise, ``AppendRefused`` and ``TryAgain``; the same call again goes on where it stopped.
        """
        own = noted_by_run(streams, run_id, datetime.now(timezone.utc))
        named = [choice for choice in own if choice.unit != STREAM]
        self._note(run_id, named, committed=False)
        chosen = self._chosen(run_id, named)
        by_table: dict[str, list[str]] = defaultdict(list)
        for choice in [*chosen, *(choice for choice in own if choice.unit == STREAM)]:
            by_table[choice.table] += [] if choice.noted.committed else choice.noted.streams
        for table, waiting in sorted(by_table.items()):
            commit(self._write, self._path(table), waiting, self._patience)
        self._note(run_id, chosen, committed=True)
        return sum(choice.noted.row_count for choice in chosen if choice.noted.run_id == run_id)

    def _chosen(self, run_id: str, own: Sequence[Choice]) -> list[Choice]:
        others = self._noted_before(run_id, {choice.unit for choice in own})
        found = []
        for choice in own:
            now = [self._as_it_is(noted) for noted in others.get((choice.unit, choice.table), [])]
            alive = {name for noted, there in now if there for name in noted.streams}
            found.append(choose(choice, [noted for noted, _ in now], alive))
        return found

    def _as_it_is(self, noted: Noted) -> tuple[Noted, bool]:
        """What was noted, committed or not as BigQuery knows it; whether the streams are there."""
        if noted.committed:
            return noted, True
        try:
            when = [committed_at(self._write, name, self._patience) for name in noted.streams]
        except NotFound:
            return noted, False
        # Those of a table are committed together.
        return replace(noted, committed=all(when)), True

    def _noted_before(self, run_id: str, units: Collection[str]) -> dict[tuple[str, str], list[Noted]]:
        if not units:
            return {}
        sql = (
            "SELECT unit, table_name, written_by, write_stream, MAX(row_count) AS row_count, MAX(digest) AS digest, "
            f"MIN(noted_at) AS noted_at, LOGICAL_OR(committed) AS committed FROM `{self._client.project}.{self._dataset}."
            f"{UNIT_STREAMS.name}` WHERE unit IN UNNEST(@units) AND written_by <> @run_id GROUP BY 1, 2, 3, 4"
        )
        values = [
            bigquery.ArrayQueryParameter("units", "STRING", sorted(units)),
            bigquery.ScalarQueryParameter("run_id", "STRING", run_id),
        ]
        rows = self._client.query(sql, job_config=bigquery.QueryJobConfig(query_parameters=values)).result()
        parts: dict[tuple[str, str, str], list[Any]] = defaultdict(list)
        for row in rows:
            parts[row.unit, row.table_name, row.written_by].append(row)
        found: dict[tuple[str, str], list[Noted]] = defaultdict(list)
        for (unit, table, run), some in parts.items():
            first = some[0]
            found[unit, table].append(
                Noted(
                    run,
                    tuple(sorted(row.write_stream for row in some)),
                    first.row_count,
                    int(first.digest, 16),
                    min(row.noted_at for row in some),
                    all(row.committed for row in some),
                )
            )
        return found

    def _note(self, run_id: str, chosen: Sequence[Choice], *, committed: bool) -> None:
        rows = [
            {
                "unit": choice.unit,
                "table_name": choice.table,
                "write_stream": name,
                "run_id": run_id,
                "written_by": choice.noted.run_id,
                "row_count": choice.noted.row_count,
                "digest": f"{choice.noted.digest:016x}",
                "committed": committed,
                "noted_at": datetime.now(timezone.utc),
            }
            for choice in chosen
            for name in choice.noted.streams
        ]
        if rows:
            batch = pa.RecordBatch.from_pylist(rows, schema=UNIT_STREAMS.arrow_schema)
            # Twice the same note is no harm.
            refused = self._appender.append([(self._path(UNIT_STREAMS.name), batch)])[0]
            if refused:
                raise RuntimeError(f"BigQuery refuses a note of a unit's streams: {refused[0].message}")

    def _path(self, table: str) -> str:
        return f"projects/{self._client.project}/datasets/{self._dataset}/tables/{table}"
