"""The truth from Pub/Sub: what is on a subscription now, pulled and given back.

No message is acknowledged. Each is held (600 s at most, renewed) until all have been seen, so that none comes twice, and is
then given back at once; whoever reads the subscription gets it as if nothing had been. When the audit is killed, Pub/Sub
itself gives the messages back 600 s later at the latest.
"""

from __future__ import annotations

import contextlib
import io
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError
from google.cloud import pubsub_v1  # type: ignore[attr-defined]

from alerts.avro.inputs import Item
from alerts.avro.wire_schemas import WireSchemas
from alerts.surveys import Survey
from audit.truth import AuditError, Scope, TruthBatch, parts_of
from streams.spool import SpooledMessage
from transforms.read_pubsub import open_message

_NAME = re.compile(r"projects/[^/]+/subscriptions/[^/]+")
_HOLD_SECS = 600
"""The longest that Pub/Sub lets a message be held without another word."""
_RENEW_SECS = 240
_PULL_BYTES = 3 * 2**20
"""What an answer should hold at most: gRPC takes 4 MB unless it is told otherwise, and Pub/Sub's client tells it not always."""
_PULL_MESSAGES = 1000
_FIRST_PULL_MESSAGES = 10
_PULL_SECS = 5.0
_PAUSE_SECS = 0.2
_REQUEST_IDS = 1000
"""A request of this many ack ids stays below Pub/Sub's 512 kB."""


class MessagesTruth:
    """The messages that a subscription holds when the audit begins, and those that come while it pulls."""

    knows_sources = knows_digests = knows_versions = comes_once = True

    def __init__(
        self, subscription: str, silence_secs: float = 10.0, schemas: str | None = None, survey: Survey | None = None
    ) -> None:
        if not _NAME.fullmatch(subscription):
            raise AuditError(f"--subscription {subscription} is not of the form projects/PROJECT/subscriptions/NAME")
        self.name = subscription
        self.scopes: Sequence[Scope] = ()
        self._silence_secs, self._survey, self._wire_schemas = silence_secs, survey, WireSchemas(schemas)

    def parts(self) -> Iterator[TruthBatch]:  # noqa: D102 - see Truth
        try:
            with pubsub_v1.SubscriberClient() as client, tempfile.TemporaryFile("w+") as file:
                self._check(client)
                held = _Held(client, self.name, file)
                with contextlib.closing(held):
                    yield from self._pull(client, held)
        except GoogleAPICallError as error:
            raise AuditError(f"--subscription {self.name} cannot be read: {error.message}") from error

    def _check(self, client: Any) -> None:
        """Refuse what cannot be looked at without a trace."""
        settings = client.get_subscription(subscription=self.name)
        why = None
        if settings.dead_letter_policy.dead_letter_topic:
            why = "has a dead-letter policy, by which every look at a message counts as a failed delivery"
        elif settings.enable_message_ordering:
            why = "keeps messages in order, so that they do not come before those before them are acknowledged"
        elif settings.push_config.push_endpoint or settings.bigquery_config.table or settings.cloud_storage_config.bucket:
            why = "pushes its messages and cannot be pulled from"
        if why:
            raise AuditError(f"--subscription {self.name} {why}; give the audit a plain subscription of its own to the topic")

    def _pull(self, client: Any, held: _Held) -> Iterator[TruthBatch]:
        heard_at = time.monotonic()
        wanted, largest = _FIRST_PULL_MESSAGES, 1
        while time.monotonic() - heard_at < self._silence_secs:
            messages = _pulled(client, self.name, wanted, min(_PULL_SECS, self._silence_secs))
            if messages:
                largest = max(largest, *(len(message.message.data) for message in messages))
                wanted = min(max(_PULL_BYTES // largest, 1), _PULL_MESSAGES)
                held.hold([message.ack_id for message in messages])
                yield from parts_of(self._items(messages), 0, self._survey)
                heard_at = time.monotonic()
            else:
                time.sleep(_PAUSE_SECS)
            held.renew()

    def _items(self, messages: Sequence[Any]) -> Iterator[Item]:
        for message in messages:
            sent = message.message
            # As a stream reads it: what was sent on from Kafka has another name than its message here.
            held = SpooledMessage(sent.message_id, sent.data, sent.publish_time, dict(sent.attributes))
            yield from open_message(held, self._wire_schemas)


def _pulled(client: Any, subscription: str, most: int, wait_secs: float) -> list[Any]:
    try:
        answer = client.pull(subscription=subscription, max_messages=most, timeout=wait_secs, retry=None)
    except DeadlineExceeded:
        return []
    return list(answer.received_messages)


class _Held:
    """Messages held by their ack ids, which are kept in a file: those of a night take as much memory as its rows."""

    def __init__(self, client: Any, subscription: str, file: IO[str]) -> None:
        self._client, self._subscription, self._file = client, subscription, file
        self._renewed_at = time.monotonic()

    def hold(self, ack_ids: Sequence[str]) -> None:
        """Keep Pub/Sub from sending these again."""
        self._file.seek(0, io.SEEK_END)
        self._file.writelines(f"{ack_id}\n" for ack_id in ack_ids)
        self._set(ack_ids, _HOLD_SECS)

    def renew(self) -> None:
        """Hold all of them for longer, where it is time."""
        if time.monotonic() - self._renewed_at > _RENEW_SECS:
            self._renewed_at = time.monotonic()
            self._set_all(_HOLD_SECS)

    def close(self) -> None:
        """Give all of them back."""
        self._set_all(0)

    def _set_all(self, seconds: int) -> None:
        self._file.seek(0)
        batch: list[str] = []
        for line in self._file:
            batch.append(line.rstrip("\n"))
            if len(batch) == _REQUEST_IDS:
                self._set(batch, seconds)
                batch = []
        if batch:
            self._set(batch, seconds)

    def _set(self, ack_ids: Sequence[str], seconds: int) -> None:
        self._client.modify_ack_deadline(subscription=self._subscription, ack_ids=list(ack_ids), ack_deadline_seconds=seconds)
