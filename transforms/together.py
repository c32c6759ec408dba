"""When things are gathered: once at the end, or again and again. The job chooses; nobody else asks whether it is a stream."""

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

    def by_key(self) -> beam.PTransform:
        """Pairs of key and value to pairs of key and all its values."""
        return beam.GroupByKey()

    def after(self, done: beam.PCollection[Any]) -> beam.PTransform:
        """Lets elements pass when all of ``done`` has come."""
        return beam.WaitOn(done)


@dataclass
class EverySecs(beam.PTransform):
    """A list of what has come, every so many seconds of the worker's clock."""

    seconds: float

    def expand(self, elements: beam.PCollection[Any]) -> beam.PCollection[list[Any]]:
        """Lists that hold every element once."""
        grouped = elements | "OneKey" >> beam.Map(_with_one_key) | "Gather" >> self.by_key()
        return grouped | "AsList" >> beam.Map(_as_list)

    def by_key(self) -> beam.PTransform:
        """Pairs of key and value to pairs of key and the values that have come for it."""
        return _EverySecsByKey(self.seconds)

    def after(self, done: beam.PCollection[Any]) -> beam.PTransform:
        """Lets elements pass: what never ends cannot be waited for."""
        return beam.Map(_same)


@dataclass
class _EverySecsByKey(beam.PTransform):
    seconds: float

    def expand(self, pairs: beam.PCollection[tuple[Any, Any]]) -> beam.PCollection[tuple[Any, Iterable[Any]]]:
        return (
            pairs
            | "Pane"
            >> beam.WindowInto(
                GlobalWindows(),
                # Beam writes the delay down in whole milliseconds, and refuses a float.
                trigger=Repeatedly(AfterProcessingTime(max(1, round(self.seconds)))),
                accumulation_mode=AccumulationMode.DISCARDING,
            )
            | "ByKey" >> beam.GroupByKey()
        )


def _same(element: Any) -> Any:
    return element


def _with_one_key(element: Any) -> tuple[int, Any]:
    return 0, element


def _as_list(grouped: tuple[int, Iterable[Any]]) -> list[Any]:
    return list(grouped[1])
