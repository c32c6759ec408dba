"""Who sends messages somewhere: what it promises, and how it keeps count of what is on its way."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from streams.addresses import Address
from streams.errors import StreamProblem
from streams.messages import Message

_MOST_BYTES, _MOST_MESSAGES = 64 * 2**20, 10_000
"""On their way at the same time."""


@dataclass(frozen=True)
class Undelivered:
    """A message that has not arrived, and why: ``StreamAway``, ``MessageRefused``, or what is wrong with the place."""

    message: Message
    why: StreamProblem


@dataclass(frozen=True)
class Flushed:
    """What has become of all that was sent, or not."""

    on_their_way: int
    undelivered: tuple[Undelivered, ...]
    """Each told once."""
    open_ids: frozenset[int] = frozenset()
    """``id()`` of those on their way."""


class Writer(Protocol):
    """Sends messages to one place. Also a context manager; what is still on its way when it closes is given up."""

    deliveries: Deliveries

    def check(self) -> None:
        """Refuse a place that there is not. Raises ``StreamProblem``, within ten seconds or so."""

    def room(self, secs: float) -> bool:
        """Wait until there is room for a message, so long at most; whether there is."""

    def send(self, message: Message) -> None:
        """Begin to send a message. What becomes of it, ``flush`` tells."""

    def flush(self, secs: float) -> Flushed:
        """Wait until all that was sent has arrived, or has not, so long at most."""

    def close(self) -> None:
        """Let go of the place."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Deliveries:
    """What a writer was given, and what has become of it; told by any thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.messages = self.size_bytes = 0
        """Of those that have arrived."""
        self._open, self._open_bytes = dict[int, tuple[Message, int]](), 0
        self._failed: list[Undelivered] = []

    def begun(self, message: Message) -> None:
        """It is on its way."""
        with self.changed:
            size_bytes = message.size_bytes
            # With the message, so that no other has its id meanwhile.
            self._open[id(message)] = message, size_bytes
            self._open_bytes += size_bytes

    def ended(self, message: Message, why_not: StreamProblem | None = None) -> None:
        """It has arrived, or it has not."""
        with self.changed:
            self._open_bytes -= self._open.pop(id(message))[1]
            if why_not is None:
                self.messages += 1
                self.size_bytes += len(message.value or b"")
            else:
                self._failed.append(Undelivered(message, why_not))
            self.changed.notify_all()

    @property
    def has_room(self) -> bool:
        """Whether another message may be begun."""
        return len(self._open) < _MOST_MESSAGES and self._open_bytes < _MOST_BYTES

    @property
    def on_their_way(self) -> int:
        """So many have been begun and not ended."""
        return len(self._open)

    @property
    def failed(self) -> bool:
        """Whether something has not arrived that was not told yet."""
        return bool(self._failed)

    def wait_for(self, sign: Callable[[], bool], secs: float) -> bool:
        """Wait for a sign, so long at most; whether it came."""
        with self.changed:
            return self.changed.wait_for(sign, secs)

    def flushed(self) -> Flushed:
        """What has become of everything; what failed is told once."""
        with self.changed:
            failed, self._failed = self._failed, []
            return Flushed(len(self._open), tuple(failed), frozenset(self._open))


def open_writer(address: Address) -> Writer:
    """Who writes to an address; it has not been asked yet whether that is there. Raises ``StreamProblem``."""
    # Here, not at the top: each brings a client of its own, which others do not need.
    if address.kind == "kafka":
        from streams.write_kafka import KafkaWriter  # noqa: PLC0415

        return KafkaWriter(address.servers, address.name, address.config)
    if address.kind == "folder":
        from streams.write_folder import FolderWriter  # noqa: PLC0415

        return FolderWriter(address.name)
    if "/subscriptions/" in address.name:
        raise StreamProblem(f"{address} is a subscription, which is read; give a topic: pubsub:projects/PROJECT/topics/NAME")
    from streams.write_pubsub import PubsubWriter  # noqa: PLC0415

    return PubsubWriter(address.name, ordered=address.ordered)
