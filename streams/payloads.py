"""What hits carry, in each format: of the packet as it came, or of that part of it that is public."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import fastavro

from alerts.avro.lite import NoLiteForm, lite_packet
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import UndecodablePacket
from alerts.surveys import Survey
from alerts.surveys.public import is_public_packet


class NotPublic(ValueError):
    """What is public of a packet and cannot be told by itself: one sentence that says why."""


def whole_payload(packet: Packet, survey: Survey, form: str) -> bytes:
    """All of a packet, as ``lite`` or ``packet``."""
    if form == "lite":
        # Where a schema's stamps cannot be null the packet itself is what any reader of the survey's packets reads.
        with contextlib.suppress(NoLiteForm, UndecodablePacket):
            return lite_packet(packet, survey)
    return packet.as_sent()


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
