"""Load files for BigQuery, written column by column; Beam does the loading.

Beam's own writer takes a dictionary for each row and looks through a union for each value; ``docs/decisions/0008`` says what
that costs.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems
from apache_beam.io.gcp.bigquery import BigQueryDisposition
from apache_beam.io.gcp.bigquery_file_loads import BigQueryBatchFileLoads
from apache_beam.io.gcp.bigquery_tools import FileFormat, get_avro_schema_from_table_schema
from apache_beam.transforms.window import GlobalWindows

from alerts.avro.encode import container_blocks, container_header
from schemas import Table
from transforms.elements import TableBatch
from transforms.files import create_file

_FILE_BYTES = 2**30
"""A file is finished when it is so large: BigQuery reads the blocks of one file side by side, and takes files of terabytes."""


def avro_file(table: Table, rows: pa.RecordBatch) -> bytes:
    """Rows of a table as one load file."""
    sync = os.urandom(16)
    header = container_header(get_avro_schema_from_table_schema(table.to_bigquery()), sync)
    return b"".join((header, *container_blocks(rows, table, sync)))


class FileLoads(BigQueryBatchFileLoads):
    """``TableBatch``es of one table to load jobs, by Beam's ``BigQueryBatchFileLoads`` with files of our own.

    Gives what that one gives: a dictionary with the load jobs' ids under ``DESTINATION_JOBID_PAIRS``.
    """

    def __init__(self, table: Table, destination: str, every_secs: int | None = None) -> None:
        super().__init__(
            destination,
            schema=table.to_bigquery(),
            create_disposition=BigQueryDisposition.CREATE_NEVER,
            write_disposition=BigQueryDisposition.WRITE_APPEND,
            triggering_frequency=every_secs,
            is_streaming_pipeline=every_secs is not None,
            temp_file_format=FileFormat.AVRO,
        )
        self._table = table

    def _write_files(self, destination_data_kv_pc: beam.PCollection[Any], file_prefix_pcv: Any) -> beam.PCollection[Any]:
        # Beam's own step gives the same pairs: destination, and path and size of a file.
        files = destination_data_kv_pc | "WriteFiles" >> beam.ParDo(_WriteFiles(self._table), file_prefix_pcv)
        return self._maybe_apply_user_trigger(files)


class _WriteFiles(beam.DoFn):
    """Pairs of destination and ``TableBatch`` to pairs of destination, and path and size in bytes of a finished file."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def setup(self) -> None:
        self._sync = os.urandom(16)
        # Once: a table's schema takes ten milliseconds to parse, and a stream begins a file for every few alerts.
        self._header = container_header(get_avro_schema_from_table_schema(self._table.to_bigquery()), self._sync)
        self._file: Any = None

    def start_bundle(self) -> None:
        self._file = None

    def process(self, element: tuple[str, TableBatch], folder: str) -> Iterator[tuple[str, tuple[str, int]]]:
        destination, batch = element
        if self._file is None:
            self._begin(destination, folder)
        for piece in container_blocks(batch.rows, self._table, self._sync):
            self._write(piece)
        if self._size >= _FILE_BYTES:
            yield self._finish()

    def finish_bundle(self) -> Iterator[Any]:
        if self._file is not None:
            yield GlobalWindows.windowed_value(self._finish())

    def teardown(self) -> None:
        # Where a bundle has failed: its file is of no use, and nobody was told of it.
        if self._file is not None:
            self._file.close()

    def _begin(self, destination: str, folder: str) -> None:
        self._destination, self._size = destination, 0
        self._path = FileSystems.join(folder, destination.replace(":", "."), f"{uuid.uuid4()}.avro")
        self._file = create_file(self._path)
        self._write(self._header)

    def _write(self, piece: bytes | memoryview) -> None:
        self._file.write(piece)
        self._size += len(piece)

    def _finish(self) -> tuple[str, tuple[str, int]]:
        self._file.close()
        self._file = None
        return self._destination, (self._path, self._size)
