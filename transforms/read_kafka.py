"""Messages of Kafka to packets: the ranges of offsets are dealt to workers, each of which reads its share by one consumer."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from alerts.avro.packets import CONTAINER_MAGIC, Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas, WriterSchema, writer_schema
from alerts.dead_letters import sent_attributes
from alerts.errors import DeadLetter, UnreadableInput
from streams.kafka_client import KafkaSettings
from streams.kafka_messages import KafkaMessage, LostRange, read_ranges
from streams.kafka_ranges import OffsetRange, Place, Plan
from transforms import metrics
from transforms.elements import PacketBatch, UnitLetter
from transforms.read import BATCH_BYTES, BATCH_PACKETS, DEAD_LETTERS, count_packets
from warehouses.units import Unit


def unit_of(plan: Plan) -> Unit:
    """What a round replaces: what was written of the same ranges before."""
    return Unit((plan.uri,))


@dataclass
class ReadKafka(beam.PTransform):
    """The messages of a plan to the outputs of ``ReadPackets``.

    A message is a container, a wire message, or a datum whose schema is its key or given; its contents tell.
    """

    settings: KafkaSettings
    plan: Plan
    schemas: str | None = None
    bare_schema: bytes | None = None
    """The text of the schema of messages without any framing."""
    gone: frozenset[Place] = frozenset()
    """Topics and partitions of the plan that are no longer there."""
    workers: int = 1
    """How many read at the same time: a consumer takes a tenth of a second to begin, whatever it reads."""

    def expand(self, begin: beam.Pipeline) -> beam.pvalue.DoOutputsTuple:
        """From the pipeline's beginning to the outputs ``packets`` and ``dead_letters``."""
        dealt = [self.plan.ranges[number :: self.workers] for number in range(self.workers)]
        shares = begin | "Ranges" >> beam.Create([part for part in dealt if part], reshuffle=self.workers > 1)
        return shares | "Read" >> beam.ParDo(_Read(self)).with_outputs(DEAD_LETTERS, main="packets")


class _Read(beam.DoFn):
    def __init__(self, read: ReadKafka) -> None:
        self._settings, self._cluster_id, self._unit = read.settings, read.plan.cluster_id, unit_of(read.plan).key
        self._gone = read.gone
        self._wire_schemas = WireSchemas(read.schemas)
        self._bare = None if read.bare_schema is None else writer_schema(read.bare_schema)

    def process(self, share: tuple[OffsetRange, ...]) -> Iterator[PacketBatch | TaggedOutput]:
        packets: list[Packet] = []
        size_bytes = 0
        for found in self._found(share):
            for message in found:
                for item in open_message(message, self._cluster_id, self._wire_schemas, self._bare):
                    if isinstance(item, Packet):
                        packets.append(item)
                        size_bytes += item.stop - item.start
                    else:
                        metrics.RECORDS_READ.inc(1)
                        yield TaggedOutput(DEAD_LETTERS, UnitLetter(self._unit, item))
                    if len(packets) >= BATCH_PACKETS or size_bytes >= BATCH_BYTES:
                        yield self._batch(packets)
                        packets, size_bytes = [], 0
        if packets:
            yield self._batch(packets)

    def _found(self, share: tuple[OffsetRange, ...]) -> Iterator[list[KafkaMessage | LostRange]]:
        lost: list[KafkaMessage | LostRange] = [LostRange(each) for each in share if each.place in self._gone]
        if lost:
            yield lost
        if left := tuple(each for each in share if each.place not in self._gone):
            yield from read_ranges(self._settings, left)

    def _batch(self, packets: list[Packet]) -> PacketBatch:
        count_packets(packets)
        return PacketBatch(self._unit, packets)


def open_message(
    message: KafkaMessage | LostRange, cluster_id: str, wire_schemas: WireSchemas, bare: WriterSchema | None = None
) -> Iterator[Packet | DeadLetter]:
    """The packets of a message; of what is no longer there, and of what has no value, a letter.

    ``bare`` is the schema of messages without any framing; a message whose key is a schema is of that one.
    """
    if isinstance(message, LostRange):
        yield _lost(message.range, cluster_id)
        return
    source = message.source(cluster_id)
    try:
        if _key_is_schema(message):
            bare = writer_schema(message.key or b"")
            # A dead letter has it in its packet; a key of 50 kB each would be most of the table.
            message = dataclasses.replace(message, key=None)
    except UnreadableInput as error:
        yield DeadLetter.of("read", error, source, message.value, attributes=_attributes(message))
        return
    attributes = _attributes(message)
    if message.value is None:
        yield DeadLetter.of("read", UnreadableInput("the message has no value"), source, attributes=attributes)
        return
    yield from open_packets(message.value, source, wire_schemas, message.published_at, attributes, bare=bare)


def _key_is_schema(message: KafkaMessage) -> bool:
    """Whether the key is the Avro schema of the message, as Fink sends them."""
    if message.key is None or (message.value or b"").startswith(CONTAINER_MAGIC):
        return False
    return message.key.lstrip()[:1] == b"{" and b'"record"' in message.key and b'"fields"' in message.key


def _attributes(message: KafkaMessage) -> dict[str, str | int]:
    attributes: dict[str, str | int] = dict(sent_attributes(message.attributes()))
    if message.published_at is not None:
        attributes["published_at"] = message.published_at.isoformat()
    return attributes


def _lost(here: OffsetRange, cluster_id: str) -> DeadLetter:
    last = here.end_offset - 1
    error = UnreadableInput(
        f"Kafka has deleted offsets {here.first_offset} to {last} of {here.topic}/{here.partition} before they were read; "
        "the topic keeps less than this stream was behind"
    )
    source = f"kafka://{cluster_id}/{here.topic}/{here.partition}/{here.first_offset}..{last}"
    return DeadLetter.of("read", error, source, attributes={"records_lost": len(here)})
