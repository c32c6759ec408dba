"""Hits as rows of the table ``outbox``, and rows that close them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from alerts.avro.lite import NoLiteForm, lite_packet
from alerts.avro.packets import Packet
from alerts.errors import UndecodablePacket
from alerts.json_text import to_json
from alerts.surveys import Survey, survey
from alerts.surveys.public import public_rows
from schemas.filter_tables import PASSED
from schemas.outbox import OUTBOX
from streams.hits import Hit, PassedAlert
from streams.outlets import EVERY_ALERT, Outlet

EVERY_VERSION = "1"
"""Of the filter that every alert passes: what that means does not change."""
_ALERT = ("alert_id", "object_id", "object_kind", "healpix29", "observed_at", "published_at")


@dataclass(frozen=True, slots=True)
class Withheld:
    """A hit that does not go to a public place, since not all of its alert is public."""

    topic: str
    """The address, as text."""


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


def messages_of(
    alerts: pa.RecordBatch,
    packets: Mapping[bytes, Packet],
    said: pa.RecordBatch,
    survey_name: str,
    outlets: Sequence[Outlet],
    *,
    replay: bool = False,
) -> Iterator[ToSend | Withheld]:
    """What is to be sent of the alerts of a batch, for each outlet, and what must not be.

    ``alerts``: rows of ``{survey}_alerts``; ``packets``: theirs by ``packet_digest``; ``said``: rows of ``verdicts`` about them.
    An outlet of the full stream gets them all.
    """
    facts = survey(survey_name)
    digests = [bytes(digest) for digest in alerts.column("packet_digest").to_pylist()]
    rows = {digest: number for number, digest in enumerate(digests)}
    hits = [*_hits(alerts, said, survey_name, rows, replay), *_every(alerts, survey_name, outlets, replay)]
    is_public = public_rows(alerts, facts) if any(outlet.is_public for outlet in outlets) else None
    for number, hit in hits:
        payloads = _Payloads(alerts, number, packets.get(digests[number]), hit, facts)
        for outlet in outlets:
            if not outlet.takes(hit.filter):
                continue
            # What is not public, or has private items in its history, goes to no public place.
            topic = str(outlet.at(survey_name, hit.filter))
            if outlet.is_public and is_public is not None and not is_public[number]:
                yield Withheld(topic)
            else:
                yield ToSend(topic, hit, payloads.of(outlet.format))


def _hits(
    alerts: pa.RecordBatch, said: pa.RecordBatch, name: str, rows: Mapping[bytes, int], replay: bool
) -> Iterator[tuple[int, Hit]]:
    """Row and hit of each alert that a filter has passed."""
    passed = said.filter(pc.equal(said.column("status"), PASSED))
    if not passed.num_rows:
        return
    columns = passed.select(["packet_digest", "filter", "filter_version", "columns", "decided_at"]).to_pylist()
    numbers = [rows[bytes(row["packet_digest"])] for row in columns]
    for number, alert, row in zip(numbers, _passed_alerts(alerts, name, numbers), columns, strict=True):
        yield number, Hit(alert, row["filter"], row["filter_version"], row["columns"] or "{}", row["decided_at"], replay)


def _every(alerts: pa.RecordBatch, name: str, outlets: Sequence[Outlet], replay: bool) -> Iterator[tuple[int, Hit]]:
    """Row and hit of every alert, where somebody wants the full stream."""
    if any(outlet.takes(EVERY_ALERT) for outlet in outlets):
        now = datetime.now(UTC)
        for number, alert in enumerate(_passed_alerts(alerts, name, range(alerts.num_rows))):
            yield number, Hit(alert, EVERY_ALERT, EVERY_VERSION, "{}", now, replay)


def _passed_alerts(alerts: pa.RecordBatch, name: str, rows: Sequence[int]) -> Iterator[PassedAlert]:
    """What messages tell of some of the alerts of a batch."""
    for row in alerts.select(list(_ALERT)).take(pa.array(rows, pa.int64())).to_pylist():
        yield PassedAlert(survey=name, **row)


@dataclass
class _Payloads:
    """What a hit carries, in each format."""

    alerts: pa.RecordBatch
    number: int
    packet: Packet | None
    hit: Hit
    survey: Survey

    def of(self, form: str) -> bytes:
        """In one format. Raises ``ValueError`` where the packet is not at hand, or has no such form."""
        if form == "json":
            names = self.alerts.schema.names
            matches = self.alerts.column("matches")[self.number].as_py() if "matches" in names else None
            return self.hit.as_json(matches)
        if self.packet is None:
            raise ValueError(f"the packet of {self.survey.name} alert {self.hit.alert.alert_id} is not at hand")
        if form == "lite":
            # Where a schema's stamps cannot be null the packet itself is what any reader of the survey's packets reads.
            with contextlib.suppress(NoLiteForm, UndecodablePacket):
                return lite_packet(self.packet, self.survey)
        return self.packet.as_sent()
