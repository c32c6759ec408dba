"""Who listens to a stream: its messages, each once, and whether who sends there lives."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from streams.addresses import Address
from streams.errors import StreamAway, StreamProblem
from streams.listening import Heard, Received
from streams.manifest_topic import ManifestTopic
from streams.manifests import NoManifest
from streams.readers import Reader

_POLL_SECS = 1.0
_SILENT_SECS = 150.0
"""Heartbeats come once a minute: after so long without any message they are looked at, and again after as long."""
_LAG_SECS = 60.0


@dataclass
class StreamListener:
    """The messages of a stream, each once, as they come: to be gone over once. Also a context manager.

    Of Pub/Sub what was gone over is acknowledged; where it is left in the midst, what was read with the last one comes again.
    Going over it raises ``StreamProblem``.
    """

    address: Address
    reader: Reader
    quiet_secs: float | None = None
    """It ends when nothing has come for so long; None: never by itself."""
    stop_at: float | None = None
    """Or then, by the monotonic clock."""
    beside: ManifestTopic | None = None
    say: Callable[[str], None] = lambda text: None
    """What a person wants to know meanwhile: how far behind, whether a silent stream lives."""
    heard: Heard = field(default_factory=Heard)
    _done: bool = True
    _said_at: float = field(default_factory=time.monotonic)

    @property
    def behind(self) -> int | None:
        """Messages that are there and have not been read; None where nobody tells (Pub/Sub)."""
        return self.reader.behind()

    def __iter__(self) -> Iterator[Received]:
        self._tell_lag()
        came_at = time.monotonic()
        while self.stop_at is None or time.monotonic() < self.stop_at:
            # Before: whoever is interrupted while it reads has not gone over what it has got.
            self._done = False
            messages = self.reader.read(_POLL_SECS)
            yield from self.heard.take(messages)
            self._done = True
            now = time.monotonic()
            if messages:
                came_at = now
                if now - self._said_at >= _LAG_SECS:
                    self._tell_lag()
            elif self.quiet_secs is not None and now - came_at >= self.quiet_secs:
                return
            elif now - max(came_at, self._said_at) >= _SILENT_SECS:
                self._tell_silence(now - came_at)

    def _tell_lag(self) -> None:
        self._said_at = time.monotonic()
        # Nobody stops listening because this cannot be told now.
        with contextlib.suppress(StreamAway):
            if behind := self.behind:
                self.say(f"{behind:,} messages of {self.address} are to be read")

    def _tell_silence(self, secs: float) -> None:
        """Whether who sends there lives."""
        self._said_at = time.monotonic()
        if self.beside is None:
            return
        told = f"{self.address}: nothing has come for {secs / 60:.0f} min"
        try:
            while self.beside.read(_POLL_SECS):
                pass
        except (StreamProblem, NoManifest) as error:
            self.say(f"{told}, and whether its sender lives cannot be read: {error}")
            return
        beat = self.beside.beat
        if beat is None:
            self.say(f"{told}, nor any heartbeat since this listens: perhaps nobody sends there now")
            return
        age = (datetime.now(UTC) - beat.at).total_seconds()
        if age > _SILENT_SECS:
            self.say(f"{told}, and the last heartbeat is {age / 60:.0f} min old: its sender is away, or waits")
        else:
            self.say(f"{told}; its sender lives, and had sent all there was {age:.0f} s ago")

    def close(self) -> None:
        """Let go of the place."""
        self.reader.close(done=self._done)
        if self.beside is not None:
            self.beside.close(done=self._done)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
