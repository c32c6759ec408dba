"""Messages to a topic or a folder at a given pace, no more of them on their way than memory holds. Without Beam."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from streams.errors import StreamAway
from streams.messages import Message
from streams.writers import Deliveries, Writer

CADENCES = {"lsst": (10_000, 39.0)}
"""Bursts of a survey: so many messages every so many seconds. LSST: one visit (Rubin DMTN-093)."""
_GIVEN_UP_SECS = 90.0
"""Longer than any writer tries."""
_SHOW_EVERY_SECS = 1.0


class PublishError(ValueError):
    """The options are wrong; the message says which, in one sentence."""


@dataclass(frozen=True)
class Pace:
    """``count`` messages every ``seconds``; evenly, or each burst at once."""

    count: float
    seconds: float
    in_bursts: bool = False

    def due_secs(self, number: int) -> float:
        """When message ``number`` (from 0) is due, seconds after the first."""
        bursts = number // self.count if self.in_bursts else number / self.count
        return bursts * self.seconds


def pace(rate: str | None, cadence: str | None) -> Pace | None:
    """The pace of ``--rate 256/s``, ``--cadence lsst`` or ``--cadence 100/5s``; None is as fast as it goes.

    Raises ``PublishError``.
    """
    if rate and cadence:
        raise PublishError("give --rate or --cadence, not both")
    if cadence:
        if cadence in CADENCES:
            return Pace(*CADENCES[cadence], in_bursts=True)
        if not (burst := re.fullmatch(r"([1-9]\d{0,8})/(\d{1,6}(?:\.\d+)?)s", cadence)):
            known = ", ".join(CADENCES)
            raise PublishError(f"--cadence {cadence} is not known; known is {known}, or bursts such as 100/5s: 100 every 5 s")
        return Pace(int(burst[1]), float(burst[2]), in_bursts=True)
    if rate:
        number, _, unit = rate.partition("/")
        if unit != "s" or not number.replace(".", "", 1).isdigit() or float(number) <= 0:
            raise PublishError(f"--rate {rate} is not a number of messages a second, for example 256/s")
        return Pace(float(number), 1.0)
    return None


def publish(data: Iterable[bytes], writer: Writer, at: Pace | None = None, show: bool = False) -> tuple[int, int]:
    """Publish messages in parallel; gives how many were published and how many bytes. Raises the first failure's problem."""
    progress = _Progress(writer.deliveries, show and sys.stderr.isatty())
    begin = time.monotonic()
    for number, value in enumerate(data):
        if at is not None:
            time.sleep(max(0.0, begin + at.due_secs(number) - time.monotonic()))
        if writer.deliveries.failed or not writer.room(_GIVEN_UP_SECS):
            break
        writer.send(Message(value))
        progress.tell()
    flushed = writer.flush(_GIVEN_UP_SECS)
    progress.end()
    for failure in flushed.undelivered:
        raise failure.why
    if flushed.on_their_way:
        raise StreamAway(f"{flushed.on_their_way:,} messages have not arrived after {_GIVEN_UP_SECS:g} s")
    return writer.deliveries.messages, writer.deliveries.size_bytes


@dataclass
class _Progress:
    """Says once a second what has arrived."""

    deliveries: Deliveries
    show: bool
    began: float = field(default_factory=time.monotonic)
    shown_at: float = field(default_factory=time.monotonic)

    def tell(self) -> None:
        now = time.monotonic()
        if self.show and now - self.shown_at > _SHOW_EVERY_SECS:
            self.shown_at = now
            messages, size_bytes = self.deliveries.messages, self.deliveries.size_bytes
            sys.stderr.write(f"\r{messages:,} messages, {size_bytes / 1e6:,.0f} MB, {messages / (now - self.began):,.0f}/s   ")
            sys.stderr.flush()

    def end(self) -> None:
        if self.show:
            sys.stderr.write("\r" + " " * 60 + "\r")
