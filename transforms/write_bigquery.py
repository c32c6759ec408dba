"""The BigQuery warehouse: load files, or streaming inserts by Beam's ``WriteToBigQuery``, into tables made beforehand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import apache_beam as beam
from apache_beam.io.gcp.bigquery import BigQueryDisposition, WriteToBigQuery
from apache_beam.io.gcp.bigquery_tools import RetryStrategy
from apache_beam.pvalue import TaggedOutput

from alerts.rows import json_rows
from alerts.surveys import SURVEYS
from alerts.tables import table_named
from transforms import metrics
from transforms.elements import TableBatch, UnitLetter
from transforms.load_files import FileLoads
from transforms.table_rows import LetterRows
from warehouses.bigquery.refused import refused_row
from warehouses.units import STREAM

# BigQuery takes requests of 10 MB and 50,000 rows; Beam's estimate of a row's size is on the safe side.
_REQUEST_BYTES = 9_000_000
REQUEST_ROWS = 500


_REFUSED_AS_A_WHOLE = ("Forbidden", "Unauthorized")
"""What Beam gives as the reason of each row when BigQuery refuses a whole request: for want of quota, or of rights."""


class TableRow(dict[str, Any]):
    """A row for insertAll that knows its table: ``PROJECT:DATASET.TABLE``."""

    def __init__(self, values: dict[str, Any], table: str) -> None:
        super().__init__(values)
        self.table = table

    def __reduce__(self) -> tuple[object, tuple[dict[str, Any], str]]:
        return TableRow, (dict(self), self.table)


@dataclass
class WriteBigQuery(beam.PTransform):
    """Rows of tables (``TableBatch``) to a dataset.

    Rows that BigQuery refuses become dead letters of the stage ``write``; what it cannot do now is tried again.
    """

    row_steps: ClassVar[Mapping[str, str]] = {"alerts": "AlertRows", "letters": "LetterRows", "matches": "MatchRows"}

    warehouse: str
    """``bigquery://PROJECT/DATASET``, and perhaps behind a question mark what queries there may cost."""
    run_id: str
    method: str
    tables: tuple[str, ...]
    """The tables that rows may be of; they have all columns, those that the rows lack are empty."""
    load_every_secs: float | None = None
    surveys: tuple[str, ...] = tuple(SURVEYS)
    rows_per_request: int = REQUEST_ROWS

    def expand(self, inputs: dict[str, beam.PCollection[TableBatch]]) -> beam.PCollection[Any]:
        """Rows by the method that was chosen; what it gives has come when they are written."""
        batches = list(inputs.values())
        # What is flattened a local runner holds in memory.
        rows = batches[0] if len(batches) == 1 else batches | "AllRows" >> beam.Flatten()
        return self._insert(rows) if self.method == "streaming_inserts" else self._load(rows)

    def _load(self, batches: beam.PCollection[TableBatch]) -> beam.PCollection[Any]:
        """One sink for each table: only then Beam loads into the table itself, without temporary tables and copies."""
        by_table = batches | "ByTable" >> beam.ParDo(_ByTable()).with_outputs(*self.tables)
        jobs = []
        for name in self.tables:
            of_table = by_table[name]
            of_table.element_type = TableBatch  # by which Beam finds its coder
            loaded = of_table | f"Load_{name}" >> FileLoads(table_named(name), self.table(name), self._every_secs())
            jobs.append(loaded[FileLoads.DESTINATION_JOBID_PAIRS])
        return jobs | "LoadJobs" >> beam.Flatten()

    def _insert(self, batches: beam.PCollection[TableBatch]) -> beam.PCollection[Any]:
        refused = (
            (batches | "Rows" >> beam.FlatMap(self.rows_of) | "Insert" >> self._inserts()).failed_rows_with_errors
            | "Refused" >> beam.Map(_refused)
            | "RefusedRows" >> beam.ParDo(LetterRows(self.run_id)).with_output_types(TableBatch)
            | "RefusedJson" >> beam.FlatMap(self.rows_of)
            | "Refusals" >> self._inserts()
        )
        return refused.failed_rows_with_errors | "MustNotFail" >> beam.Map(_fail)

    def _every_secs(self) -> int | None:
        # A whole number, see transforms.together.
        return max(1, round(self.load_every_secs)) if self.load_every_secs else None

    def table(self, name: str) -> str:
        """The full name of a table."""
        project, dataset = self.warehouse.removeprefix("bigquery://").partition("?")[0].split("/")
        return f"{project}:{dataset}.{name}"

    def rows_of(self, batch: TableBatch) -> Iterator[TableRow]:
        """The rows of a batch as insertAll takes them."""
        _count(batch)
        for row in json_rows(batch.rows):
            yield TableRow(row, self.table(batch.table))

    def _inserts(self) -> WriteToBigQuery:
        # Inserts need no schema, the tables are there; Beam would ask for it anew with every row.
        return WriteToBigQuery(
            table=_table_of,
            method=WriteToBigQuery.Method.STREAMING_INSERTS,
            create_disposition=BigQueryDisposition.CREATE_NEVER,
            write_disposition=BigQueryDisposition.WRITE_APPEND,
            insert_retry_strategy=RetryStrategy.RETRY_ON_TRANSIENT_ERROR,
            batch_size=self.rows_per_request,
            max_insert_payload_size=_REQUEST_BYTES,
        )


def _count(batch: TableBatch) -> None:
    metrics.ROWS_WRITTEN.inc(batch.rows.num_rows, batch.table)


class _ByTable(beam.DoFn):
    def process(self, batch: TableBatch) -> Iterator[TaggedOutput]:
        _count(batch)
        yield TaggedOutput(batch.table, batch)


def _table_of(row: TableRow) -> str:
    return row.table


def _refused(failure: tuple[str, dict[str, Any], Any]) -> UnitLetter:
    """The dead letter for a row that BigQuery refused: the row as JSON is its payload.

    Raises ``RuntimeError`` where it is no fault of the row: then the runner tries again, or the run fails.
    """
    table, row, errors = failure
    first = errors[0] if isinstance(errors, list) and errors else {"reason": "refused", "message": str(errors)}
    name = str(table).rsplit(".", 1)[-1]
    if first.get("reason") in _REFUSED_AS_A_WHOLE:
        raise RuntimeError(
            f"BigQuery takes no rows for {name} ({first.get('message', '')}); see its quota and your rights, then run again"
        )
    metrics.ROWS_REFUSED.inc(1, name)
    message = f"{first.get('message', '')} (at {first.get('location') or 'the row'})"
    return UnitLetter(STREAM, refused_row(name, row, str(first.get("reason") or "refused"), message))


def _fail(failure: tuple[str, dict[str, Any], Any]) -> None:
    raise RuntimeError(f"BigQuery refuses a dead letter, which must not be lost: {failure[2]}")
