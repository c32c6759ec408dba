"""Topics that hits go to: made when a run begins, so that a reader can wait there before the first hit."""

from __future__ import annotations

import time

from streams.addresses import Address
from streams.errors import StreamAway, StreamProblem
from streams.writers import open_writer

_ANSWER_SECS = 15.0


def make_topic(address: Address) -> None:
    """Make a topic where there is none, and see that messages can go there. Raises ``StreamProblem``."""
    if address.kind == "kafka":
        _make_in_kafka(address)
    elif address.kind == "pubsub":
        _make_in_pubsub(address)
    with open_writer(address) as writer:
        writer.check()


def _make_in_kafka(address: Address) -> None:
    from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - brings a client that others do not need
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415

    from streams.kafka_client import MAX_MESSAGE_BYTES, KafkaSettings, may_pass, metadata, new_admin  # noqa: PLC0415

    admin = new_admin(KafkaSettings(address.servers, "", address.config))
    if address.name in metadata(admin, address.servers).topics:
        return
    topic = NewTopic(address.name, num_partitions=-1, replication_factor=-1, config={"max.message.bytes": str(MAX_MESSAGE_BYTES)})
    try:
        admin.create_topics([topic], request_timeout=_ANSWER_SECS)[address.name].result(_ANSWER_SECS)
    except KafkaException as error:
        why = error.args[0]
        if why.code() != KafkaError.TOPIC_ALREADY_EXISTS:
            kind = StreamAway if may_pass(why) else StreamProblem
            raise kind(f"{address} is not there and cannot be made: {why.str()}") from error
    except TimeoutError as error:
        raise StreamAway(f"{address} is not there, and Kafka does not make it within {_ANSWER_SECS:g} s") from error
    # Who has made it knows it before all others do.
    deadline = time.monotonic() + _ANSWER_SECS
    while address.name not in metadata(admin, address.servers).topics and time.monotonic() < deadline:
        time.sleep(0.1)


def _make_in_pubsub(address: Address) -> None:
    from google.api_core.exceptions import (  # noqa: PLC0415 - as above
        AlreadyExists,
        GoogleAPICallError,
        PermissionDenied,
        RetryError,
        ServerError,
        TooManyRequests,
    )
    from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415
    from google.cloud import pubsub_v1  # type: ignore[attr-defined]  # noqa: PLC0415

    try:
        with pubsub_v1.PublisherClient() as client:
            client.create_topic(name=address.name, timeout=_ANSWER_SECS, retry=None)
    except (AlreadyExists, PermissionDenied):
        # Who may only publish may not make any: whether it is there is asked next.
        return
    except (ServerError, TooManyRequests, RetryError, TransportError) as error:
        raise StreamAway(f"Pub/Sub does not answer for {address}: {error}") from error
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise StreamProblem(f"{address} cannot be made: {error}") from error
