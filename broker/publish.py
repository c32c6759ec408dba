"""``broker publish``: packets of archives, or of a simulated night, onto a Pub/Sub topic at a given pace."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from google.cloud import pubsub_v1  # type: ignore[attr-defined]

from alerts.avro.inputs import Skipped
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.secrets import redact
from transforms.elements import ReadTask
from transforms.files import find_inputs
from transforms.read import plan_units, read_task

CADENCES = {"lsst": (10_000, 39.0)}
"""Bursts of a survey: so many messages every so many seconds. LSST: one visit (Rubin DMTN-093)."""
_MAX_IN_FLIGHT_BYTES = 64 * 2**20
_SHOW_EVERY_SECS = 1.0

_EXAMPLES = """examples:
  broker publish --input night/ --topic projects/PROJECT/topics/NAME --rate 256/s
  broker publish --input night/ --topic projects/PROJECT/topics/NAME --cadence lsst"""


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


def messages(inputs: Iterable[str], schemas: str | None = None) -> Iterator[bytes]:
    """What files hold, one message per packet, as it was sent; what cannot be read goes out as it is, too.

    Raises ``PublishError`` when an input matches no file.
    """
    found = [(uri, find_inputs(uri)) for uri in inputs]
    for uri, files in found:
        if not files:
            raise PublishError(f"--input {uri} matches no file")
    units, _ = plan_units(file for _, files in found for file in files)
    wire_schemas = WireSchemas(schemas)
    for unit in units:
        for item in read_task(ReadTask(unit), wire_schemas):
            if isinstance(item, Packet):
                yield item.as_sent()
            elif not isinstance(item, Skipped) and item.payload:
                yield item.payload


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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker publish``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("--input", action="append", required=True, metavar="URI", help="archives, files, folders or globs")
    parser.add_argument("--topic", required=True, metavar="NAME", help="projects/PROJECT/topics/NAME")
    parser.add_argument("--rate", metavar="N/s", help="so many messages a second, evenly (default: as fast as it goes)")
    parser.add_argument("--cadence", metavar="NAME", help="bursts as a survey sends them: lsst is 10,000 every 39 s")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="publish everything so many times (default 1)")


def main(arguments: argparse.Namespace) -> int:
    """Publish, and say how much; gives the exit status."""
    begin = time.monotonic()
    try:
        data = (message for _ in range(arguments.repeat) for message in messages(arguments.input))
        count, size = publish(data, arguments.topic, pace(arguments.rate, arguments.cadence), show=True)
    except PublishError as error:
        print(f"broker publish: {redact(str(error))}", file=sys.stderr)
        return 2
    except Exception as error:
        print(f"broker publish: {type(error).__name__}: {redact(str(error))}", file=sys.stderr)
        return 1
    seconds = time.monotonic() - begin
    print(
        f"published {count:,} messages ({size / 1e6:,.1f} MB) to {arguments.topic} in {seconds:.1f} s, {count / seconds:,.0f}/s"
    )
    return 0
