"""Messages of a subscription of Pub/Sub, pulled as they come."""

from __future__ import annotations

import contextlib
import time

from streams.addresses import Address
from streams.attributes import from_attributes
from streams.errors import StreamAway, StreamProblem
from streams.messages import Message

_ANSWER_SECS = 10.0
_AT_ONCE = 500
_AWAY_SECS = 60.0
"""So long a subscription may not answer before that is told: Google's services do so for a moment now and then."""


class PubsubReader:
    """Pulls, and acknowledges what it has given when it is asked for more."""

    def __init__(self, address: Address) -> None:
        from google.cloud import pubsub_v1  # type: ignore[attr-defined]  # noqa: PLC0415 - a client that others do not need

        self._address, self._client = address, pubsub_v1.SubscriberClient()
        self._given: list[str] = []
        self._answered_at = time.monotonic()

    def read(self, secs: float) -> list[Message]:  # noqa: D102 - see Reader
        from google.api_core.exceptions import DeadlineExceeded, GoogleAPICallError, NotFound  # noqa: PLC0415
        from google.api_core.retry import if_transient_error  # noqa: PLC0415

        try:
            self._acknowledge()
            with contextlib.suppress(DeadlineExceeded):
                pulled = self._client.pull(
                    subscription=self._address.name, max_messages=_AT_ONCE, timeout=max(1.0, secs), retry=None
                )
                self._given = [each.ack_id for each in pulled.received_messages]
                self._answered_at = time.monotonic()
                return [_of_pubsub(each.message.data, dict(each.message.attributes)) for each in pulled.received_messages]
            self._answered_at = time.monotonic()
        except NotFound as error:
            raise StreamProblem(f"there is no subscription {self._address.name}; make it, or look for a misspelling") from error
        except GoogleAPICallError as error:
            if not if_transient_error(error) or time.monotonic() - self._answered_at > _AWAY_SECS:
                raise StreamAway(f"{self._address}: {error}") from error
            time.sleep(min(1.0, secs))
        return []

    def _acknowledge(self) -> None:
        if self._given:
            self._client.acknowledge(subscription=self._address.name, ack_ids=self._given, timeout=_ANSWER_SECS)
            self._given = []

    def behind(self) -> None:  # noqa: D102 - see Reader; only Google's monitoring knows
        return None

    def close(self, *, done: bool = True) -> None:  # noqa: D102 - see Reader
        with contextlib.suppress(Exception):
            if done:
                self._acknowledge()
            elif self._given:
                self._client.modify_ack_deadline(
                    subscription=self._address.name, ack_ids=self._given, ack_deadline_seconds=0, timeout=_ANSWER_SECS
                )
        self._client.close()


def _of_pubsub(data: bytes, attributes: dict[str, str]) -> Message:
    """A message of Pub/Sub; of one whose attributes somebody else has made, these as they are."""
    try:
        return from_attributes(data, attributes)
    except ValueError:
        return Message(data, None, tuple((name, value.encode()) for name, value in attributes.items()))
