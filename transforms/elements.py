"""What flows through the pipeline. The element is a micro-batch; bytes are never shuffled, only paths and file names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from alerts.avro.inputs import TarSlice
from alerts.avro.packets import Packet
from alerts.errors import DeadLetter


@dataclass(frozen=True, slots=True)
class Unit:
    """Inputs that are ingested as one: what a run writes for them replaces what an earlier run wrote for them."""

    inputs: tuple[str, ...]
    letters: tuple[str, ...] = ()
    """Of a replay, the ids of the dead letters it takes: it replaces only what earlier replays of these wrote."""
    sources: tuple[str, ...] = ()
    """The source of each of these letters."""

    @property
    def key(self) -> str:
        """16 hexadecimal digits that stand for these inputs in file names."""
        return unit_key(("replay", *self.letters) if self.letters else self.inputs)


def unit_key(inputs: Iterable[str]) -> str:
    """See ``Unit.key``."""
    return hashlib.sha256("\n".join(inputs).encode("utf-8", "surrogateescape")).hexdigest()[:16]


STREAM = "stream"
"""The unit of what comes as messages: nothing is replaced by it."""


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


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A finished file that waits under ``temporary`` to be moved to its place ``final``."""

    unit: str
    temporary: str
    final: str
    rows: int
