"""Hits as rows of the table ``outbox``, and rows that close them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from alerts.json_text import to_json
from schemas.outbox import OUTBOX
from streams.hits import Hit, PassedAlert

_ALERT = ("alert_id", "object_id", "object_kind", "healpix29", "observed_at", "published_at")


@dataclass(frozen=True, slots=True)
class ToSend:
    """A hit, where it goes, and what it carries."""

    topic: str
    """The address, as text."""
    hit: Hit
    payload: bytes


def outbox_rows(messages: Iterable[ToSend], written_at: datetime, run_id: str) -> pa.RecordBatch:
    """Rows of ``outbox``."""
    rows = [
        {
            "id": message.hit.id,
            "topic": message.topic,
            "key": message.hit.alert.key,
            "headers": to_json(message.hit.headers),
            "payload": message.payload,
            "written_at": written_at,
            "run_id": run_id,
        }
        for message in messages
    ]
    return pa.RecordBatch.from_pylist(rows, schema=OUTBOX.arrow_schema)


def passed_alerts(alerts: pa.RecordBatch, survey: str, rows: Sequence[int]) -> Iterator[PassedAlert]:
    """What messages tell of some of the alerts of a batch (columns of ``{survey}_alerts``)."""
    some = alerts.select(list(_ALERT)).take(pa.array(rows, pa.int64()))
    for row in some.to_pylist():
        yield PassedAlert(survey=survey, **row)
