"""Whose streams stand for a unit: what runs have written of it, and which of them comes first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime

from warehouses.bigquery.row_digest import added


@dataclass(frozen=True)
class WrittenStream:
    """A finalized stream with rows of one unit for one table."""

    unit: str
    table: str
    name: str
    row_count: int
    digest: int
    """See ``row_digest``."""
    nights: tuple[date, date] | None = None
    """The first and the last."""


@dataclass(frozen=True)
class Noted:
    """What a run has written of a unit for a table."""

    run_id: str
    streams: tuple[str, ...]
    row_count: int
    digest: int
    nights: tuple[date, date] | None
    noted_at: datetime
    committed: bool


@dataclass(frozen=True)
class Choice:
    """Whose streams of a unit are to stand in a table."""

    unit: str
    table: str
    noted: Noted


def noted_by_run(streams: Iterable[WrittenStream], run_id: str, noted_at: datetime) -> list[Choice]:
    """The streams of a run by unit and table."""
    parts: dict[tuple[str, str], list[WrittenStream]] = defaultdict(list)
    for stream in streams:
        parts[stream.unit, stream.table].append(stream)
    found = []
    for (unit, table), some in sorted(parts.items()):
        names, digest, nights = tuple(sorted(stream.name for stream in some)), 0, None
        for stream in some:
            digest, nights = added(digest, stream.digest), both_spans(nights, stream.nights)
        rows = sum(stream.row_count for stream in some)
        found.append(Choice(unit, table, Noted(run_id, names, rows, digest, nights, noted_at, committed=False)))
    return found


def both_spans(first: tuple[date, date] | None, second: tuple[date, date] | None) -> tuple[date, date] | None:
    """From the first night of two spans to the last."""
    if first is None or second is None:
        return first or second
    return min(first[0], second[0]), max(first[1], second[1])


def alike(own: Choice, noted: Iterable[Noted]) -> list[Noted]:
    """What was noted of the same rows."""
    return [each for each in noted if (each.row_count, each.digest) == (own.noted.row_count, own.noted.digest)]


def choose(own: Choice, noted: Iterable[Noted], alive: Collection[str]) -> Choice:
    """The streams that are to stand for a unit: of all that were ``noted`` of the same rows the first, else the own.

    ``alive`` are the streams that can still be committed.
    """
    usable = [each for each in alike(own, noted) if each.committed or set(each.streams) <= set(alive)]
    if not usable:
        return own
    # What is committed cannot be taken back; else the first, whoever asks, so that two runs choose alike.
    return replace(own, noted=min(usable, key=lambda each: (not each.committed, each.noted_at, each.run_id)))
