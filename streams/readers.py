"""Who reads messages from outside: of a folder, a topic of Kafka or a subscription of Pub/Sub."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from streams.addresses import Address
from streams.errors import StreamProblem
from streams.messages import Message

EARLIEST, LATEST = "earliest", "latest"


class Reader(Protocol):
    """Reads messages from one place."""

    def read(self, secs: float) -> list[Message]:
        """Messages that have come, after so long at most. Raises ``StreamProblem``."""

    def behind(self) -> int | None:
        """Messages that are there and were not given yet; None where nobody tells. Raises ``StreamProblem``."""

    def close(self, *, done: bool = True) -> None:
        """Let go of the place. ``done``: whether all that it gave was dealt with; what was not comes again where that can be."""


def open_reader(address: Address, begin: str | datetime = EARLIEST) -> Reader:
    """Who reads an address: from its earliest message, from now on (``latest``), or from a time. Raises ``StreamProblem``."""
    if address.kind == "folder":
        from streams.read_folder import FolderReader  # noqa: PLC0415 - each brings what others do not need

        return FolderReader(address, begin)
    if address.kind == "kafka":
        from streams.read_kafka import KafkaReader  # noqa: PLC0415

        return KafkaReader(address, begin)
    if "/topics/" in address.name:
        raise StreamProblem(f"{address} is a topic; give a subscription of it: pubsub:projects/PROJECT/subscriptions/NAME")
    if begin != EARLIEST:
        raise StreamProblem(f"{address}: a subscription knows itself where it is; leave --from out, or seek it with gcloud")
    from streams.read_pubsub import PubsubReader  # noqa: PLC0415

    return PubsubReader(address)
