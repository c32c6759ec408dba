"""Hits as rows of the table ``outbox``, and rows that close them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.avro.packets import Packet
from alerts.errors import NoPacket
from alerts.json_text import to_json
from alerts.surveys import Survey, survey
from alerts.surveys.public import Mask
from schemas.filter_tables import FAILED_ON, PASSED
from schemas.outbox import OUTBOX
from streams.hits import Hit, PassedAlert
from streams.outlets import EVERY_ALERT, Outlet
from streams.payloads import LitePayloads, NotPublic, public_lite

EVERY_VERSION = "1"
"""Of the filter that every alert passes: what that means does not change."""
TOLD_OF_ALERTS = ("alert_id", "object_id", "object_kind", "healpix29", "observed_at", "published_at")
"""Columns of alerts that every message tells of."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """A hit that does not go to a public place, since not all of its alert is public."""

    topic: str
    """The address, as text."""
    why: str = ""
    """What has gone wrong; empty where nothing has."""
    is_hit: bool = True
    """Whether the filter passes the whole alert, and not only what is public of it: there is a verdict that says so."""


@dataclass(frozen=True, slots=True)
class ToSend:
    """A hit, where it goes, and what it carries."""

    topic: str
    """The address, as text."""
    hit: Hit
    payload: bytes


@dataclass(frozen=True, slots=True)
class Unsendable:
    """A hit whose packet cannot be had."""

    topic: str
    hit: Hit
    why: str


PacketOf = Callable[[int, str], Packet]
"""Gives the packet of a row for a format; for ``lite`` it may have no stamps. Raises ``NoPacket``."""


@dataclass(frozen=True)
class JudgedAlerts:
    """Alerts that filters were asked about, and what they said."""

    alerts: pa.RecordBatch
    """Rows of ``{survey}_alerts``, with ``matches`` where catalogs were asked."""
    said: pa.RecordBatch
    """Rows of ``verdicts`` about them."""
    packet_of: PacketOf


@dataclass(frozen=True)
class InPublic:
    """What of some alerts everybody may know."""

    whole: Mask
    """Of which rows all is public."""
    part: JudgedAlerts | None = None
    """Those of which only some items of their histories are not, without these: what filters say of that."""
    kept: Sequence[Mapping[str, Sequence[bool]]] = ()
    """For each row of ``part``, by the packet's fields which items of arrays it has."""


NOTHING_PUBLIC = InPublic(np.zeros(0, np.bool_))


def packets_at_hand(alerts: pa.RecordBatch, packets: Mapping[bytes, Packet]) -> PacketOf:
    """The packets of rows, as ``JudgedAlerts`` has them, by ``packet_digest``."""
    digests = alerts.column("packet_digest")

    def packet_of(number: int, form: str) -> Packet:
        del form  # as it came, for all of them
        found = packets.get(bytes(digests[number].as_py()))
        if found is None:
            raise NoPacket(f"the packet of alert {alerts.column('alert_id')[number].as_py()} is not at hand")
        return found

    return packet_of


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
    asked: JudgedAlerts,
    survey_name: str,
    outlets: Sequence[Outlet],
    in_public: InPublic = NOTHING_PUBLIC,
    *,
    replay: bool = False,
) -> Iterator[ToSend | Withheld | Unsendable]:
    """What is to be sent of the alerts of a batch, for each outlet, and what must not be, or cannot.

    ``in_public``: what public outlets may have of them. An outlet of the full stream gets all alerts.
    """
    told = _Told(survey(survey_name), outlets, replay)
    public = [_of_part(told, in_public.part, in_public.kept)] if in_public.part is not None else []
    # By row what the part says stands instead of what the whole row says, also where it says no.
    again = {key for some in public for key in some}
    digests = _digests(asked.alerts)
    hits = [*told.hits(asked, outlets)]
    lite = told.lite(asked, hits)
    for number, hit in hits:
        is_public = number < len(in_public.whole) and bool(in_public.whole[number])
        for outlet, topic in told.places(hit.filter):
            if is_public or not outlet.is_public:
                yield told.message(asked, number, hit, outlet, topic, lite)
            elif (digests[number], hit.filter, topic) not in again:
                yield Withheld(topic)
    passed = {(digests[number], hit.filter) for number, hit in hits}
    for some in public:
        for (digest, name, _), made in some.items():
            if isinstance(made, Withheld) and (digest, name) not in passed:
                yield replace(made, is_hit=False)
            else:
                yield made


def _of_part(
    told: _Told, part: JudgedAlerts, kept: Sequence[Mapping[str, Sequence[bool]]]
) -> dict[tuple[bytes, str, str], ToSend | Withheld | Unsendable]:
    """What becomes of alerts without what is not public of them, by packet, filter and public topic."""
    found = dict[tuple[bytes, str, str], ToSend | Withheld | Unsendable]()
    digests = _digests(part.alerts)
    public = [outlet for outlet in told.outlets if outlet.is_public]
    for number, hit in told.hits(part, public):
        for outlet, topic in told.places(hit.filter):
            if outlet.is_public:
                made = told.message(part, number, hit, outlet, topic, kept[number])
                found[digests[number], hit.filter, topic] = made
    failed = part.said.filter(pc.equal(part.said.column("status"), FAILED_ON)).select(["packet_digest", "filter", "error"])
    for row in failed.to_pylist():
        for outlet, topic in told.places(row["filter"]):
            if outlet.is_public:
                why = f"filter {row['filter']} fails on the alert without what is not public: {row['error']}"
                found[bytes(row["packet_digest"]), row["filter"], topic] = Withheld(topic, why)
    return found


def _digests(alerts: pa.RecordBatch) -> list[bytes]:
    return [bytes(digest) for digest in alerts.column("packet_digest").to_pylist()]


@dataclass(frozen=True)
class _Told:
    """How hits are told: of which survey's alerts, and where."""

    survey: Survey
    outlets: Sequence[Outlet]
    replay: bool

    def places(self, name: str) -> Iterator[tuple[Outlet, str]]:
        """Where a filter's hits go: the outlets, and the addresses as texts."""
        for outlet in self.outlets:
            if outlet.takes(name):
                yield outlet, str(outlet.at(self.survey.name, name))

    def hits(self, asked: JudgedAlerts, outlets: Sequence[Outlet]) -> Iterator[tuple[int, Hit]]:
        """Row and hit of each alert that a filter has passed, and of every alert where somebody wants the full stream."""
        yield from self._passed(asked)
        if any(outlet.takes(EVERY_ALERT) for outlet in outlets):
            now = datetime.now(UTC)
            for number, alert in enumerate(self._alerts(asked.alerts, range(asked.alerts.num_rows))):
                yield number, Hit(alert, EVERY_ALERT, EVERY_VERSION, "{}", now, self.replay)

    def _passed(self, asked: JudgedAlerts) -> Iterator[tuple[int, Hit]]:
        passed = asked.said.filter(pc.equal(asked.said.column("status"), PASSED))
        if not passed.num_rows:
            return
        columns = passed.select(["packet_digest", "filter", "filter_version", "columns", "decided_at"]).to_pylist()
        rows = {digest: number for number, digest in enumerate(_digests(asked.alerts))}
        numbers = [rows[bytes(row["packet_digest"])] for row in columns]
        for number, alert, row in zip(numbers, self._alerts(asked.alerts, numbers), columns, strict=True):
            yield number, Hit(alert, row["filter"], row["filter_version"], row["columns"] or "{}", row["decided_at"], self.replay)

    def _alerts(self, alerts: pa.RecordBatch, rows: Sequence[int]) -> Iterator[PassedAlert]:
        """What messages tell of some of the alerts of a batch."""
        for row in alerts.select(list(TOLD_OF_ALERTS)).take(pa.array(rows, pa.int64())).to_pylist():
            yield PassedAlert(survey=self.survey.name, **row)

    def lite(self, asked: JudgedAlerts, hits: Iterable[tuple[int, Hit]]) -> LitePayloads:
        """The packets of hits as ``lite``, as far as an outlet takes them so."""
        takers = [outlet for outlet in self.outlets if outlet.format == "lite"]
        rows = (number for number, hit in hits if any(outlet.takes(hit.filter) for outlet in takers))
        return LitePayloads(lambda number: asked.packet_of(number, "lite"), self.survey, rows)

    def message(  # noqa: PLR0917 - a hit, and where it goes
        self,
        asked: JudgedAlerts,
        number: int,
        hit: Hit,
        outlet: Outlet,
        topic: str,
        whole: LitePayloads | Mapping[str, Sequence[bool]],
    ) -> ToSend | Withheld | Unsendable:
        """A hit of a row as a message. ``whole``: the rows' packets; or which items of the packet's arrays are public."""
        try:
            if outlet.format == "json":
                names = asked.alerts.schema.names
                matches = asked.alerts.column("matches")[number].as_py() if "matches" in names else None
                return ToSend(topic, hit, hit.as_json(matches))
            if isinstance(whole, LitePayloads):
                is_lite = outlet.format == "lite"
                return ToSend(topic, hit, whole.of(number) if is_lite else asked.packet_of(number, outlet.format).as_sent())
            if outlet.format != "lite":
                # As it came it is whole.
                return Withheld(topic)
            return ToSend(topic, hit, public_lite(asked.packet_of(number, outlet.format), self.survey, whole))
        except NotPublic as error:
            return Withheld(topic, str(error))
        except NoPacket as error:
            return Unsendable(topic, hit, str(error))
