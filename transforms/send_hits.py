"""Hits sent by the workers of a stream, when their rows are in the warehouse; for streams that nobody on this machine waits for.

What a receiver's side takes is closed by rows of the outbox, with a topic manifest; what it does not take for so long stays open
there, and ``broker publish --outbox`` sends it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from schemas.outbox import OUTBOX
from streams.addresses import Address
from streams.delivering import PUBLISH, Delivered, OpenMessage, closing_rows, deliver, manifest_row, refused_letters, rows_of
from streams.errors import StreamProblem
from streams.manifests import manifest_address
from streams.open_writers import OpenWriters
from streams.said import Said
from transforms import (
    coders,  # noqa: F401 - those of the batches
    metrics,
)
from transforms.elements import TableBatch, UnitLetter
from transforms.notes import name_run
from warehouses.units import STREAM

_AWAY_SECS = 60.0
"""A bundle waits no longer for receivers' sides that take nothing."""
_LEAST_SECS = 1.0
"""So long it waits for each, however long it has waited for others."""
_AGAIN_SECS = 300.0
"""One that has taken nothing is asked again after so long: a worker that waits for it writes no alerts meanwhile."""


@dataclass
class SendHits(beam.PTransform):
    """``TableBatch``es that are in their tables to rows of ``outbox`` that close what has arrived, and dead letters."""

    run_id: str
    addresses: Mapping[str, Address]
    """By their texts: rows for others stay open."""
    away_secs: float = _AWAY_SECS

    def expand(self, written: beam.PCollection[TableBatch]) -> dict[str, beam.PCollection[Any]]:
        """Those of ``outbox`` are sent, the others left alone."""
        send = beam.ParDo(_Send(self)).with_output_types(TableBatch)
        sent = written | "Send" >> send.with_outputs(PUBLISH, main="outbox")
        sent[PUBLISH].element_type = UnitLetter
        return {"outbox": sent.outbox, PUBLISH: sent[PUBLISH]}


class _Send(beam.DoFn):
    def __init__(self, settings: SendHits) -> None:
        self._run_id, self._addresses, self._away_secs = settings.run_id, settings.addresses, settings.away_secs

    def setup(self) -> None:
        name_run(self._run_id)
        # Of one thread each: writers are.
        self._writers, self._said = OpenWriters(), Said(logging.getLogger(__name__))
        self._again_at = dict[Address, float]()
        self._ends_at = 0.0

    def teardown(self) -> None:
        self._writers.close()

    def process(self, batch: TableBatch) -> Iterator[TableBatch | TaggedOutput]:
        if batch.table != OUTBOX.name:
            return
        self._ends_at = time.monotonic() + self._away_secs
        by_topic: dict[str, list[OpenMessage]] = {}
        for row in batch.rows.to_pylist():
            if row["topic"] in self._addresses:
                by_topic.setdefault(row["topic"], []).append(row)
        closed = [row for topic, rows in by_topic.items() for row in self._send(topic, rows)]
        rows = [row for row in closed if isinstance(row, dict)]
        if rows:
            yield TableBatch(OUTBOX.name, STREAM, rows_of(rows))
        for row in closed:
            if isinstance(row, UnitLetter):
                yield TaggedOutput(PUBLISH, row)

    def _send(self, topic: str, rows: list[OpenMessage]) -> Iterator[dict[str, object] | UnitLetter]:
        """Rows and letters that say what has become of messages for a topic, one object's in the order of their times."""
        address, rows = self._addresses[topic], sorted(rows, key=lambda row: (row["written_at"], row["key"], row["id"]))
        found = self._delivered(address, rows)
        yield from (UnitLetter(STREAM, letter) for letter in refused_letters(found, topic))
        metrics.SENT.inc(len(found.arrived), topic)
        if found.arrived:
            # The manifest first: nothing is closed that no manifest tells of.
            told, beside = manifest_row(topic, address, found.arrived, self._run_id), manifest_address(address)
            yield told
            became = self._delivered(beside, [told])
            yield from (UnitLetter(STREAM, letter) for letter in refused_letters(became, str(beside)))
            yield from closing_rows(became, str(beside), self._run_id)
        yield from closing_rows(found, topic, self._run_id)

    def _delivered(self, address: Address, rows: list[OpenMessage]) -> Delivered:
        if time.monotonic() < self._again_at.get(address, 0.0):
            return Delivered((), (), None)
        try:
            secs = max(_LEAST_SECS, self._ends_at - time.monotonic())
            # Whoever began the stream has made the topics: one that is gone is waited for.
            found = deliver(self._writers.at(address), str(address), rows, secs)
        except StreamProblem as error:
            found = Delivered((), (), error)
        if found.problem is not None:
            self._writers.give_up(address)
            self._again_at[address] = time.monotonic() + _AGAIN_SECS
            self._said.say(f"hits wait in the outbox for {address}: {found.problem}; broker publish --outbox sends them")
        return found
