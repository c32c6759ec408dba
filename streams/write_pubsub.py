"""Messages to a topic of Pub/Sub: key and headers as attributes, several messages in a request."""

from __future__ import annotations

from concurrent.futures import Future
from types import TracebackType
from typing import Self

from google.api_core.exceptions import (
    GoogleAPICallError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    RetryError,
    Unauthenticated,
)
from google.api_core.retry import Retry, if_transient_error
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import pubsub_v1  # type: ignore[attr-defined]
from google.cloud.pubsub_v1.publisher.exceptions import MessageTooLargeError  # type: ignore[import-untyped]

from streams.attributes import to_attributes
from streams.errors import MessageRefused, NoTopic, StreamAway, StreamProblem
from streams.messages import Message
from streams.writers import Deliveries, Flushed

_ANSWER_SECS = 10.0
_TRIED_SECS = 30.0
_BATCH_MESSAGES, _BATCH_BYTES, _BATCH_SECS = 200, 4 * 2**20, 0.05


def publisher_of(*, ordered: bool) -> pubsub_v1.PublisherClient:
    """Google's client for what writers send. Raises ``DefaultCredentialsError``."""
    settings = pubsub_v1.types.BatchSettings(_BATCH_BYTES, _BATCH_SECS, _BATCH_MESSAGES)
    tried = Retry(predicate=if_transient_error, initial=0.2, maximum=5.0, multiplier=2.0, timeout=_TRIED_SECS)
    options = pubsub_v1.types.PublisherOptions(enable_message_ordering=ordered, retry=tried, timeout=_TRIED_SECS)
    return pubsub_v1.PublisherClient(settings, options)


class PubsubWriter:
    """Sends to one topic, ``projects/P/topics/T``. Raises ``StreamProblem`` where there are no credentials.

    ``ordered``: messages of one key stay in order, for subscriptions that ask for it. ``client``: of ``publisher_of``, by which
    others send to other topics; who has made it stops it.
    """

    def __init__(self, topic: str, *, ordered: bool = False, client: pubsub_v1.PublisherClient | None = None) -> None:
        self.deliveries = Deliveries()
        self._topic, self._ordered = topic, ordered
        self._suspects: list[Message] = []
        self._is_shared = client is not None
        try:
            self._client = client or publisher_of(ordered=ordered)
        except DefaultCredentialsError as error:
            raise StreamProblem(f"{topic}: {error}") from error

    def check(self) -> None:
        """Refuse a topic that there is not, and a Pub/Sub that does not answer. Raises ``StreamProblem``."""
        try:
            self._client.get_topic(topic=self._topic, timeout=_ANSWER_SECS, retry=None)
        except NotFound as error:
            raise _problem(self._topic, error) from error
        except PermissionDenied:
            # Who may only publish may not ask. Publishing will say it, if that is not allowed either.
            pass
        except (GoogleAPICallError, RetryError, GoogleAuthError) as error:
            raise _problem(self._topic, error) from error

    def room(self, secs: float) -> bool:
        """Wait until there is room for a message, so long at most; whether there is."""
        self._ask_one_by_one()
        return self.deliveries.wait_for(lambda: self.deliveries.has_room, secs)

    def send(self, message: Message) -> None:
        """Begin to send a message. What becomes of it, ``flush`` tells."""
        self.deliveries.begun(message)
        try:
            future = self._begin(message)
        except MessageRefused as error:
            self.deliveries.ended(message, error)
        else:
            future.add_done_callback(lambda done: self._told(message, done.exception()))

    def _begin(self, message: Message) -> Future[str]:
        attributes = to_attributes(message)
        try:
            key = message.key.decode() if self._ordered and message.key else ""
            future: Future[str] = self._client.publish(self._topic, message.value or b"", ordering_key=key, **attributes)
        except MessageTooLargeError as error:
            raise MessageRefused(f"it has {message.size_bytes:,} bytes, which is more than Pub/Sub takes (10 MB)") from error
        return future

    def _told(self, message: Message, error: BaseException | None) -> None:
        if error is not None and self._ordered and message.key:
            # After a failure the client takes none of this key until it is told to go on.
            self._client.resume_publish(self._topic, message.key.decode())
        if isinstance(error, InvalidArgument):
            # A request is refused whole for one message in it: each is asked about by itself.
            with self.deliveries.changed:
                self._suspects.append(message)
                self.deliveries.changed.notify_all()
            return
        self.deliveries.ended(message, None if error is None else _problem(self._topic, error))

    def _ask_one_by_one(self) -> None:
        """Send messages again whose request was refused, each in a request of its own."""
        while self._suspects:
            message = self._suspects.pop()
            try:
                self._begin(message).result(timeout=2 * _TRIED_SECS)
            except InvalidArgument as error:
                self.deliveries.ended(message, MessageRefused(f"Pub/Sub refuses it: {error.message}"))
            except (GoogleAPICallError, RetryError, GoogleAuthError, TimeoutError) as error:
                self.deliveries.ended(message, _problem(self._topic, error))
            else:
                self.deliveries.ended(message)

    def flush(self, secs: float) -> Flushed:
        """Wait until all that was sent has arrived, or has not, so long at most."""
        self.deliveries.wait_for(lambda: self.deliveries.on_their_way == len(self._suspects), secs)
        self._ask_one_by_one()
        return self.deliveries.flushed()

    def close(self) -> None:
        """Let go of the connection; what is still on its way is given up."""
        if not self._is_shared:
            self._client.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _problem(topic: str, error: BaseException) -> StreamProblem:
    """What a failure means: something passes, or somebody must do something."""
    if isinstance(error, NotFound):
        return NoTopic(f"there is no topic {topic}; make it, or look for a misspelling")
    if isinstance(error, PermissionDenied | Unauthenticated | GoogleAuthError):
        return StreamProblem(f"Pub/Sub does not let us publish to {topic}: {error}")
    return StreamAway(f"Pub/Sub does not take messages for {topic}: {error}")
