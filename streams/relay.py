"""From Kafka to somewhere else: bytes as they came, again and again what has come since.

A round reads ranges of offsets, sends their messages, and when all have arrived lets the group in Kafka know. One that dies
before that is done again: at least once, and copies carry the same name (``streams.relayed``).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from streams.errors import MessageRefused, StreamAway, StreamProblem, StreamStops
from streams.kafka_begin import begins_of
from streams.kafka_client import KafkaProblem, KafkaSettings
from streams.kafka_messages import LostRange, read_ranges
from streams.kafka_ranges import KafkaTopics, OffsetRange, Place, due_ranges, share
from streams.messages import Message
from streams.relayed import SOURCE, relayed
from streams.said import SAY_EVERY_SECS, Said
from streams.writers import Undelivered, Writer

_LOG = logging.getLogger(__name__)
_WAIT_SECS = (0.5, 10.0)
"""After what failed: at first, and at most."""
_FINISH_SECS = 5.0
"""A round that is not done so long after the relay was told to end is left for the next start."""
_ROUND_BYTES, _FIRST_MEAN_BYTES = 100e6, 100_000.0
_EVERY_SECS = 1.0
_QUIET_SECS = 30.0
_TELL_AGAIN_SECS = 86_400.0
"""Kafka forgets the offsets of a group without members after a week, unless it is told again."""


class _Ended(Exception):
    """The relay is told to end, and the round that runs takes too long."""


@dataclass
class Relay:
    """A group's reading of some topics, sent on. ``run`` may be called once."""

    settings: KafkaSettings
    topics: KafkaTopics
    start: str | int
    """Where the group begins if Kafka does not know it."""
    new_writer: Callable[[], Writer]
    ending: threading.Event = field(default_factory=threading.Event)
    """Set by who wants it to end."""
    once: bool = False
    refused: Writer | None = None
    """Takes the messages that the place they are sent to never will; without it they end the relay."""
    tell: Callable[[str], None] = print
    messages: int = field(default=0, init=False)
    size_bytes: int = field(default=0, init=False)
    _done: dict[Place, int] = field(default_factory=dict, init=False)
    _told: dict[Place, int] = field(default_factory=dict, init=False)
    _told_at: float = field(default=0.0, init=False)
    _ends_at: float | None = field(default=None, init=False)
    _mean_bytes: float = field(default=_FIRST_MEAN_BYTES, init=False)
    _said: Said = field(default_factory=lambda: Said(_LOG), init=False)
    _reported: tuple[float, int, int] = field(default=(0.0, 0, 0), init=False)

    def run(self) -> None:
        """Send on what there is until the relay is told to end. Raises ``StreamStops`` where going on would lose something."""
        self._writer = self.new_writer()
        self._reported = time.monotonic(), 0, 0
        try:
            self._until_it_works(self._begin)
            while not self.ending.is_set():
                began = time.monotonic()
                behind = self._until_it_works(self._round)
                self._report(behind)
                if not behind and self.once:
                    return
                if not behind:
                    self.ending.wait(max(0.0, _EVERY_SECS - (time.monotonic() - began)))
        except _Ended:
            pass
        finally:
            self._writer.close()

    def _report(self, behind: int) -> None:
        """Say once a minute what has been sent on."""
        at, messages, size_bytes = self._reported
        secs = time.monotonic() - at
        if secs >= SAY_EVERY_SECS:
            count, size_mb = self.messages - messages, (self.size_bytes - size_bytes) / 1e6
            self.tell(f"relayed {count:,} messages ({size_mb:,.1f} MB) in {secs:.0f} s, {behind:,} behind")
            self._reported = time.monotonic(), self.messages, self.size_bytes

    def _until_it_works(self, work: Callable[[], int]) -> int:
        wait = _WAIT_SECS[0]
        while not self.ending.is_set():
            try:
                return work()
            except StreamStops:
                raise
            except StreamProblem as error:
                # Also what somebody must mend, a right or a topic that was taken away: waiting loses nothing.
                self._said.say(f"waiting: {error}")
            self.ending.wait(wait)
            wait = min(2 * wait, _WAIT_SECS[1])
        raise _Ended

    def _begin(self) -> int:
        """Find out where to go on, and say it."""
        places = self.topics.places()
        self._done = self.topics.committed(places)
        group = f"group {self.settings.group}"
        if self._done:
            self._told = dict(self._done)
            self.tell(f"{group} goes on where Kafka has it, in {len(self._done)} of {len(places)} partitions")
            return 0
        self._done, _ = begins_of(self.topics, places, self.start)
        # Told at once: what appears before anything was read counts as later.
        self._tell(self._done)
        begin = "the earliest" if self.start in ("group", "earliest") else self.start
        self.tell(f"{group} is new to Kafka and begins at {begin}, in {len(places)} partitions")
        return 0

    def _round(self) -> int:
        """Send on what has come since; gives how many messages are there besides."""
        ends = self.topics.ends(self.topics.places())
        due = due_ranges(ends, self._done, self.settings.group)
        taken = share(due, max(1, round(_ROUND_BYTES / self._mean_bytes)))
        if not taken:
            self._tell_again(ends)
            return 0
        messages, size_bytes = self._send(taken)
        self._done.update({here.place: here.end_offset for here in taken})
        self._tell({here.place: here.end_offset for here in taken})
        self.messages += messages
        self.size_bytes += size_bytes
        if messages:
            self._mean_bytes = max(1.0, size_bytes / messages)
        return sum(map(len, due)) - sum(map(len, taken))

    def _send(self, ranges: Sequence[OffsetRange]) -> tuple[int, int]:
        """Send the messages of some ranges, until all have arrived; gives their number and bytes."""
        cluster_id = self.topics.cluster_id()
        messages = size_bytes = 0
        for found in read_ranges(self.settings, ranges, _QUIET_SECS):
            self._check_end()
            for read in found:
                if isinstance(read, LostRange):
                    _LOG.warning("%s; sent on as a message without a value", _lost(read.range))
                message = relayed(read, cluster_id)
                self._give(message)
                messages += 1
                size_bytes += message.size_bytes
        self._arrived()
        return messages, size_bytes

    def _give(self, message: Message) -> None:
        while self._writer.deliveries.failed or not self._writer.room(0.5):
            self._check_end()
            self._mend(self._writer.flush(0).undelivered)
        self._writer.send(message)

    def _arrived(self) -> None:
        while True:
            flushed = self._writer.flush(0.5)
            self._mend(flushed.undelivered)
            if not flushed.on_their_way and not flushed.undelivered:
                return
            self._check_end()

    def _mend(self, undelivered: Sequence[Undelivered]) -> None:
        """Send again what may arrive yet, put aside what never will."""
        again = []
        for failure in undelivered:
            if isinstance(failure.why, MessageRefused):
                self._put_aside(failure)
            else:
                self._said.say(f"waiting: {failure.why}")
                again.append(failure.message)
        if not again:
            return
        passes = all(isinstance(failure.why, StreamAway) for failure in undelivered)
        if self.ending.wait(_WAIT_SECS[0] if passes else _WAIT_SECS[1]):
            raise _Ended
        # A client may have given up for good.
        if not self._writer.deliveries.on_their_way:
            self._writer.close()
            self._writer = self.new_writer()
        for message in again:
            while not self._writer.room(0.5):
                self._check_end()
            self._writer.send(message)

    def _put_aside(self, failure: Undelivered) -> None:
        # The first: a message may have had such a header of its own.
        name = next((value or b"").decode() for header, value in failure.message.headers if header == SOURCE)
        if self.refused is None:
            raise StreamStops(f"{name} is not taken: {failure.why}; give --refused folder:PATH to keep such messages there")
        while True:
            self.refused.send(failure.message)
            problems = self.refused.flush(_FINISH_SECS).undelivered
            if not problems:
                _LOG.warning("%s is not taken: %s; it is kept where --refused says", name, failure.why)
                return
            self._said.say(f"waiting: {problems[0].why}")
            self._check_end()
            self.ending.wait(_WAIT_SECS[0])

    def _check_end(self) -> None:
        """End a round that takes too long once the relay is told to end. Raises ``_Ended``."""
        if not self.ending.is_set():
            return
        if self._ends_at is None:
            self._ends_at = time.monotonic() + _FINISH_SECS
        elif time.monotonic() > self._ends_at:
            raise _Ended

    def _tell(self, done: dict[Place, int]) -> None:
        """Let the group in Kafka know how far it is; where that fails, the messages are sent again after a restart."""
        try:
            known = self.topics.committed(list(done))
            others = {here: offset for here, offset in known.items() if offset != self._told.get(here, offset)}
            self.topics.tell(done)
        except KafkaProblem as error:
            self._said.say(f"the group's offsets in Kafka do not follow, so that a restart sends messages again: {error}")
            return
        if others:
            (topic, partition), offset = next(iter(others.items()))
            self._said.say(
                f"somebody else has set group {self.settings.group} to offset {offset} of {topic}/{partition}: where two relays "
                "read in one group, messages are sent twice"
            )
        self._told.update(done)
        self._told_at = time.monotonic()

    def _tell_again(self, there: Collection[Place]) -> None:
        """What was not told, and daily all, of topics that are there: of others Kafka knows nothing, and refuses to be told."""
        done = {here: offset for here, offset in self._done.items() if here in there}
        untold = any(self._told.get(here) != offset for here, offset in done.items())
        if done and (untold or time.monotonic() - self._told_at > _TELL_AGAIN_SECS):
            self._tell(done)


def _lost(here: OffsetRange) -> str:
    return (
        f"Kafka has deleted offsets {here.first_offset} to {here.end_offset - 1} of {here.topic}/{here.partition} "
        "before they were read"
    )
