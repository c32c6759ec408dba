"""Features beside alerts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import apache_beam as beam

from alerts.features.table import rows_of
from alerts.surveys import survey
from transforms import (
    coders,  # noqa: F401 - those of the batches
    metrics,
)
from transforms.elements import AlertBatch
from transforms.notes import name_run, note_no_features


@dataclass
class AddFeatures(beam.PTransform):
    """``AlertBatch``es to the same with their features, which are NULL, counted and said where they cannot be computed."""

    run_id: str

    def expand(self, alerts: beam.PCollection[AlertBatch]) -> beam.PCollection[AlertBatch]:
        """From alerts with all their columns."""
        return alerts | "Compute" >> beam.ParDo(_Add(self.run_id)).with_output_types(AlertBatch)


class _Add(beam.DoFn):
    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def setup(self) -> None:
        name_run(self._run_id)

    def process(self, batch: AlertBatch) -> list[AlertBatch]:
        made = rows_of(batch.rows, survey(batch.survey), self._run_id)
        if made is None:
            return [batch]
        metrics.FEATURES_FAILED.inc(len(made.failures), batch.survey)
        note_no_features(batch.survey, made.failures)
        return [replace(batch, features=made.rows)]
