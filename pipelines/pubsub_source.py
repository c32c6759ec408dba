"""Pub/Sub as the source of a stream in rounds: a round holds its messages, which are acknowledged when its rows are durable."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, ClassVar

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from google.auth.exceptions import GoogleAuthError

from pipelines.options import BrokerOptions, RoundsOptions
from pipelines.round_source import Round
from pipelines.sources import check_names
from streams.errors import StreamProblem
from streams.pubsub_leased import HeldMessages, subscription_of
from streams.spool import SpooledMessage, write_spool
from transforms.read_pubsub import ReadSpooled
from warehouses.units import Unit
from warehouses.warehouse import Warehouse

_LOG = logging.getLogger(__name__)
_QUIET_SECS = 5.0
"""So long nothing comes from a subscription that is read to its end: it gives what it has within a second or two."""


@dataclass
class PubsubStream:
    """A subscription's messages. Also a context manager."""

    held: HeldMessages
    folder: str
    """Of this machine, for the messages of a round, which workers read there."""
    resources: contextlib.ExitStack
    schemas: str | None = None
    workers: int = 1
    _planned: list[Any] = field(default_factory=list)
    """Messages of a round that is not done, .."""
    _paths: tuple[str, ...] = ()
    """.. where they are, .."""
    _behind: int = 0
    """.. and how many were held besides."""

    counted: ClassVar[str] = "messages"
    comes_again: ClassVar[bool] = True
    claims: ClassVar[frozenset[str]] = frozenset()
    """Several may read a subscription: Pub/Sub gives each a share."""

    @classmethod
    def from_options(cls, options: PipelineOptions) -> PubsubStream:
        """Check the options against Pub/Sub. Raises ``OptionsError`` and ``StreamProblem``."""
        broker, rounds = options.view_as(BrokerOptions), options.view_as(RoundsOptions)
        check_names(broker)
        with contextlib.ExitStack() as resources:
            try:
                subscription = broker.subscription or resources.enter_context(
                    subscription_of(broker.topic, f"broker-{uuid.uuid4().hex[:12]}")
                )
                held = HeldMessages(subscription, int(rounds.round_mb * 1e6))
            except GoogleAuthError as error:
                raise StreamProblem(f"nobody is named who may read Pub/Sub: {error}") from error
            resources.callback(held.close)
            held.check()
            folder = tempfile.mkdtemp(prefix="broker-messages-")
            resources.callback(shutil.rmtree, folder, ignore_errors=True)
            workers = options.view_as(DirectOptions).direct_num_workers or 1
            return cls(held, folder, resources.pop_all(), broker.schemas, workers)

    @property
    def name(self) -> str:
        """The subscription."""
        return f"pubsub://{self.held.subscription}"

    @property
    def flag(self) -> str:
        """As it was given."""
        return f"--subscription {self.held.subscription}"

    @property
    def waits(self) -> bool:
        """Whether what is there may not have come yet."""
        return self.held.quiet_secs() < _QUIET_SECS

    def __enter__(self) -> PubsubStream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.resources.close()

    def begin(self, place: Warehouse) -> None:
        """Begin to pull; the subscription, not the warehouse, knows where to go on."""
        del place
        self.held.begin()
        print(f"subscription {self.held.subscription} is read", flush=True)

    def unrecorded(self, place: Warehouse) -> Mapping[str, datetime]:
        """See ``RoundSource``."""
        del place
        return {}

    def next(self, place: Warehouse, most_bytes: float) -> Round | None:
        """What has come since, or what a round that failed had: its messages are held still."""
        del place
        if not self._planned:
            self._planned, self._behind = self.held.take(most_bytes)
        if not self._planned:
            return None
        if not self._paths:
            # Where the disk was full, too, they must be there before anything is read.
            self._paths = self._spooled(self._planned)
        digest = hashlib.sha256("\n".join(sorted(message.message_id for message in self._planned)).encode())
        # In the order of time, so that a warehouse need not look through the names of years for a new one.
        newest = max(message.publish_time for message in self._planned)
        unit = Unit((f"{self.name}/{newest.isoformat()}-{digest.hexdigest()[:32]}",))
        read = ReadSpooled(self._paths, unit.key, self.schemas)
        return Round(read, (unit,), 0, len(self._planned), self._behind, done=self._is_done)

    def _spooled(self, messages: Sequence[Any]) -> tuple[str, ...]:
        """Held messages, as files of this machine, one for each worker."""
        dealt = [messages[number :: self.workers] for number in range(self.workers)]
        found = []
        for number, share in enumerate(dealt):
            if share:
                found.append(os.path.join(self.folder, str(number)))
                write_spool(
                    found[-1],
                    (SpooledMessage(each.message_id, each.data, each.publish_time, dict(each.attributes)) for each in share),
                )
        return tuple(found)

    def _is_done(self, size_bytes: int) -> None:
        del size_bytes
        self.held.done(self._planned)
        paths, self._planned, self._paths = self._paths, [], ()
        for path in paths:
            os.unlink(path)
