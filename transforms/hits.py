"""What filters pass, as rows of the table ``outbox``; and as dead letters where a hit's packet cannot be had."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import pyarrow as pa

from alerts.errors import DeadLetter, NoPacket
from alerts.json_text import to_json
from schemas.outbox import OUTBOX
from streams.delivering import letter_of
from streams.outbox_rows import (
    NOTHING_PUBLIC,
    JudgedAlerts,
    PacketOf,
    ToSend,
    Unsendable,
    Withheld,
    messages_of,
    outbox_rows,
    packets_at_hand,
)
from streams.outlets import EVERY_ALERT, Outlet
from transforms import metrics
from transforms.elements import AlertBatch, TableBatch, UnitLetter
from transforms.in_public import PublicJudge
from transforms.notes import note_withheld
from warehouses.units import STREAM


class PacketSource(Protocol):
    """Where packets are of alerts that are in a warehouse."""

    @property
    def of_several_runs(self) -> bool:
        """Whether what stands beside a row may be of an earlier run, which had more of its packet."""

    def of(self, rows: pa.RecordBatch, survey_name: str) -> PacketOf:
        """What gives the packets of rows."""


@dataclass(frozen=True)
class Hits:
    """How hits are sent, when their rows are durable."""

    outlets: tuple[Outlet, ...] = ()
    packets: PacketSource | None = None
    """Of batches that do not have theirs with them."""
    replay: bool = False
    """Whether alerts are asked about again."""

    def rows(
        self, batch: AlertBatch, said: pa.RecordBatch, names: Collection[str], judge: PublicJudge
    ) -> Iterator[TableBatch | UnitLetter]:
        """What is to be sent of a batch; ``said``: rows of ``verdicts`` by the filters of these names. Of no unit, as those."""
        outlets = self.outlets
        stored = self.packets if batch.packets is None else None
        packet_of = stored.of(batch.rows, batch.survey) if stored else packets_at_hand(batch.rows, batch.packets or {})
        asked = JudgedAlerts(batch.rows, said, packet_of)
        public = [outlet for outlet in outlets if outlet.is_public]
        seen = NOTHING_PUBLIC
        if public:
            every = any(outlet.takes(EVERY_ALERT) for outlet in public)
            of_runs = stored is not None and stored.of_several_runs
            seen = judge.ask(batch, asked, names, every=every, of_runs=of_runs)
        made = [*messages_of(asked, batch.survey, outlets, seen, replay=self.replay)]
        withheld = [each for each in made if isinstance(each, Withheld)]
        for topic, number in Counter(each.topic for each in withheld if each.is_hit).items():
            metrics.WITHHELD.inc(number, topic)
        note_withheld(batch.survey, [each.why for each in withheld if each.why])
        rows = outbox_rows((each for each in made if isinstance(each, ToSend)), datetime.now(UTC), judge.run_id)
        if rows.num_rows:
            yield TableBatch(OUTBOX.name, STREAM, rows)
        for each in made:
            if isinstance(each, Unsendable):
                if self.packets is None:
                    # Who has read packets has them: nothing is to be lost by a fault of ours.
                    raise NoPacket(each.why)
                metrics.WITHOUT_PACKET.inc(1, each.topic)
                yield UnitLetter(STREAM, _letter(each))


def _letter(hit: Unsendable) -> DeadLetter:
    """What says of a hit that it was not sent, and why; without bytes, since nobody has any."""
    row = {"id": hit.hit.id, "key": hit.hit.alert.key, "headers": to_json(hit.hit.headers), "payload": None}
    return letter_of(row, hit.topic, NoPacket(hit.why))
