"""What a reader gets of a subscription."""

from __future__ import annotations

import time
from collections.abc import Callable

from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1
from google.pubsub_v1.types import PubsubMessage


def pulled(subscription: str, enough: Callable[[list[PubsubMessage]], bool], secs: float = 60) -> list[PubsubMessage]:
    """Messages as they come, acknowledged, until there are enough."""
    found: list[PubsubMessage] = []
    deadline = time.monotonic() + secs
    with pubsub_v1.SubscriberClient() as client:
        while not enough(found) and time.monotonic() < deadline:
            try:
                got = client.pull(subscription=subscription, max_messages=40, timeout=5, retry=None).received_messages
            except DeadlineExceeded:
                continue
            found += [some.message for some in got]
            if got:
                client.acknowledge(subscription=subscription, ack_ids=[some.ack_id for some in got])
    return found
