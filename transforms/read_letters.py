"""Dead letters back to packets, for a replay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from transforms import metrics
from transforms.elements import PacketBatch, UnitLetter
from transforms.read import DEAD_LETTERS, count_packets
from warehouses.units import STREAM


@dataclass(frozen=True)
class SavedLetter:
    """A row of ``dead_letters`` that has its payload."""

    letter: str
    """The id that it keeps when it fails again."""
    stage: str
    source: str
    payload: bytes
    attributes: Mapping[str, str | int] = field(default_factory=dict)
    failed_at: datetime | None = None

    @property
    def published_at(self) -> datetime | None:
        """When the message was published, if it was one."""
        sent = self.attributes.get("published_at")
        return datetime.fromisoformat(str(sent)) if sent else None


@dataclass
class ReadLetters(beam.PTransform):
    """Saved letters to the outputs of ``ReadPackets``."""

    letters: Sequence[SavedLetter]
    schemas: str | None = None
    unit: str = STREAM
    """The unit of what came from files, whether it passes or fails again: either goes when its file is ingested anew."""

    def expand(self, begin: beam.Pipeline) -> beam.pvalue.DoOutputsTuple:
        """From the pipeline's beginning to the outputs ``packets`` and ``dead_letters``."""
        letters = begin | "Letters" >> beam.Create(list(self.letters))
        return letters | "Open" >> beam.ParDo(_Open(self.schemas, self.unit)).with_outputs(DEAD_LETTERS, main="packets")


class _Open(beam.DoFn):
    def __init__(self, schemas: str | None, unit: str) -> None:
        self._wire_schemas, self._unit = WireSchemas(schemas), unit

    def process(self, saved: SavedLetter) -> Iterator[PacketBatch | TaggedOutput]:
        items = open_packets(
            saved.payload, saved.source, self._wire_schemas, published_at=saved.published_at, attributes=saved.attributes
        )
        unit = self._unit if saved.published_at is None else STREAM
        for item in items:
            if isinstance(item, Packet):
                count_packets([item])
                yield PacketBatch(unit, [item])
            else:
                metrics.RECORDS_READ.inc(1)
                yield TaggedOutput(DEAD_LETTERS, UnitLetter(unit, item))
