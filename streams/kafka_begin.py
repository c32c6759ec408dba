"""Where a group begins that nobody knows yet, and whether there is such a topic."""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Sequence
from datetime import datetime

from streams.kafka_client import KafkaProblem
from streams.kafka_ranges import KafkaTopics, Place

_LOG = logging.getLogger(__name__)
WORDS = ("group", "earliest", "latest")


def start_of(text: str) -> str | int:
    """What ``--kafka_from`` says: ``group``, ``earliest``, ``latest``, or a time in ms since 1970. Raises ``KafkaProblem``."""
    if text in WORDS:
        return text
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise KafkaProblem(f"--kafka_from {text} is none of {', '.join(WORDS)}, and no time like 2026-11-29T03:00:00Z") from error
    if when.tzinfo is None:
        raise KafkaProblem(f"--kafka_from {text} does not say its time zone; end it with Z for UTC")
    return round(when.timestamp() * 1000)


def begins_of(topics: KafkaTopics, places: Sequence[Place], start: str | int) -> tuple[dict[Place, int], int]:
    """Where partitions begin, and of how many the group in Kafka knows it. Raises ``KafkaProblem``."""
    ends = topics.ends(places)
    if start == "latest":
        return {here: high for here, (_, high) in ends.items()}, 0
    if isinstance(start, int):
        return topics.at_time(places, start), 0
    known = topics.committed(places) if start == "group" else {}
    return {here: known.get(here, low) for here, (low, _) in ends.items()}, len(known)


def check_pattern(pattern: str) -> None:
    """Refuse what is no regular expression. Raises ``KafkaProblem``."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise KafkaProblem(f"--kafka_topic {pattern} is no regular expression: {error}") from error


def check_topic(topics: KafkaTopics, pattern: str) -> None:
    """Refuse a name that there is no topic of. A regular expression may match what comes. Raises ``KafkaProblem``."""
    if topics.places():
        return
    if re.fullmatch(r"[\w.-]+", pattern):
        names = topics.names()
        near = difflib.get_close_matches(pattern, names, n=1)
        hint = (
            f"did you mean {near[0]}?"
            if near
            else f"there are {len(names)} topics" + (f", {names[0]} among them" if names else "")
        )
        raise KafkaProblem(f"--kafka_topic {pattern}: Kafka has no such topic; {hint}")
    _LOG.warning("no topic matches %s yet; those that appear are read", pattern)
