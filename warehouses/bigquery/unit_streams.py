"""The streams by which runs have written units, kept in the table ``unit_streams``: a unit's rows are committed once.

A run notes its streams before it commits any, and that they are committed after. Whoever writes the same unit again, because
a run was killed or because somebody asked twice, finds the note: what it has written anew is left uncommitted, and the streams
that were noted first are committed, if they are not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone

import pyarrow as pa
from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from google.cloud.bigquery_storage_v1 import BigQueryWriteClient

from schemas.tables import READ_TABLES, UNIT_STREAMS
from warehouses.bigquery.append import Appender, RetryTimes
from warehouses.bigquery.load_files import is_load, is_loaded, load
from warehouses.bigquery.notes import noted_of, rows_gone
from warehouses.bigquery.pending import commit, committed_at
from warehouses.bigquery.written_streams import Choice, Noted, WrittenStream, alike, choose, noted_by_run
from warehouses.units import STREAM

_LAST = {table.name for table in READ_TABLES}
"""What says that a round is done comes when it is."""


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
        by_table: dict[str, list[tuple[str, ...]]] = defaultdict(list)
        for choice in [*chosen, *(choice for choice in own if choice.unit == STREAM)]:
            if not choice.noted.committed:
                by_table[choice.table].append(choice.noted.streams)
        for table, waiting in sorted(by_table.items(), key=lambda item: (item[0] in _LAST, item[0])):
            self._commit(table, waiting)
        self._note(run_id, chosen, committed=True)
        return sum(choice.noted.row_count for choice in chosen if choice.noted.run_id == run_id)

    def _commit(self, table: str, waiting: Sequence[tuple[str, ...]]) -> None:
        """Streams of some units, all at once; of load files one job for each unit."""
        streams = [name for names in waiting if not is_load(names) for name in names]
        if streams:
            commit(self._write, self._path(table), streams, self._patience)
        for names in waiting:
            if is_load(names):
                load(self._client, self._named(table), names)

    def _chosen(self, run_id: str, own: Sequence[Choice]) -> list[Choice]:
        noted = noted_of(self._client, self._dataset, {choice.unit for choice in own})
        same = [alike(choice, noted.get((choice.unit, choice.table), [])) for choice in own]
        others = {each.run_id for some in same for each in some} - {run_id}
        gone = rows_gone(self._client, self._dataset, others)
        return [
            self._choice(choice, [each for each in some if (each.run_id, choice.table) not in gone])
            for choice, some in zip(own, same, strict=True)
        ]

    def _choice(self, own: Choice, same: Sequence[Noted]) -> Choice:
        """Whose streams stand: of those that have the same rows, one's own among them, which is there since it was noted."""
        if all(noted.run_id == own.noted.run_id for noted in same):
            return own
        if any(noted.committed for noted in same):
            # Then nobody need be asked what is there.
            return choose(own, same, ())
        now = [self._as_it_is(own.table, noted) for noted in same]
        return choose(own, [noted for noted, _ in now], {name for noted, there in now if there for name in noted.streams})

    def _as_it_is(self, table: str, noted: Noted) -> tuple[Noted, bool]:
        """What was noted, committed or not as BigQuery knows it; whether the streams are there."""
        if noted.committed:
            return noted, True
        try:
            if is_load(noted.streams):
                return replace(noted, committed=is_loaded(self._client, self._named(table), noted.streams)), True
            when = [committed_at(self._write, name, self._patience) for name in noted.streams]
        except NotFound:
            return noted, False
        # Those of a table are committed together.
        return replace(noted, committed=all(when)), True

    def _note(self, run_id: str, chosen: Sequence[Choice], *, committed: bool) -> None:
        rows = [
            {
                "unit": choice.unit,
                "table_name": choice.table,
                "write_stream": name,
                "run_id": run_id,
                "written_by": choice.noted.run_id,
                "stream_count": len(choice.noted.streams),
                "row_count": choice.noted.row_count,
                "first_night": choice.noted.nights and choice.noted.nights[0],
                "last_night": choice.noted.nights and choice.noted.nights[1],
                "digest": f"{choice.noted.digest:016x}",
                "committed": committed,
                # The first note of a stream says which run came first, also to that run itself.
                "noted_at": datetime.now(timezone.utc) if committed else choice.noted.noted_at,
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

    def _named(self, table: str) -> str:
        return f"{self._client.project}.{self._dataset}.{table}"

    def _path(self, table: str) -> str:
        return f"projects/{self._client.project}/datasets/{self._dataset}/tables/{table}"
