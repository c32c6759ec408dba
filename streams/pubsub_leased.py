"""Messages of Pub/Sub that this process holds: their leases are kept until somebody says that they are done.

The client library pulls, extends leases and stops pulling where enough is held. A process that dies holds nothing: its messages
come again when their leases end, within half a minute.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any

import grpc
from google.api_core.exceptions import GoogleAPICallError, NotFound, PermissionDenied, RetryError
from google.auth.exceptions import GoogleAuthError
from google.cloud import pubsub_v1  # type: ignore[attr-defined]
from google.protobuf import duration_pb2
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from streams.errors import StreamAway, StreamProblem

if TYPE_CHECKING:
    from google.cloud.pubsub_v1.subscriber.message import Message  # type: ignore[import-untyped]

_LOG = logging.getLogger(__name__)
_ANSWER_SECS = 10.0
_LEASE_SECS = 86_400
"""A lease is kept so long at most: a round waits for a disk, or for a service, until somebody comes."""
_EXTENSION_SECS = 20
"""A lease is prolonged by so much at a time: so long after a process died its messages come again."""
_MOST_MESSAGES = 20_000
_LEAST_BYTES = 64 * 2**20
"""A service that may not have as much as one of its batches out sends nothing at all."""
_REMEMBERED = 200_000
"""Ids of messages that are done: one of them that comes again, since an acknowledgment was lost, is acknowledged again."""
_ACKNOWLEDGE_SECS = 60.0
_DAY_SECS = 86_400
_GIVEN_BACK_AT_ONCE = 1_000


class HeldMessages:
    """What a subscription gives, held until it is done."""

    def __init__(self, subscription: str, most_bytes: int) -> None:
        self.subscription = subscription
        self._client = _subscriber()
        self._flow = pubsub_v1.types.FlowControl(
            max_bytes=max(most_bytes, _LEAST_BYTES),
            max_messages=_MOST_MESSAGES,
            max_lease_duration=_LEASE_SECS,
            max_duration_per_lease_extension=_EXTENSION_SECS,
        )
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Message] = OrderedDict()
        self._taken: dict[str, Message] = {}
        self._done: OrderedDict[str, None] = OrderedDict()
        self._pull: Any = None
        self._changed_at = time.monotonic()

    def check(self) -> None:
        """Refuse a subscription that there is not. Raises ``StreamProblem``."""
        try:
            about = self._client.get_subscription(subscription=self.subscription, timeout=_ANSWER_SECS, retry=None)
        except NotFound as error:
            raise StreamProblem(f"there is no subscription {self.subscription}; make it, or look for a misspelling") from error
        except PermissionDenied:
            # Who may only pull may not ask. The pull will say it, if it may not either.
            pass
        except (GoogleAPICallError, RetryError) as error:
            raise StreamAway(f"Pub/Sub does not answer about {self.subscription}: {error}") from error
        else:
            if about.enable_message_ordering:
                # The next one of a key comes when the one before is acknowledged.
                _LOG.warning(
                    "%s orders messages: of each ordering key a round gets one; where messages have such keys, read them by a "
                    "subscription that does not",
                    self.subscription,
                )

    def begin(self) -> None:
        """Pull, from now on. Messages come on threads of the library."""
        self._changed_at = time.monotonic()
        self._pull = self._client.subscribe(self.subscription, self._came, self._flow, await_callbacks_on_shutdown=False)

    def _came(self, message: Message) -> None:
        with self._lock:
            self._changed_at = time.monotonic()
            if message.message_id in self._done:
                message.ack()
                return
            # One that comes again while it waits, or is in a round, since its lease was lost: the newer acknowledgment counts.
            kept = self._taken if message.message_id in self._taken else self._held
            before = kept.get(message.message_id)
            kept[message.message_id] = message
        if before is not None and before.ack_id != message.ack_id:
            # Else it would count among what the client may have out, until nothing more came.
            before.drop()

    def take(self, most_bytes: float) -> tuple[list[Message], int]:
        """Those that have come, of so many bytes at most but one at least, and how many are left.

        Raises ``StreamAway`` where the pull has ended, which begins again, and ``StreamProblem`` where it is refused.
        """
        self._check_pull()
        taken: list[Message] = []
        size_bytes = 0
        with self._lock:
            while self._held and (not taken or size_bytes < most_bytes):
                name, message = self._held.popitem(last=False)
                size_bytes += message.size
                taken.append(message)
                self._taken[name] = message
            return taken, len(self._held)

    def quiet_secs(self) -> float:
        """Seconds since the pull began, or since a message came."""
        with self._lock:
            return time.monotonic() - self._changed_at

    def _check_pull(self) -> None:
        if self._pull is None or not self._pull.done():
            return
        try:
            self._pull.result()
            why: BaseException | str = "it ended"
        except NotFound as error:
            raise StreamProblem(f"there is no subscription {self.subscription} any more") from error
        except Exception as error:  # whatever the client's threads raised
            why = error
        self.begin()
        raise StreamAway(f"the pull from {self.subscription} has ended and begins again: {why}")

    def done(self, messages: Iterable[Message]) -> None:
        """Their rows are durable: acknowledge them. What cannot be told comes again, and is a copy."""
        with self._lock:
            some = [self._taken.get(message.message_id, message) for message in messages]
        told: list[Future[Any]] = [message.ack_with_response() for message in some]
        deadline = time.monotonic() + _ACKNOWLEDGE_SECS
        failed: list[BaseException] = []
        for future in told:
            try:
                future.result(timeout=max(0.0, deadline - time.monotonic()))
            except (Exception, FutureTimeout) as error:  # what the client raises
                failed.append(error)
        with self._lock:
            for message in some:
                self._taken.pop(message.message_id, None)
                self._done[message.message_id] = None
            while len(self._done) > _REMEMBERED:
                self._done.popitem(last=False)
        if failed:
            _LOG.warning("%d messages could not be acknowledged, and come again: %r", len(failed), failed[0])

    def close(self) -> None:
        """Let others have what is held and not done, at once."""
        if self._pull is not None:
            # First: what is given back while it goes on comes back to us.
            self._pull.cancel()
            with contextlib.suppress(Exception):  # it has ended, whatever it says
                self._pull.result(timeout=_ANSWER_SECS)
        with self._lock:
            left = [message.ack_id for message in (*self._held.values(), *self._taken.values())]
        # What cannot be given back comes again when its lease is over.
        with contextlib.suppress(GoogleAPICallError, RetryError):
            for begin in range(0, len(left), _GIVEN_BACK_AT_ONCE):
                some = left[begin : begin + _GIVEN_BACK_AT_ONCE]
                self._client.modify_ack_deadline(
                    subscription=self.subscription, ack_ids=some, ack_deadline_seconds=0, timeout=_ANSWER_SECS
                )
        self._client.close()


def _subscriber() -> Any:
    """A client, which takes what a service sends at once.

    To an emulator the library opens a channel of gRPC's own limit of 4 MB, above which nothing comes, and nobody says so.
    """
    host = os.environ.get("PUBSUB_EMULATOR_HOST")
    if not host:
        return pubsub_v1.SubscriberClient()
    channel = grpc.insecure_channel(host, options=[("grpc.max_receive_message_length", -1)])
    return pubsub_v1.SubscriberClient(transport=SubscriberGrpcTransport(channel=channel))


@contextlib.contextmanager
def subscription_of(topic: str, name: str) -> Iterator[str]:
    """A subscription of a topic that is there as long as the body works; one that is left behind goes after a day.

    Raises ``StreamProblem``.
    """
    project = "/".join(topic.split("/")[:2])
    path = f"{project}/subscriptions/{name}"
    lasts = pubsub_v1.types.ExpirationPolicy(ttl=duration_pb2.Duration(seconds=_DAY_SECS))
    with pubsub_v1.SubscriberClient() as client:
        try:
            client.create_subscription(
                request={"name": path, "topic": topic, "expiration_policy": lasts, "ack_deadline_seconds": 60},
                timeout=_ANSWER_SECS,
            )
        except NotFound as error:
            raise StreamProblem(f"there is no topic {topic}; make it, or look for a misspelling") from error
        except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
            raise StreamProblem(f"no subscription can be made of {topic}: {error}") from error
        try:
            yield path
        finally:
            with contextlib.suppress(GoogleAPICallError, RetryError):
                client.delete_subscription(subscription=path, timeout=_ANSWER_SECS)
