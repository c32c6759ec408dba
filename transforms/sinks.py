"""What a sink is: the end of a pipeline that knows where tables are, and not what their rows mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import apache_beam as beam

from transforms.elements import TableBatch


class Sink(Protocol):
    """Puts rows into tables."""

    @property
    def row_steps(self) -> Mapping[str, str]:
        """How the steps are called that make its rows: of ``alerts``, of ``matches``, and the begin of those of ``letters``.

        Dataflow finds the steps of a job that it updates by their names, so these stay.
        """

    def prepare(self) -> None:
        """Make what must be there before anything is written."""

    def expand(self, inputs: dict[str, beam.PCollection[TableBatch]]) -> beam.PCollection[Any]:
        """Write rows that come from steps of these names; what it gives has come when they are written."""
