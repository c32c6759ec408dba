"""Topics that hits go to: made when a run begins, so that a reader can wait there before the first hit."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable

from streams.addresses import Address
from streams.errors import NoTopic, StreamAway, StreamProblem, TopicGone
from streams.writers import open_writer

_ANSWER_SECS = 15.0


def make_topic(address: Address) -> None:
    """Make a topic where there is none, and see that messages can go there. Raises ``StreamProblem``."""
    for problem in make_topics([address], lambda _: False).values():
        raise problem


def make_topics(addresses: Iterable[Address], was_sent_to: Callable[[Address], bool]) -> dict[str, StreamProblem]:
    """Make the topics that are not there, all of a cluster at once; gives what is wrong, by the texts of addresses.

    ``was_sent_to`` is asked about topics of Pub/Sub that are not there: one that was is gone, and is waited for. Made again it
    would have no subscriptions, and what goes there would reach nobody.
    """
    wrong: dict[str, StreamProblem] = {}
    of_kafka: dict[tuple[str, str | None], list[Address]] = {}
    for address in addresses:
        if address.kind == "kafka":
            of_kafka.setdefault((address.servers, address.config), []).append(address)
            continue
        try:
            with open_writer(address) as writer:
                try:
                    writer.check()
                except NoTopic as error:
                    if was_sent_to(address):
                        raise TopicGone(f"{address} is gone; make it again, and its subscriptions") from error
                    _make_in_pubsub(address)
                    writer.check()
        except StreamProblem as error:
            wrong[str(address)] = error
    for (servers, config), some in of_kafka.items():
        try:
            wrong |= _make_in_kafka(servers, config, some)
        except StreamProblem as error:
            wrong |= {str(address): error for address in some}
    return wrong


def _make_in_kafka(servers: str, config: str | None, addresses: Collection[Address]) -> dict[str, StreamProblem]:
    from confluent_kafka import KafkaError, KafkaException  # noqa: PLC0415 - brings a client that others do not need
    from confluent_kafka.cimpl import NewTopic  # noqa: PLC0415

    from streams.kafka_client import MAX_MESSAGE_BYTES, KafkaSettings, may_pass, metadata, new_admin  # noqa: PLC0415

    admin = new_admin(KafkaSettings(servers, "", config))
    there, wrong = metadata(admin, servers).topics, dict[str, StreamProblem]()
    missing = {address.name: address for address in addresses if address.name not in there}
    if not missing:
        return wrong
    settings = {"max.message.bytes": str(MAX_MESSAGE_BYTES)}
    topics = [NewTopic(name, num_partitions=-1, replication_factor=-1, config=settings) for name in missing]
    for name, made in admin.create_topics(topics, request_timeout=_ANSWER_SECS).items():
        address = missing[name]
        try:
            made.result(_ANSWER_SECS)
        except KafkaException as error:
            why = error.args[0]
            if why.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                kind = StreamAway if may_pass(why) else StreamProblem
                wrong[str(address)] = kind(f"{address} is not there and cannot be made: {why.str()}")
        except TimeoutError:
            told = f"{address} is not there, and Kafka does not make it within {_ANSWER_SECS:g} s"
            wrong[str(address)] = StreamAway(told)
    # Who has made it knows it before all others do.
    deadline = time.monotonic() + _ANSWER_SECS
    sought = {name for name, address in missing.items() if str(address) not in wrong}
    while sought - metadata(admin, servers).topics.keys() and time.monotonic() < deadline:
        time.sleep(0.1)
    return wrong


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
