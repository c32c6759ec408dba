"""Alerts' positions to what catalogs know there. Nothing waits for it: the alerts have left for their table before.

Services are called from as few keys as there may be calls at once. A runner works on one key in one place at a time, so that
the limit holds on all workers together; ``alerts.catalogs.cds.gate`` keeps it among the threads of each process.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import apache_beam as beam
import pyarrow as pa
from apache_beam.io.filesystems import FileSystems

from alerts.catalogs.asking import Asker, in_calls
from alerts.catalogs.defaults import MAX_POSITIONS
from alerts.catalogs.open import Askers, CatalogSettings, open_askers
from alerts.catalogs.rows import positions_of
from transforms import metrics
from transforms.elements import AlertBatch, MatchBatch, PositionBatch
from transforms.files import create_file, open_file
from transforms.notes import name_run
from transforms.together import AtTheEnd

_COUNTERS = {
    "matched": metrics.MATCHED,
    "no_match": metrics.NO_MATCH,
    "failed": metrics.FAILED,
    "unproven": metrics.UNPROVEN,
    "cache_hits": metrics.CACHE_HITS,
}
_DISTRIBUTIONS = {"positions": metrics.CALL_POSITIONS, "call_milliseconds": metrics.CALL_MS}
"""What catalogs tell of themselves; of their calls a distribution has the number, too."""
_HELD_POSITIONS = 50_000
_LOG = logging.getLogger(__name__)


@dataclass
class Positions(beam.PTransform):
    """``AlertBatch``es to ``PositionBatch``es."""

    def expand(self, alerts: beam.PCollection[AlertBatch]) -> beam.PCollection[PositionBatch]:
        """Some 40 bytes per alert go on, for those whose position is on the sky."""
        return alerts | "Of" >> beam.FlatMap(_positions)


@dataclass
class CrossMatch(beam.PTransform):
    """``PositionBatch``es to ``MatchBatch``es: a row for every alert and catalog, whatever becomes of the catalog."""

    settings: CatalogSettings
    together: AtTheEnd = field(default_factory=AtTheEnd)
    """What gathers the positions for a call."""

    def expand(self, positions: beam.PCollection[PositionBatch]) -> beam.PCollection[MatchBatch]:
        """Files are asked where the alerts are, services from few keys."""
        specs = self.settings.specs
        found = []
        if not all(spec.remote for spec in specs):
            found.append(positions | "AskFiles" >> beam.ParDo(_AskFiles(self.settings)))
        if any(spec.remote for spec in specs):
            calls = (
                positions
                | "Deal" >> beam.FlatMap(_deal, self.settings.concurrency)
                | "Gather" >> self.together.by_key()
                | "Ask" >> beam.ParDo(_AskServices(self.settings))
            )
            found.append(calls)
        return found | "Found" >> beam.Flatten()


def _positions(batch: AlertBatch) -> Iterator[PositionBatch]:
    rows = positions_of(batch.rows)
    if rows.num_rows:
        yield PositionBatch(rows)


def _deal(batch: PositionBatch, keys: int) -> Iterator[tuple[int, PositionBatch]]:
    """The alerts of one object always go to one key, where their answer may be in the cache."""
    rows = batch.rows
    names = rows.column("object_id").to_pylist()
    ids = rows.column("alert_id").to_pylist()
    key_of = [zlib.crc32((name or str(alert_id)).encode()) % keys for name, alert_id in zip(names, ids, strict=True)]
    for key in sorted(set(key_of)):
        yield key, PositionBatch(rows.filter(pa.array([other == key for other in key_of])), batch.catalogs)


class _Ask(beam.DoFn):
    def __init__(self, settings: CatalogSettings) -> None:
        self._settings = settings

    def setup(self) -> None:
        name_run(self._settings.run_id)
        self._askers = _askers(self._settings)

    def _rows(self, asker: Asker, positions: pa.RecordBatch) -> MatchBatch:
        def count(what: str, number: int) -> None:
            _count(asker.spec.name, what, number)

        return MatchBatch(asker.rows(positions, count))


class _AskFiles(_Ask):
    def process(self, batch: PositionBatch) -> Iterator[MatchBatch]:
        for asker in self._askers.files:
            if batch.concerns(asker.spec.name):
                yield self._rows(asker, batch.rows)


class _AskServices(_Ask):
    def process(self, gathered: tuple[int, Iterable[PositionBatch]]) -> Iterator[MatchBatch]:
        for asker in self._askers.services:
            own = (batch.rows for batch in gathered[1] if batch.concerns(asker.spec.name))
            for positions in in_calls(own, _HELD_POSITIONS, MAX_POSITIONS):
                yield self._rows(asker, positions)


def _count(catalog: str, what: str, number: int) -> None:
    if what in _COUNTERS:
        _COUNTERS[what].inc(number, catalog)
    elif what in _DISTRIBUTIONS:
        _DISTRIBUTIONS[what].take(number, catalog)


def _askers(settings: CatalogSettings) -> Askers:
    place = settings.stop_file

    def stopped() -> bool:
        try:
            return place is not None and bool(FileSystems.exists(place))
        except Exception:  # this worker has seen no ban itself; a bucket that is away must not stop its answers
            _LOG.warning("%s cannot be looked for", place, exc_info=True)
            return False

    def stop() -> None:
        try:
            if place is not None:
                with create_file(place) as file:
                    file.write(b"403\n")
        except Exception:  # this worker stops in any case
            _LOG.warning("%s cannot be written: other workers must find out by themselves", place, exc_info=True)

    return open_askers(settings, opener=open_file, count=_count, stopped_elsewhere=stopped, tell_others=stop)
