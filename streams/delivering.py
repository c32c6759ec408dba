"""Messages of an outbox on their way: what becomes of each, and the rows of ``outbox`` and the dead letters that say so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from alerts.errors import DeadLetter, NoPacket
from alerts.json_text import to_json
from schemas.outbox import OUTBOX
from streams.addresses import Address
from streams.errors import MessageRefused, StreamAway, StreamProblem
from streams.hits import as_message
from streams.manifests import MANIFEST, TopicManifest, manifest_address
from streams.writers import Writer

PUBLISH = "publish"
"""The stage of dead letters that are hits."""

OpenMessage = Mapping[str, Any]
"""``id``, ``key``, ``headers`` (JSON), ``payload`` and ``written_at``."""
Row = dict[str, object]


@dataclass(frozen=True)
class Delivered:
    """What has become of messages. Those that are in neither are open: nobody knows of them, or they may arrive later."""

    arrived: Sequence[OpenMessage]
    refused: Sequence[tuple[OpenMessage, StreamProblem]]
    """Will never arrive, and why."""
    problem: StreamProblem | None
    """Why some are open."""


def deliver(writer: Writer, topic: str, rows: Sequence[OpenMessage], secs: float) -> Delivered:
    """Send messages, until the receiver's side has taken none for so long."""
    by_message, problem = dict[int, tuple[object, OpenMessage]](), None
    for row in rows:
        if not writer.room(secs):
            problem = StreamAway(f"{topic} takes no messages now")
            break
        message = as_message(row["key"], json.loads(row["headers"]), row["payload"])
        # Kept, so that no other has its id.
        by_message[id(message)] = (message, row)
        writer.send(message)
    flushed = writer.flush(secs)
    failed = {id(each.message): each.why for each in flushed.undelivered}
    if flushed.on_their_way:
        problem = StreamAway(f"{topic} has not acknowledged {flushed.on_their_way:,} messages within {secs:g} s")
    # Of what is still on its way nobody knows: it is sent again, with the same ids.
    arrived = [row for key, (_, row) in by_message.items() if key not in failed and key not in flushed.open_ids]
    refused = [(by_message[key][1], why) for key, why in failed.items() if isinstance(why, MessageRefused)]
    others = [why for why in failed.values() if not isinstance(why, MessageRefused)]
    return Delivered(arrived, refused, others[0] if others else problem)


def closing_rows(delivered: Delivered, topic: str, run_id: str) -> list[Row]:
    """Rows that close what has arrived, and what never will."""
    now = datetime.now(UTC)
    rows = [closing(row, topic, run_id, sent_at=now) for row in delivered.arrived]
    return rows + [closing(row, topic, run_id, error=str(why)) for row, why in delivered.refused]


def closing(row: OpenMessage, topic: str, run_id: str, **how: object) -> Row:
    """A row that closes a message: ``sent_at`` or ``error``."""
    return {"id": row["id"], "topic": topic, "key": row["key"], "written_at": row["written_at"], "run_id": run_id, **how}


def manifest_row(topic: str, address: Address, arrived: Sequence[OpenMessage], run_id: str, since: datetime | None = None) -> Row:
    """The manifest of what has arrived, to be sent; of nothing since some time."""
    now = datetime.now(UTC)
    times = [row["written_at"] for row in arrived] or [since or now, now]
    manifest = TopicManifest.of(topic, (row["id"] for row in arrived), min(times), max(times))
    headers = {"id": manifest.id, "kind": MANIFEST, "topic": topic, "number": str(len(manifest.ids))}
    about = {"key": topic, "headers": to_json(headers), "payload": manifest.to_json()}
    return {"id": manifest.id, "topic": str(manifest_address(address)), "written_at": now, "run_id": run_id, **about}


def refused_letters(delivered: Delivered, topic: str) -> list[DeadLetter]:
    """Dead letters of what will never arrive, with its bytes. With its place: for another it is another letter."""
    return [letter_of(row, topic, why) for row, why in delivered.refused]


def letter_of(row: OpenMessage, topic: str, why: NoPacket | StreamProblem) -> DeadLetter:
    """The dead letter of a message; of one without a payload it only says why."""
    about = {"outbox_id": row["id"], "topic": topic, "key": row["key"], "headers": row["headers"]}
    survey = json.loads(row["headers"]).get("survey")
    return DeadLetter.of(PUBLISH, why, f"outbox:{topic}#{row['id']}", row["payload"], survey=survey, attributes=about)


def rows_of(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows of ``outbox``."""
    return pa.RecordBatch.from_pylist(list(rows), schema=OUTBOX.arrow_schema)
