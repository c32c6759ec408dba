"""The messages of an outbox that are open: few at a time, in the order in which they are to be sent.

First it is asked which they are, of columns that cost little; then for the bytes of some, by the times at which they were
written. So neither a night of hits is in memory, nor is all that was ever sent read again, or billed, for what is open now.
"""

from __future__ import annotations

import itertools
import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from schemas.outbox import OUTBOX
from schemas.views import open_outbox_sql
from streams.delivering import OpenMessage
from warehouses.warehouse import Warehouse

_FIRST_ROWS, _MOST_ROWS = 250, 10_000
"""Messages between two notes of what was acknowledged: of the first nobody knows yet how large they are."""
_BYTES = 32 * 2**20
"""Of their payloads, about."""

_KEY = "COALESCE(key, '')"


@dataclass(frozen=True)
class WrittenBetween:
    """When messages were written: for who looks often, since what was ever sent is looked through else."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def open_sql(self) -> str:
        """What ``outbox_open`` shows of them: a row and what closes it have the same time."""
        narrow = "(SELECT id, topic, key, written_at, sent_at, error, run_id FROM outbox WHERE written_at >= {since})"
        shown = "SELECT * FROM outbox_open" if self.since is None else open_outbox_sql(narrow)
        return shown if self.until is None else f"SELECT * FROM ({shown}) WHERE written_at <= {{until}}"

    @property
    def values(self) -> dict[str, Any]:
        """Of its SQL."""
        return {name: value for name, value in (("since", self.since), ("until", self.until)) if value is not None}


EVER = WrittenBetween()


def open_topics(place: Warehouse, written: WrittenBetween = EVER) -> list[str]:
    """The addresses for which such messages are open, as texts. Raises ``QueryError``."""
    if not place.holds_tables() or OUTBOX.name not in place.tables:
        return []
    found = place.ask(f"SELECT DISTINCT topic FROM ({written.open_sql}) ORDER BY topic", written.values).read()
    return [str(topic) for topic in found.column("topic").to_pylist()]


def open_messages(place: Warehouse, topic: str, written: WrittenBetween = EVER) -> Iterator[Sequence[OpenMessage]]:
    """The messages that are open for an address, one object's in the order of their times. Raises ``QueryError``."""
    sql = f"SELECT id, {_KEY} AS key, written_at FROM ({written.open_sql}) WHERE topic = {{topic}} ORDER BY written_at, key, id"
    told = place.ask(sql, {"topic": topic, **written.values}).read()
    begin, wanted = 0, _FIRST_ROWS
    while begin < told.num_rows:
        end = _end(told, min(begin + max(wanted, place.rows_at_once_asked), told.num_rows))
        size = count = 0
        for rows in _parted(_window(place, topic, told.slice(begin, end - begin))):
            size, count = size + sum(len(row["payload"] or b"") for row in rows), count + len(rows)
            yield rows
        wanted = max(1, min(_MOST_ROWS, count * _BYTES // max(size, 1))) if count else _MOST_ROWS
        begin = end


def closed_before(place: Warehouse, topic: str, rows: Sequence[OpenMessage], since: datetime) -> dict[str, dict[str, Any]]:
    """Of messages that are open among what was written since: what closed them before that, by id. Raises ``QueryError``.

    They have come into the warehouse again. None was sent before its alert was observed: only of older ones it is asked.
    """
    observed = [_observed_at(row)[0] for row in rows]
    times = [datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC) for text in observed]
    if not times or min(times) >= since:
        return {}
    own = "SELECT id FROM outbox WHERE topic = {topic} AND written_at >= {begin} AND written_at <= {end}"
    sql = (
        "SELECT id, MAX(sent_at) AS sent_at, MAX(error) AS error FROM outbox WHERE topic = {topic} AND written_at < {since} "
        f"AND written_at >= {{observed}} AND (sent_at IS NOT NULL OR error IS NOT NULL) AND id IN ({own}) GROUP BY id"
    )
    written = [row["written_at"] for row in rows]
    values = {"topic": topic, "since": since, "observed": min(times), "begin": min(written), "end": max(written)}
    return {row["id"]: row for row in place.ask(sql, values).read().to_pylist()}


def _end(told: pa.Table, end: int) -> int:
    """The end of some messages, moved on to where those of one object and time are together."""
    of = ("written_at", "key")
    while 0 < end < told.num_rows and all(told[name][end].equals(told[name][end - 1]) for name in of):
        end += 1
    return end


def _window(place: Warehouse, topic: str, told: pa.Table) -> Iterator[OpenMessage]:
    """Messages with all that is to be sent, each once, in their order."""
    times, keys = told["written_at"], told["key"]
    # Of the table itself, and by time: only so nothing else is read. By key besides, since a run writes many at one time.
    sql = (
        f"SELECT id, {_KEY} AS key, headers, payload, written_at FROM outbox WHERE topic = {{topic}} AND sent_at IS NULL "
        "AND error IS NULL AND written_at >= {begin} AND written_at <= {end} "
        f"AND (written_at > {{begin}} OR {_KEY} >= {{first}}) AND (written_at < {{end}} OR {_KEY} <= {{last}}) "
        "ORDER BY written_at, key, id"
    )
    values = {"begin": times[0].as_py(), "end": times[-1].as_py(), "first": keys[0].as_py(), "last": keys[-1].as_py()}
    wanted = set(zip(told["id"].to_pylist(), times.to_pylist(), strict=True))
    rows = (row for batch in place.ask(sql, {"topic": topic, **values}, _FIRST_ROWS) for row in batch.to_pylist())
    for _, some in itertools.groupby(rows, operator.itemgetter("written_at", "key")):
        # What came twice at the same time is there twice.
        once = {row["id"]: row for row in some if (row["id"], row["written_at"]) in wanted}
        yield from sorted(once.values(), key=_observed_at) if len(once) > 1 else once.values()


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
