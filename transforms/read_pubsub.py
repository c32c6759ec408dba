"""Pub/Sub messages to packets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from alerts.avro.inputs import in_batches
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.dead_letters import sent_attributes
from alerts.errors import DeadLetter
from streams.relayed import received
from streams.spool import SpooledMessage, read_spool
from transforms import metrics, read_kafka
from transforms.elements import PacketBatch, UnitLetter
from transforms.read import BATCH_BYTES, BATCH_PACKETS, DEAD_LETTERS, count_packets
from warehouses.units import STREAM


@dataclass
class ReadMessages(beam.PTransform):
    """Messages of a subscription, or of a topic by a subscription made for the run, to the outputs of ``ReadPackets``.

    A message is a container or a wire message; its contents tell. ``id_label`` only where the runner knows it.
    """

    subscription: str | None
    topic: str | None
    id_label: str | None = None
    timestamp_attribute: str | None = None
    schemas: str | None = None

    def expand(self, begin: beam.Pipeline) -> beam.pvalue.DoOutputsTuple:
        """From the pipeline's beginning to the outputs ``packets`` and ``dead_letters``."""
        messages = begin | "Messages" >> beam.io.ReadFromPubSub(
            topic=self.topic,
            subscription=self.subscription,
            id_label=self.id_label,
            with_attributes=True,
            timestamp_attribute=self.timestamp_attribute,
        )
        return messages | "Open" >> beam.ParDo(_Open(self.schemas)).with_outputs(DEAD_LETTERS, main="packets")


@dataclass
class ReadSpooled(beam.PTransform):
    """Messages that somebody holds, in files of this machine, to the outputs of ``ReadPackets``."""

    paths: tuple[str, ...]
    unit: str
    schemas: str | None = None

    def expand(self, begin: beam.Pipeline) -> beam.pvalue.DoOutputsTuple:
        """From the pipeline's beginning to the outputs ``packets`` and ``dead_letters``."""
        files = begin | "Files" >> beam.Create(self.paths, reshuffle=len(self.paths) > 1)
        return files | "Read" >> beam.ParDo(_ReadFile(self.unit, self.schemas)).with_outputs(DEAD_LETTERS, main="packets")


class _ReadFile(beam.DoFn):
    def __init__(self, unit: str, schemas: str | None) -> None:
        self._unit, self._wire_schemas = unit, WireSchemas(schemas)

    def process(self, path: str) -> Iterator[PacketBatch | TaggedOutput]:
        letters: list[DeadLetter] = []
        for packets in in_batches(self._packets(path, letters), BATCH_PACKETS, BATCH_BYTES):
            count_packets(packets)
            yield PacketBatch(self._unit, packets)
            yield from self._told(letters)
        yield from self._told(letters)

    def _packets(self, path: str, letters: list[DeadLetter]) -> Iterator[Packet]:
        for message in read_spool(path):
            for item in open_message(message, self._wire_schemas):
                if isinstance(item, Packet):
                    yield item
                else:
                    letters.append(item)

    def _told(self, letters: list[DeadLetter]) -> Iterator[TaggedOutput]:
        metrics.RECORDS_READ.inc(len(letters))
        yield from (TaggedOutput(DEAD_LETTERS, UnitLetter(self._unit, letter)) for letter in letters)
        letters.clear()


class _Open(beam.DoFn):
    """Batches what a bundle holds; a batch never waits for the next bundle."""

    def __init__(self, schemas: str | None) -> None:
        self._wire_schemas = WireSchemas(schemas)

    def start_bundle(self) -> None:
        self._packets: list[Packet] = []
        self._bytes = 0

    def process(
        self, message: PubsubMessage, timestamp: Timestamp = beam.DoFn.TimestampParam
    ) -> Iterator[PacketBatch | TaggedOutput]:
        self._timestamp = timestamp
        for item in open_message(message, self._wire_schemas):
            if isinstance(item, Packet):
                self._packets.append(item)
                self._bytes += item.stop - item.start
            else:
                metrics.RECORDS_READ.inc(1)
                yield TaggedOutput(DEAD_LETTERS, UnitLetter(STREAM, item))
        if len(self._packets) >= BATCH_PACKETS or self._bytes >= BATCH_BYTES:
            yield self._take()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        if self._packets:
            yield WindowedValue(self._take(), self._timestamp, [GlobalWindow()])

    def _take(self) -> PacketBatch:
        count_packets(self._packets)
        batch = PacketBatch(STREAM, self._packets)
        self._packets, self._bytes = [], 0
        return batch


def open_message(message: PubsubMessage | SpooledMessage, wire_schemas: WireSchemas) -> Iterator[Any]:
    """The packets of a message (``Packet`` or ``DeadLetter``): source is its id, ``published_at`` its publish time.

    A message that ``broker relay`` has sent on is the message of Kafka that it was, with its key, headers, time and source.
    """
    data, attributes = message.data or b"", message.attributes or {}
    if found := received(data, attributes):
        yield from read_kafka.open_message(found[1], found[0], wire_schemas)
        return
    yield from open_packets(
        data,
        message.message_id or "",
        wire_schemas,
        published_at=message.publish_time,
        attributes={**sent_attributes(attributes), "published_at": message.publish_time.isoformat()},
    )
