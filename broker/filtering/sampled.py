"""A sample of the alerts that pass a filter: the same in each run and from each warehouse, in whichever order they come."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.filters.judge import Judged
from alerts.filters.tree import Output


@dataclass(frozen=True, order=True)
class SampledAlert:
    """An alert that has passed."""

    place: bytes
    """A hash of its id: those whose hashes are smallest are the sample."""
    alert_id: int
    object_id: str = field(compare=False)
    night: date = field(compare=False)
    columns: Mapping[str, Any] = field(compare=False)
    """The filter's columns."""


class PassedSample:
    """The alerts of a survey so far whose ids have the smallest hashes."""

    def __init__(self, most: int, columns: tuple[Output, ...]) -> None:
        self._most, self._names = most, [column.name for column in columns]
        self._held: list[SampledAlert] = []

    def add(self, alerts: pa.RecordBatch, judged: Judged) -> None:
        """Look at those of a batch that have passed."""
        rows = np.flatnonzero(judged.passed)
        if not self._most or not len(rows):
            return
        ids = alerts.column("alert_id").take(pa.array(rows)).to_pylist()
        hashes = [hashlib.blake2b(str(alert_id).encode(), digest_size=8).digest() for alert_id in ids]
        for number in heapq.nsmallest(self._most, range(len(rows)), key=hashes.__getitem__):
            whose = alerts.slice(int(rows[number]), 1).select(["object_id", "night"]).to_pylist()[0]
            values = {name: column[number].as_py() for name, column in zip(self._names, judged.columns, strict=True)}
            self._held.append(SampledAlert(hashes[number], ids[number], whose["object_id"], whose["night"], values))
        self._held = heapq.nsmallest(self._most, self._held)

    @property
    def alerts(self) -> list[SampledAlert]:
        """The sample, night by night."""
        return sorted(self._held, key=lambda alert: (alert.night, alert.alert_id))
