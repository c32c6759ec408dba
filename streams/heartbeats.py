"""Heartbeats: who sends to a topic says once a minute that it lives, so that a silent stream is known from one that is broken.

They go where the topic's manifests go, past the outbox: one that is lost is not sent again. Each is one JSON object: ``kind``
(``heartbeat``), ``topic`` and ``at`` (UTC): what was open then has been sent.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from streams.addresses import Address
from streams.errors import StreamProblem
from streams.manifests import manifest_address
from streams.messages import HEARTBEAT, Message
from streams.open_writers import OpenWriters

EVERY_SECS = 60.0
_ANSWER_SECS = 5.0


@dataclass(frozen=True)
class Heartbeat:
    """A sign that who sends to a topic lives, and that nothing waits for it."""

    topic: str
    """Its address, as text."""
    at: datetime

    def message(self) -> Message:
        """As it is sent."""
        at = self.at.astimezone(UTC).isoformat(timespec="seconds")
        told = {"kind": HEARTBEAT, "topic": self.topic, "at": at}
        headers = {"kind": HEARTBEAT, "topic": self.topic}
        return Message(json.dumps(told).encode(), self.topic.encode(), tuple((k, v.encode()) for k, v in headers.items()))


def heartbeat_of(data: bytes) -> Heartbeat | None:
    """The heartbeat of a message; None for any other."""
    try:
        told: Any = json.loads(data)
        if isinstance(told, dict) and told.get("kind") == HEARTBEAT:
            return Heartbeat(str(told["topic"]), datetime.fromisoformat(told["at"]))
    except (ValueError, KeyError, TypeError):
        return None
    return None


def send_heartbeats(beats: Iterable[tuple[Address, Heartbeat]], writers: OpenWriters) -> None:
    """Send heartbeats of topics, by their addresses. One that does not arrive within seconds is given up: another comes."""
    begun = []
    for address, beat in beats:
        beside = manifest_address(address)
        with contextlib.suppress(StreamProblem):
            # Whoever has sent there has seen that it is there.
            if not writers.make([beside], lambda _: True):
                writers.at(beside).send(beat.message())
                begun.append(beside)
    deadline = time.monotonic() + _ANSWER_SECS
    for beside in begun:
        with contextlib.suppress(StreamProblem):
            flushed = writers.at(beside).flush(max(0.0, deadline - time.monotonic()))
            if not (flushed.on_their_way or flushed.undelivered):
                continue
        writers.give_up(beside)
