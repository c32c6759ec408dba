"""Messages of Pub/Sub that are held: one that comes again, since its lease was lost, is the same one held still."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from google.cloud import pubsub_v1

from streams import pubsub_leased
from streams.pubsub_leased import HeldMessages
from tests.cloud.streams import Topic, everything_on
from tests.emulators.cloud import Cloud


def until(true: Callable[[], bool], secs: float = 20.0) -> bool:
    last = time.monotonic() + secs
    while not true() and time.monotonic() < last:
        time.sleep(0.05)
    return true()


def lose_leases(held: HeldMessages, kept: dict) -> bool:
    """What a network that was away does: the messages come again; gives whether they did."""
    before = {name: message.ack_id for name, message in kept.items()}
    held._client.modify_ack_deadline(subscription=held.subscription, ack_ids=list(before.values()), ack_deadline_seconds=0)
    return until(lambda: all(kept[name].ack_id != ack_id for name, ack_id in before.items()))


@pytest.mark.parametrize("in_a_round", [False, True])
def test_what_comes_again_while_it_is_held_takes_no_room_and_is_acknowledged(
    pubsub: Cloud, monkeypatch: pytest.MonkeyPatch, in_a_round: bool
) -> None:
    """The client gives no more than it may have out: what came again and again would fill that, and the stream stand still."""
    monkeypatch.setattr(pubsub_leased, "_MOST_MESSAGES", 4)
    topic = Topic(pubsub.project)
    topic.publish([b"first", b"second"])
    held = HeldMessages(topic.subscriptions[0], 10**6)
    held.begin()
    try:
        assert until(lambda: len(held._held) == 2)
        taken = held.take(1e6)[0] if in_a_round else []
        for _ in range(3):
            assert lose_leases(held, held._taken if in_a_round else held._held)
        topic.publish([b"third"])
        assert until(lambda: len(held._held) == (1 if in_a_round else 3))
        rest, left = held.take(1e6)
        assert (sorted(message.data for message in [*taken, *rest]), left) == ([b"first", b"second", b"third"], 0)
        held.done(taken)
        held.done(rest)
    finally:
        held.close()
    assert not everything_on(topic.subscriptions[0], 1, secs=2)


def test_a_subscription_that_orders_messages_is_warned_of(pubsub: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """Of a key the next message comes when the one before is acknowledged, at the end of a round."""
    topic = Topic(pubsub.project)
    ordered = f"{topic.subscriptions[0]}-ordered"
    with pubsub_v1.SubscriberClient() as client:
        of = client.get_subscription(subscription=topic.subscriptions[0]).topic
        client.create_subscription(request={"name": ordered, "topic": of, "enable_message_ordering": True})
    for subscription in (topic.subscriptions[0], ordered):
        held = HeldMessages(subscription, 10**6)
        held.check()
        held.close()
    assert [f"{ordered} orders messages" in record.getMessage() for record in caplog.records] == [True]
