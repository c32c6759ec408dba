"""When a sink that writes files puts them in place: once at the end, or again and again. The job chooses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.trigger import AccumulationMode, AfterProcessingTime, Repeatedly
from apache_beam.transforms.window import GlobalWindows


@dataclass
class AtTheEnd(beam.PTransform):
    """All elements in one list, when there are no more."""

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[list[Any]]:
        """One list, empty where there are no elements."""
        return elements | "ToList" >> beam.combiners.ToList()


@dataclass
class EverySecs(beam.PTransform):
    """A list of what has come, every so many seconds of the worker's clock."""

    seconds: float

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[list[Any]]:
        """Lists that hold every element once."""
        return (
            elements
            | "Pane"
            >> beam.WindowInto(
                GlobalWindows(),
                # Beam writes the delay down in whole milliseconds, and refuses a float.
                trigger=Repeatedly(AfterProcessingTime(max(1, round(self.seconds)))),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
            | "OneKey" >> beam.Map(_with_one_key)
            | "Gather" >> beam.GroupByKey()
            | "AsList" >> beam.Map(_as_list)
        )


def _with_one_key(element: Any) -> tuple[int, Any]:
    return 0, element


def _as_list(grouped: tuple[int, Iterable[Any]]) -> list[Any]:
    return list(grouped[1])
