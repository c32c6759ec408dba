"""The two ends of a pipeline: what a run reads, and where its rows go. A run knows nothing else of them than stands here.

Beam's classes have no types: whatever is called on a ``beam.PTransform`` passes the type checker, and fails in the run. A call
of something that is not in these protocols does not pass. That transforms have what their protocol says a test sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import apache_beam as beam

from transforms.elements import TableBatch


class Source(Protocol):
    """Where packets come from."""

    def expand(self, begin: beam.Pipeline) -> beam.pvalue.DoOutputsTuple:
        """From the pipeline's beginning to the outputs ``packets`` (``PacketBatch``) and ``dead_letters`` (``UnitLetter``)."""

    def __rrshift__(self, label: str) -> beam.PTransform:
        """``label >> source``, as Beam names a step."""


class Sink(Protocol):
    """Puts rows into tables. It knows where these are, and not what the rows mean."""

    @property
    def row_steps(self) -> Mapping[str, str]:
        """How the steps are called that make its rows: of ``alerts``, of ``matches``, and the begin of those of ``letters``.

        Dataflow finds the steps of a job that it updates by their names, so these stay.
        """

    def expand(self, inputs: dict[str, beam.PCollection[TableBatch]]) -> beam.PCollection[Any]:
        """Write rows that come from steps of these names; what it gives has come when they are written."""
