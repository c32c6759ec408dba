"""The messages of an outbox that are open: few at a time, in the order in which they are to be sent.

First it is asked which they are, of columns that cost little; then for the bytes of some, by the times at which they were
written. So neither a night of hits is in memory, nor is all that was ever sent read again, or billed, for what is open now.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from schemas.outbox import OUTBOX
from warehouses.warehouse import Warehouse

_FIRST_ROWS, _MOST_ROWS = 250, 2_000
"""Messages between two notes of what was acknowledged: of the first nobody knows yet how large they are."""
_BYTES = 32 * 2**20
"""Of their payloads, about."""

OpenMessage = Mapping[str, Any]
"""``id``, ``key``, ``headers`` (JSON), ``payload`` and ``written_at``."""


def open_topics(place: Warehouse) -> list[str]:
    """The addresses for which messages are open, as texts. Raises ``QueryError``."""
    if not place.holds_tables() or OUTBOX.name not in place.tables:
        return []
    found = place.ask("SELECT DISTINCT topic FROM outbox_open ORDER BY topic").read().column("topic").to_pylist()
    return [str(topic) for topic in found]


def open_messages(place: Warehouse, topic: str) -> Iterator[Sequence[OpenMessage]]:
    """The messages that are open for an address, one object's in the order of their times. Raises ``QueryError``."""
    sql = "SELECT id, key, written_at FROM outbox_open WHERE topic = {topic} ORDER BY written_at, key, id"
    told = place.ask(sql, {"topic": topic}).read()
    begin, wanted = 0, _FIRST_ROWS
    while begin < told.num_rows:
        end = _end(told, min(begin + max(wanted, place.rows_at_once_asked), told.num_rows))
        size = count = 0
        for rows in _parted(_window(place, topic, told.slice(begin, end - begin))):
            size, count = size + sum(len(row["payload"] or b"") for row in rows), count + len(rows)
            yield rows
        wanted = max(1, min(_MOST_ROWS, count * _BYTES // max(size, 1))) if count else _MOST_ROWS
        begin = end


def _end(told: pa.Table, end: int) -> int:
    """The end of some messages, moved on to where those of one object and time are together."""
    of = ("written_at", "key")
    while 0 < end < told.num_rows and all(told[name][end].equals(told[name][end - 1]) for name in of):
        end += 1
    return end


def _window(place: Warehouse, topic: str, told: pa.Table) -> Iterator[OpenMessage]:
    """Messages with all that is to be sent, each once, in their order."""
    times = told["written_at"]
    # Of the table itself, and by time: only so nothing else is read.
    sql = (
        "SELECT id, key, headers, payload, written_at FROM outbox WHERE topic = {topic} AND sent_at IS NULL AND error IS NULL "
        "AND written_at >= {begin} AND written_at <= {end} ORDER BY written_at, key, id"
    )
    values = {"topic": topic, "begin": times[0].as_py(), "end": times[-1].as_py()}
    wanted = set(zip(told["id"].to_pylist(), times.to_pylist(), strict=True))
    rows = (row for batch in place.ask(sql, values, _FIRST_ROWS) for row in batch.to_pylist())
    for _, some in itertools.groupby(rows, lambda row: (row["written_at"], row["key"])):
        # What came twice at the same time is there twice.
        once = {row["id"]: row for row in some if (row["id"], row["written_at"]) in wanted}
        yield from sorted(once.values(), key=_observed_at)


def _observed_at(row: OpenMessage) -> tuple[str, str]:
    """By what one object's messages of the same time are in order: times as texts of one length."""
    return str(json.loads(row["headers"]).get("observed_at", "")), row["id"]


def _parted(rows: Iterator[OpenMessage]) -> Iterator[Sequence[OpenMessage]]:
    """Some at a time, as many as memory is to hold."""
    some, size = list[OpenMessage](), 0
    for row in rows:
        some.append(row)
        size += len(row["payload"] or b"")
        if size >= _BYTES or len(some) == _MOST_ROWS:
            yield some
            some, size = [], 0
    if some:
        yield some
