"""What hits carry, in each format: of the packet as it came, or of that part of it that is public."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import fastavro

from alerts.avro.lite import lite_packet
from alerts.avro.lite_batches import lite_packets
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import NoPacket
from alerts.surveys import Survey
from alerts.surveys.public import is_public_packet


class NotPublic(ValueError):
    """What is public of a packet and cannot be told by itself: one sentence that says why."""


class LitePayloads:
    """Packets of rows as ``lite``, cut together when the first is asked for: each once, however many places it goes to."""

    def __init__(self, packet_of: Callable[[int], Packet], survey: Survey, rows: Iterable[int]) -> None:
        """``packet_of``: of a row's number, raises ``NoPacket``. ``rows``: all that may be asked for."""
        self._packet_of, self._survey, self._rows = packet_of, survey, sorted(set(rows))
        self._made: dict[int, bytes | NoPacket] | None = None

    def of(self, number: int) -> bytes:
        """That of a row. Raises ``NoPacket``."""
        if self._made is None:
            self._made = self._cut()
        found = self._made[number]
        if isinstance(found, NoPacket):
            raise found
        return found

    def _cut(self) -> dict[int, bytes | NoPacket]:
        made, packets = dict[int, bytes | NoPacket](), dict[int, Packet]()
        for number in self._rows:
            try:
                packets[number] = self._packet_of(number)
            except NoPacket as error:
                made[number] = error
        for (number, packet), cut in zip(packets.items(), lite_packets([*packets.values()], self._survey), strict=True):
            # Where a schema's stamps cannot be null the packet itself is what any reader of the survey's packets reads.
            made[number] = cut.as_py() if cut.is_valid else packet.as_sent()
        return made


def public_lite(packet: Packet, survey: Survey, kept: Mapping[str, Sequence[bool]]) -> bytes:
    """What is public of a packet, as ``lite``; ``kept``: by its fields, which items of arrays are. Raises ``NotPublic``."""
    try:
        cut = lite_packet(packet, survey, kept)
        # Read again, however it was cut: what is in a public place stays there.
        is_public = all(is_public_packet(record, survey) for record in _records(cut))
    except Exception as error:  # whatever it is, it keeps this one back and no other
        raise NotPublic(f"the items that are not public cannot be cut out of the packet: {error}") from error
    if not is_public:
        raise NotPublic("the items that are not public cannot be cut out of packets of this schema")
    return cut


def _records(container: bytes) -> Iterator[Any]:
    """The records of a container; its schema is parsed once for all that have it."""
    for packet in open_packets(container, "", WireSchemas()):
        assert isinstance(packet, Packet)
        yield fastavro.schemaless_reader(io.BytesIO(packet.datum), packet.schema.parsed, None)
