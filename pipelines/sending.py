"""What a run has written into the outbox is sent, and what was acknowledged is written down.

Nothing is sent whose rows are not durable: rows of the outbox are committed with those of the verdicts. What is not acknowledged
stays open, and whoever sends next sends it. A message that was sent, and whose sender died before it wrote that down, is sent
again with the same ``id``.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import warehouses
from alerts.dead_letters import dead_letter_rows
from pipelines.open_messages import EVER, WrittenBetween, closed_before, open_messages, open_topics
from schemas.outbox import OUTBOX
from schemas.tables import DEAD_LETTERS
from streams.addresses import Address, parse_address
from streams.delivering import Delivered, closing, closing_rows, deliver, manifest_row, refused_letters, rows_of
from streams.errors import StreamProblem
from streams.manifests import MOST_IDS, manifest_address, topic_of_manifests
from streams.open_writers import OpenWriters
from streams.topics import make_topic
from streams.writers import Writer, open_writer
from transforms.read_letters import SavedLetter
from warehouses import InputsTaken
from warehouses.warehouse import Warehouse

_LOG = logging.getLogger(__name__)
_AWAY_SECS = 60.0
"""A receiver's side that takes nothing for so long is asked again later."""


@dataclass
class Sent:
    """What became of the messages of an outbox."""

    sent: Counter[str] = field(default_factory=Counter)
    """By the text of the address."""
    refused: Counter[str] = field(default_factory=Counter)
    waiting: dict[str, str] = field(default_factory=dict)
    """Addresses that do not take any now, and why: their messages are open."""
    taken: set[str] = field(default_factory=set)
    """Those of them to which somebody else sends now."""
    others: list[str] = field(default_factory=list)
    """Addresses for which messages are open, too, and to which nobody sends here: of filters that are gone, for example."""


@dataclass(frozen=True)
class Reach:
    """How far a sender looks."""

    written: WrittenBetween = EVER
    """At what was written then; at everything costs more the more was ever sent."""
    nothing_since: datetime | None = None
    """Where nothing was sent since then a manifest says so; None: none does."""


EVERYTHING = Reach()


def send_open(
    uri: str, addresses: Mapping[str, Address], run_id: str, reach: Reach = EVERYTHING, writers: OpenWriters | None = None
) -> Sent:
    """Send what is open for these addresses (by their texts), each by itself: one that is away holds up no other.

    ``uri``: the warehouse's. ``writers``: of who sends again and again. Raises what the warehouse does.
    """
    if writers is None:
        with OpenWriters() as own:
            return send_open(uri, addresses, run_id, reach, own)
    told = Sent()
    with warehouses.at(uri) as place:
        if not place.holds_tables():
            return told  # a stream whose first message has not come
        waiting = set(open_topics(place, reach.written))
        # Also by another, or before this began: a manifest that says 0 of them would be wrong.
        busy = set() if reach.nothing_since is None else _sent_since(place, reach.nothing_since)
    told.others = sorted(waiting - {*addresses, *(str(manifest_address(address)) for address in addresses.values())})
    # Of hundreds of filters most have nothing to send: nobody asks for each of these again.
    wanted = {
        topic: address
        for topic, address in sorted(addresses.items())
        if reach.nothing_since is not None or not waiting.isdisjoint((topic, str(manifest_address(address))))
    }
    both = [each for address in wanted.values() for each in (address, manifest_address(address))]
    wrong = writers.make(both, functools.partial(was_sent_to, uri))
    for topic, address in wanted.items():
        try:
            if topic in wrong:
                raise wrong[topic]
            # Two senders of one address would send all twice.
            with warehouses.at(uri) as place, place.claim(run_id, {f"outbox:{topic}"}):
                _send_to(place, topic, writers.at(address), run_id, told, reach.written, address)
                if reach.nothing_since is not None and not told.sent[topic] and topic not in busy:
                    place.add(OUTBOX, rows_of([manifest_row(topic, address, [], run_id, reach.nothing_since)]), run_id)
                # What was sent is told in a topic beside it, by rows that were written with what closes it. A warehouse shows
                # what there was when it was opened.
                beside = manifest_address(address)
                if str(beside) in wrong:
                    raise wrong[str(beside)]
                with warehouses.at(uri) as again:
                    _send_to(again, str(beside), writers.at(beside), run_id, told, replace(reach.written, until=None))
        except InputsTaken:
            told.waiting[topic] = "somebody else is sending there now"
            told.taken.add(topic)
        except StreamProblem as error:
            told.waiting[topic] = str(error)
            for each in (address, manifest_address(address)):
                writers.give_up(each)
            if address.kind == "kafka" and topic not in wrong:
                # If it is the cluster that is away, nobody waits for its other topics one by one.
                wrong |= writers.make((each for each in both if each.servers == address.servers), lambda _: True)
    return told


def _sent_since(place: Warehouse, since: datetime) -> set[str]:
    """The addresses, as texts, where something has arrived since."""
    if OUTBOX.name not in place.tables:
        return set()
    found = place.ask("SELECT DISTINCT topic FROM outbox WHERE sent_at >= {since}", {"since": since}).read()
    return {str(topic) for topic in found.column("topic").to_pylist()}


def was_sent_to(uri: str, address: Address) -> bool:
    """Whether something has arrived there before, or a manifest of it: it was there then. Raises what the warehouse does."""
    with warehouses.at(uri) as place:
        if not place.holds_tables() or OUTBOX.name not in place.tables:
            return False
        sql = "SELECT COUNT(*) AS n FROM outbox WHERE topic IN ({topic}, {beside}) AND sent_at IS NOT NULL"
        values = {"topic": str(address), "beside": str(manifest_address(address))}
        return bool(place.ask(sql, values).read().column("n")[0].as_py())


def payload_of(place: Warehouse, topic: str, name: str) -> bytes | None:
    """The bytes of a message, by its address and id; None where the outbox has none. Raises ``QueryError``."""
    if OUTBOX.name not in place.tables:
        return None
    sql = "SELECT payload FROM outbox WHERE topic = {topic} AND id = {name} AND payload IS NOT NULL LIMIT 1"
    found = place.ask(sql, {"topic": topic, "name": name}).read().column("payload").to_pylist()
    return bytes(found[0]) if found else None


def open_addresses(
    place: Warehouse, config: str | None = None, *, ordered: bool = False, written: WrittenBetween = EVER
) -> dict[str, Address]:
    """The addresses for which messages are open, by their texts.

    ``written``: which of them. ``config``: a file of settings for those of Kafka; ``ordered``: one object's in order, of those of
    Pub/Sub. Raises ``QueryError`` and ``StreamProblem``.
    """
    found = [parse_address(topic, "outbox") for topic in open_topics(place, written)]
    # Of manifests the topic that they tell of: both are sent by who has its claim.
    named = [topic_of_manifests(address) or address for address in found]
    named = [
        replace(address, config=config if address.kind == "kafka" else None, ordered=ordered and address.kind == "pubsub")
        for address in named
    ]
    return {str(address): address for address in named}


def _send_to(  # noqa: PLR0917 - what, where, and what is told of it
    place: Warehouse,
    topic: str,
    writer: Writer,
    run_id: str,
    told: Sent,
    written: WrittenBetween = EVER,
    manifests: Address | None = None,
) -> None:
    """Send what is open for a topic; ``manifests``: its address, where manifests are to tell of it."""
    for rows in open_messages(place, topic, written):
        since = written.since
        before = {} if since is None or manifests is None else closed_before(place, topic, rows, since)
        found = deliver(writer, topic, [row for row in rows if row["id"] not in before], _AWAY_SECS)
        more = [] if manifests is None or not found.arrived else [manifest_row(topic, manifests, found.arrived, run_id)]
        more += [closing(row, topic, run_id, **before[row["id"]]) for row in rows if row["id"] in before]
        _close(place, topic, found, run_id, more)
        if manifests is not None:
            told.sent[topic] += len(found.arrived)
        if found.refused:
            told.refused[topic] += len(found.refused)
        if found.problem is not None:
            raise found.problem


def _close(place: Warehouse, topic: str, delivered: Delivered, run_id: str, more: Sequence[dict[str, object]]) -> None:
    """Write down what has arrived, with its manifest (``more``), and what never will: with its bytes among the dead letters."""
    if delivered.refused:
        place.add(DEAD_LETTERS, dead_letter_rows(refused_letters(delivered, topic), run_id), run_id)
    # The manifest first: where rows go in several requests nothing is closed that no manifest tells of.
    if rows := [*more, *closing_rows(delivered, topic, run_id)]:
        place.add(OUTBOX, rows_of(rows), run_id)


def send_refused(uri: str, letters: Sequence[SavedLetter], config: str | None, run_id: str) -> list[SavedLetter]:
    """Send messages that were refused once more, and write down of those that arrive that they did; gives these.

    ``config``: a file of settings for those of Kafka. Raises what the warehouse does.
    """
    by_topic: dict[str, list[SavedLetter]] = {}
    for letter in letters:
        by_topic.setdefault(str(letter.attributes["topic"]), []).append(letter)
    arrived = list[SavedLetter]()
    for topic, some in sorted(by_topic.items()):
        rows = [_row_of_letter(letter) for letter in some]
        try:
            address = parse_address(topic, "outbox")
            address = replace(address, config=config) if address.kind == "kafka" else address
            with open_writer(address) as writer:
                delivered = deliver(writer, topic, rows, _AWAY_SECS)
        except StreamProblem as error:
            _LOG.warning("%d refused messages for %s stay dead letters: %s", len(some), topic, error)
            continue
        if delivered.problem is not None:
            _LOG.warning("refused messages for %s stay dead letters: %s", topic, delivered.problem)
        found = delivered.arrived
        if not found:
            continue
        # Of a manifest that was refused itself no manifest tells.
        tells = topic_of_manifests(address) is None
        with warehouses.at(uri) as place:
            told = [found[begin : begin + MOST_IDS] for begin in range(0, len(found), MOST_IDS)] if tells else []
            manifests = [manifest_row(topic, address, part, run_id) for part in told]
            _close(place, topic, replace(delivered, refused=()), run_id, manifests)
        good = {id(row) for row in found}
        arrived += [letter for letter, row in zip(some, rows, strict=True) if id(row) in good]
        if tells:
            _tell_of(uri, address, run_id)
    return arrived


def _tell_of(uri: str, address: Address, run_id: str) -> None:
    """Send the manifests that are open: perhaps nobody comes who sends to the topic."""
    beside = manifest_address(address)
    try:
        make_topic(beside)
        with warehouses.at(uri) as place, open_writer(beside) as writer:
            _send_to(place, str(beside), writer, run_id, Sent())
    except StreamProblem as error:
        _LOG.warning("the manifests of %s wait in the outbox: %s", address, error)


def _row_of_letter(letter: SavedLetter) -> dict[str, Any]:
    told = letter.attributes
    return {
        "id": str(told["outbox_id"]),
        "key": str(told["key"]),
        "headers": str(told["headers"]),
        "payload": letter.payload,
        "written_at": letter.failed_at,
    }
