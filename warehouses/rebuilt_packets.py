"""Packets of alerts that are in a warehouse, for who sends them on: written anew of their rows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from alerts.avro.envelope import digest_of
from alerts.avro.packets import Packet
from alerts.avro.rebuild import rebuilt_packet
from alerts.errors import NoPacket
from alerts.surveys import survey
from warehouses import places

_INSTEAD = "send json, which needs none, or ingest it again with all that packets have"


@dataclass(frozen=True)
class RebuiltPackets:
    """The packets of rows with all columns of ``{survey}_alerts``; goes to workers."""

    uri: str
    """The warehouse's."""

    @property
    def of_several_runs(self) -> bool:
        """Whether what stands beside a row may be of an earlier run: where a run adds rows and replaces none."""
        return not places.at(self.uri).replaces

    def of(self, rows: pa.RecordBatch, survey_name: str) -> Callable[[int, str], Packet]:
        """What gives the packet of a row for a format. Raises ``NoPacket``, and ``QueryError``.

        For ``packet`` the bytes are those that came, or it raises; otherwise stamps are null.
        """
        facts = survey(survey_name)

        @functools.lru_cache(maxsize=64)
        def packet_of(number: int, with_stamps: bool) -> Packet:
            [row] = rows.slice(number, 1).to_pylist()
            told = f"the packet of {survey_name} alert {row['alert_id']} cannot be written anew"
            try:
                if not with_stamps:
                    return rebuilt_packet(row, facts)
                with places.open(self.uri) as warehouse:
                    key = (facts, row["alert_id"], row["night"], row["packet_digest"], row["object_id"])
                    packet = rebuilt_packet(row, facts, warehouse.stamps(*key))
            except NoPacket as error:
                raise NoPacket(f"{told}: {error}; {_INSTEAD}") from error
            if digest_of(packet) != bytes(row["packet_digest"]):
                raise NoPacket(f"{told} byte by byte as it came (or its stamps were not kept); {_INSTEAD}")
            return packet

        return lambda number, form: packet_of(number, form == "packet")
