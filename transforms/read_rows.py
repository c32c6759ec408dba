"""Alerts that are in a warehouse already, as filters see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
import pyarrow as pa

from transforms import (
    coders,  # noqa: F401 - those of the batches
    metrics,
)
from transforms.elements import AlertBatch


class StoredNight(Protocol):
    """The alerts of a survey's night, or some of them."""

    @property
    def survey(self) -> str:
        """The survey's name."""

    @property
    def unit(self) -> str:
        """By which what is said of them is counted."""


class RowSource(Protocol):
    """A warehouse that knows what filters see."""

    def read(self, wanted: Any) -> Iterator[pa.RecordBatch]:
        """The rows of a night, each alert once."""


@dataclass
class ReadRows(beam.PTransform):
    """Nights to ``AlertBatch``es, each read where it is worked on."""

    nights: Sequence[StoredNight]
    source: RowSource

    def expand(self, begin: beam.Pipeline) -> beam.PCollection[AlertBatch]:
        """From the pipeline's beginning."""
        nights = begin | "Nights" >> beam.Create(list(self.nights)) | "Share" >> beam.Reshuffle()
        return nights | "Rows" >> beam.FlatMap(_read, self.source).with_output_types(AlertBatch)


def _read(stored: StoredNight, source: RowSource) -> Iterator[AlertBatch]:
    for rows in source.read(stored):
        metrics.READ_AGAIN.inc(rows.num_rows, stored.survey)
        yield AlertBatch(stored.unit, stored.survey, rows)
