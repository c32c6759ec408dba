"""What a stream in rounds reads: a source says where it goes on, what the next round reads, and hears when that is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Protocol

from transforms.elements import TableBatch
from transforms.ends import Source
from warehouses.units import Unit
from warehouses.warehouse import Warehouse


@dataclass(frozen=True)
class Round:
    """What one round reads."""

    read: Source
    units: tuple[Unit, ...]
    """What it replaces: whatever a round that died has left of the same inputs."""
    inputs: int
    """Of what the account calls inputs: files, partitions."""
    size: int
    """Messages, or files."""
    behind: int
    """So many are there besides."""
    beside: Callable[[str], Sequence[TableBatch]] | None = None
    """By the id of its run, the rows that say what was read; they are there if and only if the round's own are."""
    done: Callable[[int], None] = field(default=lambda size_bytes: None, kw_only=True)
    """Its rows are durable; so many bytes were read."""


class RoundSource(Protocol):
    """Where a stream in rounds comes from. Also a context manager."""

    @property
    def name(self) -> str:
        """Who reads, for the warehouse's plans."""

    @property
    def claims(self) -> frozenset[str]:
        """What nobody else may read into the same warehouse meanwhile; empty where several may."""

    @property
    def flag(self) -> str:
        """The flag that names it, with its value, for messages."""

    @property
    def counted(self) -> str:
        """What ``Round.size`` counts: messages, files."""

    @property
    def comes_again(self) -> bool:
        """Whether what a killed round has read comes again in other rounds: its rows are then there at least once, else once."""

    @property
    def waits(self) -> bool:
        """Whether something is there that cannot be read yet; else who reads to the end has read it."""

    def begin(self, place: Warehouse) -> None:
        """Find out where to go on, and say it. Raises ``StreamProblem``."""

    def unrecorded(self, place: Warehouse) -> Mapping[str, datetime]:
        """Its runs that were committed and have no row of ``runs``, and when; none where not the warehouse knows what was read.

        Raises ``QueryError``.
        """

    def next(self, place: Warehouse, most_bytes: float) -> Round | None:
        """What the next round reads, of about so many bytes at most; None where nothing has come.

        A round that was planned and is not done comes first. Raises ``StreamProblem``.
        """

    def __enter__(self) -> RoundSource: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...
