"""Messages to Pub/Sub: key and headers as attributes, and a message that is refused keeps no other one back."""

from __future__ import annotations

import random

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud import pubsub_v1

from streams import write_pubsub
from streams.attributes import from_attributes
from streams.errors import MessageRefused, StreamAway, StreamProblem
from streams.messages import Message
from streams.write_pubsub import PubsubWriter
from tests.cloud.pulled import pulled
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud


def read(subscription: str, count: int) -> list[Message]:
    found = pulled(subscription, lambda found: len(found) >= count)
    return [from_attributes(message.data, message.attributes) for message in found]


def test_value_key_and_headers_arrive_and_what_is_refused_keeps_nothing_back(
    pubsub: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = Topic(pubsub.project)
    sent = [
        Message(b"Obj1", b"ZTF18", (("topic", b"1"), ("a", b"\xff"), ("none", None), ("googly", b"x"))),
        Message(None, b"\x80"),
        *(Message(f"{number}".encode()) for number in range(300)),
    ]
    refused = [
        Message(b"0" * 10_000_000),
        Message(b"x", None, (("large", random.Random(1).randbytes(100_000)),)),
        Message(b"poison"),
    ]

    class Strict(pubsub_v1.PublisherClient):
        """Refuses a whole request for one message in it, as Pub/Sub does."""

        def _gapic_publish(self, *args, **more):
            if any(message.data == b"poison" for message in more["messages"]):
                raise InvalidArgument("a message of the request is poison")
            return super()._gapic_publish(*args, **more)

    monkeypatch.setattr(pubsub_v1, "PublisherClient", Strict)
    with PubsubWriter(topic.name) as writer:
        writer.check()
        for message in [*sent[:10], *refused, *sent[10:]]:
            assert writer.room(10)
            writer.send(message)
        flushed = writer.flush(60)
    assert flushed.on_their_way == 0
    assert {id(failure.message) for failure in flushed.undelivered} == {id(message) for message in refused}
    assert all(isinstance(failure.why, MessageRefused) for failure in flushed.undelivered)
    assert writer.deliveries.messages == len(sent)
    found = read(topic.subscriptions[0], len(sent))
    assert sorted(found, key=repr) == sorted(sent, key=repr)


def test_a_topic_that_is_not_there_is_told(pubsub: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"projects/{pubsub.project}/topics/no-such-topic"
    with PubsubWriter(name) as writer:
        with pytest.raises(StreamProblem, match=f"there is no topic {name}"):
            writer.check()
        writer.send(Message(b"a"))
        (failure,) = writer.flush(30).undelivered
        assert "there is no topic" in str(failure.why)
        assert not isinstance(failure.why, StreamAway)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setattr(write_pubsub, "_TRIED_SECS", 1.0)
    with PubsubWriter(name) as writer:
        with pytest.raises(StreamAway, match="does not take messages"):
            writer.check()
        writer.send(Message(b"a"))
        (failure,) = writer.flush(30).undelivered
        assert isinstance(failure.why, StreamAway)
