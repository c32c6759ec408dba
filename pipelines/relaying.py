"""A relay from its options, and its life: what is told to end ends within seconds, whatever it waits for."""

from __future__ import annotations

import functools
import re
import threading

from pipelines.ending import ending_event
from streams.addresses import Address, parse_address
from streams.errors import StreamProblem
from streams.kafka_begin import check_pattern, check_topic, start_of
from streams.kafka_client import KafkaSettings
from streams.kafka_ranges import KafkaTopics
from streams.relay import Relay
from streams.writers import open_writer

_LEAVES_SECS = 8.0
"""Longer than a relay takes that is told to end, unless it waits for an answer of Kafka's client."""


def open_relay(  # noqa: PLR0917 - as the flags are
    settings: KafkaSettings, pattern: str, start: str, publish: str, refused: str | None = None, once: bool = False
) -> Relay:
    """A relay that can begin. Raises ``StreamProblem``: one sentence, within ten seconds or so."""
    check_pattern(pattern)
    begin = start_of(start)
    address = parse_address(publish, "--publish", ("config",))
    aside = parse_address(refused, "--refused") if refused else None
    if aside and aside.kind != "folder":
        raise StreamProblem(f"--refused {refused} is no folder; write --refused folder:PATH")
    _check_no_circle(settings, pattern, address)
    topics = KafkaTopics(settings, pattern)
    try:
        topics.cluster_id()
        check_topic(topics, pattern)
        topics.check_group()
        with open_writer(address) as writer:
            writer.check()
        keeps = open_writer(aside) if aside else None
        if keeps:
            keeps.check()
    except StreamProblem:
        topics.close()
        raise
    return Relay(settings, topics, begin, functools.partial(open_writer, address), once=once, refused=keeps)


def _check_no_circle(settings: KafkaSettings, pattern: str, address: Address) -> None:
    if set(settings.servers.split(",")) & set(address.servers.split(",")) and re.fullmatch(pattern, address.name):
        raise StreamProblem(f"--publish {address} is read by --kafka_topic {pattern}: what is sent would come again for ever")


def run_relay(relay: Relay, stop_after_secs: float | None) -> str:
    """Send on until somebody ends it; gives what went wrong, empty where nothing did."""
    wrong: list[str] = []

    def work() -> None:
        try:
            relay.run()
        except Exception as error:  # told by who waits
            wrong.append(str(error) if isinstance(error, StreamProblem) else f"{type(error).__name__}: {error}")

    with ending_event(stop_after_secs) as ending:
        relay.ending = ending
        # On a thread of its own: Kafka's client waits for answers in C, where no signal is heard.
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        while thread.is_alive() and not ending.is_set():
            thread.join(0.2)
        thread.join(_LEAVES_SECS)
        if not thread.is_alive():
            relay.topics.close()
    return wrong[0] if wrong else ""
