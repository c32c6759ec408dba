"""Positions of alerts that are in a warehouse already, for a rematch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import apache_beam as beam
import pyarrow as pa

from transforms.elements import PositionBatch


class CatalogAlerts(Protocol):
    """Some alerts to ask one catalog about."""

    @property
    def catalog(self) -> str:
        """The catalog's name."""


class PositionSource(Protocol):
    """A warehouse that knows where alerts are."""

    def read(self, wanted: Any) -> Iterator[pa.RecordBatch]:
        """The positions (``POSITIONS``) of the alerts a question is about."""


@dataclass
class ReadPositions(beam.PTransform):
    """Questions to ``PositionBatch``es, each read where it is worked on."""

    questions: Sequence[CatalogAlerts]
    source: PositionSource

    def expand(self, begin: beam.Pipeline) -> beam.PCollection[PositionBatch]:
        """From the pipeline's beginning."""
        questions = begin | "Questions" >> beam.Create(list(self.questions)) | "Share" >> beam.Reshuffle()
        return questions | "Positions" >> beam.FlatMap(_read, self.source)


def _read(question: CatalogAlerts, source: PositionSource) -> Iterator[PositionBatch]:
    for rows in source.read(question):
        yield PositionBatch(rows, (question.catalog,))
