"""What jobs of ``benchmarks.sinks`` find in this process's memory; in a module of its own, which Beam's workers import."""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam

from alerts.avro.layout import EVERYTHING
from alerts.tables import table_named
from transforms.elements import TableBatch
from transforms.load_files import avro_file

__all__ = ["BATCHES", "EVERYTHING", "Give", "as_file"]

BATCHES: list[TableBatch] = []


class Give(beam.DoFn):
    """Numbers to the batches that are held, again and again."""

    def process(self, number: int) -> Iterator[TableBatch]:
        """One batch."""
        yield BATCHES[number % len(BATCHES)]


def as_file(batch: TableBatch) -> int:
    """The bytes of a batch as a load file."""
    return len(avro_file(table_named(batch.table), batch.rows))
