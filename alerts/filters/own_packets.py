"""A filter's own packets: beside ``NAME.sql`` those in ``NAME/passes/`` must pass it, and those in ``NAME/rejects/`` must not.

They are decoded as the pipeline does, and judged with their features. What catalogs know at their places is not known here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from alerts.avro.archives import is_alert_name
from alerts.avro.decode import decode
from alerts.avro.inputs import in_batches, read_input
from alerts.avro.layout import Projection
from alerts.avro.packets import Packet
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from alerts.features.table import rows_of
from alerts.filters.findings import Finding
from alerts.filters.inputs import BESIDE, LISTS, used_fields
from alerts.filters.judge import judge
from alerts.filters.steps import Steps
from alerts.filters.terms import FAILED, Terms, ToldTerm, that_decides
from alerts.filters.tree import Query
from alerts.lists.columns import AskedLists, ListColumns
from alerts.lists.own_lists import NO_OWN_LISTS, Opener, OwnLists
from alerts.surveys import Survey, survey

PASSES, REJECTS = "passes", "rejects"
_AT_ONCE, _MOST_BYTES = 256, 32 * 2**20
_MOST_TOLD = 20
"""Findings of one folder: whoever has turned a sign round need not read a thousand."""
_UNKNOWN_HERE = tuple(name for name in BESIDE if name not in ("features", *LISTS))


def _on_disk(path: str) -> BinaryIO:
    """The bytes of a file. Of our own, since what reads catalogs brings astropy, which most runs have no use for."""
    return Path(path).open("rb")


@dataclass(frozen=True)
class OwnPackets:
    """What became of a filter's own packets."""

    findings: list[Finding]
    """What is wrong, each with the packet's file below the filter's folder, and the term of the filter that decided."""
    passes: int = 0
    """Packets that must pass, and do."""
    rejects: int = 0
    """Packets that must not pass, and do not."""


def judge_own_packets(
    folder: Path,
    queries: Mapping[str, Query],
    lists: OwnLists = NO_OWN_LISTS,
    opener: Opener = _on_disk,
    wire_schemas: WireSchemas | None = None,
) -> OwnPackets:
    """Judge the packets in ``passes/`` and ``rejects/`` of a folder by a filter, which is parsed for each of its surveys.

    ``queries``: by the names of the surveys. ``lists``: what they may ask about, whose files ``opener`` opens. ``wire_schemas``:
    of messages without their schema, where others than those that are known. A folder that is not there asks nothing; one that is
    there and holds no packet is a warning. Raises ``OSError``.
    """
    findings, kept = list[Finding](), dict[str, int]()
    known = wire_schemas or WireSchemas()
    asked = {
        name: _Asked(query, ListColumns(AskedLists.of(lists, used_fields([query])), survey(name), opener))
        for name, query in queries.items()
    }
    for name in (PASSES, REJECTS):
        place = folder / name
        if not place.is_dir():
            continue
        found, seen = list[Finding](), 0
        for judged in _judged(place, name, asked, known):
            seen += 1
            found += [judged] if judged is not None else []
        if not seen:
            found.append(Finding(f"{folder.name}/{name} is there and holds no packets", None))
        kept[name] = seen - len(found)
        findings += found[:_MOST_TOLD]
        if len(found) > _MOST_TOLD:
            findings.append(Finding(f"so are {len(found) - _MOST_TOLD:,} others of {folder.name}/{name}", None, is_error=True))
    return OwnPackets(findings, kept.get(PASSES, 0), kept.get(REJECTS, 0))


@dataclass(frozen=True)
class _Asked:
    """A filter of one survey's alerts, and what lists say of these."""

    query: Query
    lists: ListColumns


def _judged(place: Path, name: str, asked: Mapping[str, _Asked], known: WireSchemas) -> Iterator[Finding | None]:
    """For each packet of a folder what is wrong with it, or None."""
    unreadable = list[DeadLetter]()
    packets = _packets(place, known, unreadable)
    for batch in in_batches(packets, _AT_ONCE, _MOST_BYTES):
        decoded = decode(batch, want=Projection(stamps=False))
        for letter in decoded.failures:
            yield _undecodable(letter)
        for survey_name, rows in decoded.rows.items():
            if survey_name in asked:
                yield from _verdicts(rows, name, survey(survey_name), asked[survey_name])
            else:
                told = f"is of {survey_name}, and the filter is of {', '.join(asked)}"
                yield from (Finding(f"{_named(rows, row)} {told}", None, is_error=True) for row in range(rows.num_rows))
    yield from map(_undecodable, unreadable)


def _packets(place: Path, known: WireSchemas, unreadable: list[DeadLetter]) -> Iterator[Packet]:
    """The packets of a folder, by the names of their files; what is none goes into ``unreadable``."""
    for path in sorted(path for path in place.rglob("*") if path.is_file() and is_alert_name(path.name)):
        with path.open("rb") as file:
            for item in read_input(file, str(path.relative_to(place.parent.parent)), known):
                if isinstance(item, Packet):
                    yield item
                elif isinstance(item, DeadLetter):
                    unreadable.append(item)


def _undecodable(letter: DeadLetter) -> Finding:
    return Finding(f"{letter.source} cannot be decoded: {letter.message}", None, is_error=True)


def _verdicts(rows: pa.RecordBatch, name: str, facts: Survey, asked: _Asked) -> Iterator[Finding | None]:
    """What is wrong with each row, or None."""
    made = rows_of(rows, facts, "")
    alerts = rows if made is None else rows.append_column("features", made.rows.column("features"))
    told = asked.lists.add(alerts)
    if told.problems:
        yield from (Finding(why, None, is_error=True) for why in dict.fromkeys(told.problems.values()))
        return
    alerts, query = told.alerts, asked.query
    judged, terms = judge(alerts, Steps({"": query}))[""], Terms(query)
    for row in range(rows.num_rows):
        if bool(judged.passed[row]) == (name == PASSES) and row not in judged.failures:
            yield None
            continue
        yield _wrong(_named(rows, row), name, terms.told(alerts.slice(row, 1)), used_fields([query]))


def _wrong(packet: str, name: str, told: Sequence[ToldTerm], used: Collection[str]) -> Finding:
    """A packet that must pass and does not, or the other way round, with the term that decided."""
    number = that_decides(told)
    if number is None:
        why = "; ".join(term.why for term in told if term.why)
        return Finding(f"{packet} must not pass, and does: {why}", told[0].term.at, is_error=True)
    term = told[number]
    must = "must pass" if name == PASSES else "must not pass"
    # One that fails has no verdict, whichever folder it is in.
    does = "fails" if term.answer == FAILED else "does not"
    unknown = [each for each in _UNKNOWN_HERE if each in used]
    more = f"; of a packet by itself {' and '.join(unknown)} are not known" * bool(unknown)
    return Finding(f"{packet} {must}, and {does}: {term.sentence}{more}", term.term.at, is_error=True)


def _named(rows: pa.RecordBatch, row: int) -> str:
    """The packet's file, and which of its alerts it is."""
    return f"{rows.column('source')[row].as_py()} (alert {rows.column('alert_id')[row].as_py()})"
