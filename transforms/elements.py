"""What flows through the pipeline. The element is a micro-batch; bytes are never shuffled, only paths and file names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from alerts.avro.inputs import TarSlice
from alerts.avro.packets import Packet
from alerts.errors import DeadLetter
from warehouses.units import Unit


@dataclass(frozen=True, slots=True)
class ReadTask:
    """Something one worker reads in one go: the inputs of a unit, or some members of its one ``.tar``."""

    unit: Unit
    part: TarSlice | None = None


@dataclass(frozen=True, slots=True)
class PacketBatch:
    """Up to 256 packets of one unit."""

    unit: str
    packets: list[Packet]


@dataclass(frozen=True, slots=True)
class AlertBatch:
    """Decoded alerts of one survey and unit: the columns of ``{survey}_alerts``, then the three stamps."""

    unit: str
    survey: str
    rows: pa.RecordBatch
    features: pa.RecordBatch | None = None
    """Rows of ``{survey}_features`` in the same order, where they are computed."""
    packets: Mapping[bytes, Packet] | None = None
    """By ``packet_digest`` the packets as they came, where somebody sends them on."""


@dataclass(frozen=True, slots=True)
class PositionBatch:
    """Where alerts are that can be cross-matched: ``alerts.catalogs.rows.positions_of``."""

    rows: pa.RecordBatch
    catalogs: tuple[str, ...] | None = None
    """Names of those to ask; None: all of the run."""

    def concerns(self, catalog: str) -> bool:
        """Whether a catalog is to be asked about these."""
        return self.catalogs is None or catalog in self.catalogs


@dataclass(frozen=True, slots=True)
class MatchBatch:
    """What catalogs know of some alerts: the columns of ``crossmatches``."""

    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Rows of one table, by its name, that one unit's inputs have brought: what sinks take.

    The rows have the columns that are to be written; what a table has besides is empty there.
    """

    table: str
    unit: str
    rows: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class UnitLetter:
    """A dead letter and the unit it came from."""

    unit: str
    letter: DeadLetter
