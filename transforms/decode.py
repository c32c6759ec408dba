"""Packets to alerts, and what does not decode to dead letters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from alerts.avro.decode import Decoded, decode
from alerts.avro.envelope import digest_of
from alerts.avro.layout import EVERYTHING, Projection
from alerts.surveys import Survey
from transforms import (
    coders,  # noqa: F401 - those of the batches
    metrics,
)
from transforms.elements import AlertBatch, PacketBatch, UnitLetter
from transforms.notes import name_run
from transforms.progress import Progress
from transforms.read import DEAD_LETTERS


@dataclass
class DecodeAlerts(beam.PTransform):
    """``PacketBatch``es to the outputs ``alerts`` (``AlertBatch``, one survey each) and ``dead_letters``.

    The rows have the columns that are wanted; the rest of the packets is gone over, and as strictly.
    """

    run_id: str
    survey: Survey | None = None
    progress_folder: str | None = None
    want: Projection = EVERYTHING
    keep_packets: bool = False
    """Whether alerts have their packets with them, for who sends them on."""

    def expand(self, packets: beam.PCollection[PacketBatch]) -> beam.pvalue.DoOutputsTuple:
        """From batches of packets to the outputs ``alerts`` and ``dead_letters``."""
        # Whoever reads them has not told Beam what they are, by which it finds their coder.
        packets.element_type = PacketBatch
        decode = beam.ParDo(_Decode(self)).with_output_types(AlertBatch)
        return packets | "Decode" >> decode.with_outputs(DEAD_LETTERS, main="alerts")


class _Decode(beam.DoFn):
    def __init__(self, settings: DecodeAlerts) -> None:
        self._run_id, self._survey, self._want = settings.run_id, settings.survey, settings.want
        self._progress_folder, self._keep_packets = settings.progress_folder, settings.keep_packets

    def setup(self) -> None:
        name_run(self._run_id)
        self._progress = Progress(self._progress_folder)

    def process(self, batch: PacketBatch) -> Iterator[AlertBatch | TaggedOutput]:
        decoded = decode(batch.packets, survey=self._survey, run_id=self._run_id, want=self._want)
        _count(decoded)
        packets = {digest_of(packet): packet for packet in batch.packets} if self._keep_packets else None
        for survey, rows in decoded.rows.items():
            yield AlertBatch(batch.unit, survey, rows, packets=packets)
        for letter in decoded.failures:
            yield TaggedOutput(DEAD_LETTERS, UnitLetter(batch.unit, letter))
        self._progress.add(len(batch.packets))

    def teardown(self) -> None:
        self._progress.flush()


def _count(decoded: Decoded) -> None:
    for metric, counts in (
        (metrics.UNKNOWN_FIELD, decoded.unknown_fields),
        (metrics.OFF_THE_SKY, decoded.off_the_sky),
        (metrics.ONE_BY_ONE, decoded.one_by_one),
    ):
        for label, count in counts.items():
            metric.inc(count, label)
    for survey, rows in decoded.rows.items():
        metrics.ALERTS_DECODED.inc(rows.num_rows, survey)
        for extreme in pc.min_max(rows.column("night").cast(pa.int32())).as_py().values():
            metrics.NIGHTS.take(extreme, survey)
        metrics.OBSERVED_AGE_SECS.take(_oldest_secs(rows, "observed_at"), survey)
        metrics.PUBLISHED_AGE_SECS.take(_oldest_secs(rows, "published_at"), survey)


def _oldest_secs(rows: pa.RecordBatch, since: str) -> float | None:
    """Age of the oldest alert when it is ingested, from a column of times on; None where no alert has such a time."""
    oldest, ingested = (pc.min(rows.column(name)).cast(pa.int64()).as_py() for name in (since, "ingested_at"))
    return None if oldest is None else (ingested - oldest) / 1e6
