"""Pub/Sub as the source of a stream in rounds: a round holds its messages, which are acknowledged when its rows are durable."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ClassVar

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from google.auth.exceptions import GoogleAuthError

from pipelines.errors import OptionsError
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
    _round: Round | None = field(default=None)

    counted: ClassVar[str] = "messages"
    comes_again: ClassVar[bool] = True
    claims: ClassVar[frozenset[str]] = frozenset()
    """Several may read a subscription: Pub/Sub gives each a share."""

    @classmethod
    def from_options(cls, options: PipelineOptions) -> PubsubStream:
        """Check the options against Pub/Sub. Raises ``OptionsError`` and ``StreamProblem``."""
        broker, rounds = options.view_as(BrokerOptions), options.view_as(RoundsOptions)
        check_names(broker)
        for name in ("id_label", "timestamp_attribute"):
            if getattr(broker, name):
                raise OptionsError(f"--{name} is for Dataflow, which reads Pub/Sub in another way; leave it out")
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

    def next(self, place: Warehouse, most_bytes: float) -> Round | None:
        """What has come since, or what a round that failed had: its messages are held still."""
        del place
        if self._round is None:
            messages, behind = self.held.take(most_bytes)
            if messages:
                self._round = self._round_of(messages, behind)
        return self._round

    def _round_of(self, messages: Sequence[Any], behind: int) -> Round:
        """Held messages, as files of this machine."""
        digest = hashlib.sha256("\n".join(sorted(message.message_id for message in messages)).encode())
        unit = Unit((f"{self.name}/{digest.hexdigest()[:32]}",))
        dealt = [messages[number :: self.workers] for number in range(self.workers)]
        paths = [os.path.join(self.folder, str(number)) for number, share in enumerate(dealt) if share]
        for path, share in zip(paths, dealt, strict=False):
            write_spool(
                path, (SpooledMessage(each.message_id, each.data, each.publish_time, dict(each.attributes)) for each in share)
            )

        def done(size_bytes: int) -> None:
            self._round = None
            self.held.done(messages)
            for path in paths:
                os.unlink(path)

        return Round(ReadSpooled(tuple(paths), unit.key, self.schemas), (unit,), 0, len(messages), behind, done=done)
