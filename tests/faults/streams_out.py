"""Hits that are sent while faults strike: where they go, and what a listener there sees and can prove."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.cloud import pubsub_v1

import warehouses
from broker import cli
from tests.cloud.streams import Topic
from tests.faults.nights import Night
from tests.faults.runs import Verdict, audit
from tests.kafka.topics import TestTopics
from tests.nights import truth

EVERY = "-- surveys: ztf\nSELECT candidate.magpsf AS mag FROM alerts WHERE candidate.jd > 0\n"
"""A filter that all alerts of the night pass."""
_QUIET_SECS = "2"


@dataclass(frozen=True)
class Place:
    """Where hits go."""

    publish: str
    """Its address."""
    listen: tuple[str, ...]
    """The words after ``broker listen``."""

    @property
    def name(self) -> str:
        """Of Kafka's topic."""
        return self.publish.rpartition("/")[2]

    @property
    def flags(self) -> tuple[str, str]:
        """Of small messages."""
        return "--publish", f"{self.publish}?format=json"


def in_kafka(topics: TestTopics) -> Place:
    """A topic that nobody has made yet."""
    address = f"kafka:{topics.servers}/{topics.name('hits')}"
    return Place(address, (address,))


def in_pubsub(project: str) -> Place:
    """A topic with a subscription, and one of its manifests: who subscribes later gets nothing of what was sent before."""
    topic = Topic(project)
    beside = f"{topic.name}-manifest"
    subscription = f"{topic.subscriptions[0]}-manifest"
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        publisher.create_topic(name=beside)
        subscriber.create_subscription(name=subscription, topic=beside)
    return Place(f"pubsub:{topic.name}", (f"pubsub:{topic.subscriptions[0]}", "--manifest", f"pubsub:{subscription}"))


def filters(place: Path, text: str = EVERY) -> Path:
    """A folder with one filter, ``every``."""
    place.mkdir(exist_ok=True)
    (place / "every.sql").write_text(text)
    return place


@dataclass(frozen=True)
class Heard:
    """What ``broker listen --once --verify`` shows, and says in the end."""

    status: int
    alerts: Counter[int]
    """Of lines by the alert's id."""
    said: str

    @property
    def copies(self) -> int:
        """Messages that came again, with an id that the listener had."""
        return int(self.said.split(" messages, ")[1].split()[0].replace(",", ""))


def heard(place: Place) -> Heard:
    """Listen to all that is there."""
    shown, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        status = cli.main(["listen", *place.listen, "--once", "--quiet_secs", _QUIET_SECS, "--verify"])
    return Heard(status, Counter(int(line.split("  ")[3]) for line in shown.getvalue().splitlines()), said.getvalue())


def verdict(night: Night, warehouse: Path, alerts: Counter[int]) -> Verdict:
    """The tables by ``broker audit``; of the hits each alert of the night once, and nothing else."""
    tables = audit("--input", night.archive, "--warehouse", warehouse, "--no_cutouts")
    sent = {one["alert_id"] for one in truth(night.folder) if one["kind"] != "damaged"}
    hits = {
        "missing": len(sent - alerts.keys()),
        "doubled": alerts.total() - len(alerts),
        "unexpected": len(alerts.keys() - sent),
    }
    faults = Counter(tables.faults) + Counter(hits)
    return Verdict(max(tables.status, int(any(hits.values()))), tables.records, dict(faults), tables.information)


def waiting(warehouse: Path | str, place: Place | None = None) -> int:
    """How many messages are open; with a place for that one, without its manifests."""
    where = f" WHERE topic = '{place.publish}'" if place else ""
    return _count(warehouse, f"SELECT COUNT(*) AS n FROM outbox_open{where}")


def open_letters(warehouse: Path | str, stage: str) -> int:
    """How many dead letters of a stage are open."""
    return _count(warehouse, f"SELECT COUNT(*) AS n FROM dead_letters_open WHERE stage = '{stage}'")


def rows(warehouse: Path | str) -> int:
    """How many alerts and letters there are."""
    return _count(warehouse, "SELECT (SELECT COUNT(*) FROM ztf_alerts) + (SELECT COUNT(*) FROM dead_letters) AS n")


def _count(warehouse: Path | str, sql: str) -> int:
    with warehouses.at(str(warehouse)) as opened:
        if not opened.holds_tables():
            return 0
        return int(opened.query(sql).to_pylist()[0]["n"])


def dealt(messages: Sequence[bytes], parts: int) -> list[Sequence[bytes]]:
    """Messages in so many parts, in their order."""
    ends = [len(messages) * number // parts for number in range(parts + 1)]
    return [messages[begin:end] for begin, end in itertools.pairwise(ends)]
