"""Messages onto a Pub/Sub topic at a given pace, no more of them on their way than memory holds. Without Beam."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from google.cloud import pubsub_v1  # type: ignore[attr-defined]

CADENCES = {"lsst": (10_000, 39.0)}
"""Bursts of a survey: so many messages every so many seconds. LSST: one visit (Rubin DMTN-093)."""
_MAX_IN_FLIGHT_BYTES = 64 * 2**20
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
    """The pace of ``--rate 256/s`` or ``--cadence lsst``; None is as fast as it goes. Raises ``PublishError``."""
    if rate and cadence:
        raise PublishError("give --rate or --cadence, not both")
    if cadence:
        if cadence not in CADENCES:
            raise PublishError(f"--cadence {cadence} is not known; known is {', '.join(CADENCES)}")
        return Pace(*CADENCES[cadence], in_bursts=True)
    if rate:
        number, _, unit = rate.partition("/")
        if unit != "s" or not number.replace(".", "", 1).isdigit() or float(number) <= 0:
            raise PublishError(f"--rate {rate} is not a number of messages a second, for example 256/s")
        return Pace(float(number), 1.0)
    return None


def publish(data: Iterable[bytes], topic: str, at: Pace | None = None, show: bool = False) -> tuple[int, int]:
    """Publish messages in parallel; gives how many were published and how many bytes. Raises the first failure's error."""
    settings = pubsub_v1.types.BatchSettings(max_messages=100, max_bytes=4 * 2**20, max_latency=0.05)
    control = pubsub_v1.types.PublishFlowControl(
        byte_limit=_MAX_IN_FLIGHT_BYTES,
        message_limit=10_000,
        limit_exceeded_behavior=pubsub_v1.types.LimitExceededBehavior.BLOCK,
    )
    client = pubsub_v1.PublisherClient(settings, pubsub_v1.types.PublisherOptions(flow_control=control))
    progress = _Progress(show)
    begin = time.monotonic()
    for number, message in enumerate(data):
        if at is not None:
            time.sleep(max(0.0, begin + at.due_secs(number) - time.monotonic()))
        future: Future[str] = client.publish(topic, message)
        progress.sent(future, len(message))
    return progress.finish()


class _Progress:
    """Counts what has arrived, and says so once a second."""

    def __init__(self, show: bool) -> None:
        self._show = show and sys.stderr.isatty()
        self._lock = threading.Condition()
        self._open: set[Future[str]] = set()
        self._messages = self._bytes = 0
        self._error: BaseException | None = None
        self._begin = self._shown_at = time.monotonic()

    def sent(self, future: Future[str], size: int) -> None:
        if self._error is not None:
            raise self._error
        with self._lock:
            self._open.add(future)
        future.add_done_callback(lambda done: self._arrived(done, size))

    def _arrived(self, future: Future[str], size: int) -> None:
        with self._lock:
            self._open.discard(future)
            self._lock.notify_all()
            self._error = self._error or future.exception()
            self._messages += 1
            self._bytes += size
            if self._show and time.monotonic() - self._shown_at > _SHOW_EVERY_SECS:
                self._shown_at = time.monotonic()
                rate = self._messages / (self._shown_at - self._begin)
                sys.stderr.write(f"\r{self._messages:,} messages, {self._bytes / 1e6:,.0f} MB, {rate:,.0f}/s   ")
                sys.stderr.flush()

    def finish(self) -> tuple[int, int]:
        # Not by the futures' results: those are there before this has been told of them, and the last would not be counted.
        with self._lock:
            self._lock.wait_for(lambda: not self._open)
        if self._show:
            sys.stderr.write("\r" + " " * 60 + "\r")
        if self._error is not None:
            raise self._error
        return self._messages, self._bytes
