"""What an audit has found: counts, faults one by one with what to do, as text or JSON."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import Any, TextIO

from alerts.catalogs.spec import watchlist_name
from alerts.json_text import to_json
from audit.books import Books
from audit.compare import FAULTS, Rules
from audit.outbox import hits_told
from schemas.tables import FAILED, MATCHED, NO_MATCH

_WHAT = {
    "missing": "neither a row nor a dead letter",
    "altered": "the row is not of the packet that was sent",
    "doubled": "more rows than packets sent",
    "dead_lettered": "the packet can be read, but stands in dead_letters",
    "missing_letters": "a record that cannot be read, and no dead letter of it",
    "unexpected": "a row that the truth lacks",
    "without_cutouts": "fewer rows of cutouts than packets with stamps",
    "without_crossmatch": "no row of a catalog",
    "failed_crossmatch": "the catalog has not answered",
    "not_judged": "a filter was not asked about all alerts of its run",
    "wrong_verdicts": "rows of verdicts and the counts of a filter do not agree",
    "not_in_outbox": "hits that were to be sent, and are not in the outbox",
    "not_sent": "messages that wait in the outbox",
    "without_letter": "messages that were refused for good, without their dead letters",
    "not_in_manifest": "messages that were sent, and that no topic manifest tells of",
}
_ORDER = "kind, survey, night, alert_id, catalog, source, filter, topic"


@dataclass(frozen=True)
class CatalogStates:
    """Alerts by what is known from one catalog; ``without_row``: it was not asked."""

    matched: int
    no_match: int
    failed: int
    without_row: int


@dataclass(frozen=True)
class AuditCounts:
    """The numbers of an audit. An alert here is a content: a copy counts once, a conflict twice."""

    records: int
    """In the truth, unreadable ones among them."""
    copies: int
    """Records that say what another says."""
    expected: int
    present: int
    unreadable: int
    """Records that cannot become a row; each must have a dead letter."""
    dead_letters: Mapping[str, int]
    """By stage, the open letters that account for them."""
    faults: Mapping[str, int]
    """By kind, all of ``FAULTS``."""
    catalogs: Mapping[str, CatalogStates]
    off_the_sky: int
    """Present alerts that no catalog can be asked about."""
    information: Mapping[str, int]
    """What is no fault: see ``docs/audit.md``."""


@dataclass(frozen=True)
class Report:
    """The result of an audit, as long as its books are open."""

    books: Books
    rules: Rules
    truth: str
    warehouse: str
    nights: tuple[date, date] | None
    skipped: int

    @property
    def accounted_for(self) -> bool:
        """Whether there is no fault."""
        return not any(self.counts.faults.values())

    @cached_property
    def counts(self) -> AuditCounts:
        """All numbers."""
        number = self.books.number
        records, expected = number("SELECT COUNT(*) FROM truth"), number("SELECT COUNT(*) FROM expected")
        unreadable = number("SELECT SUM(records) FROM unreadable")
        found = dict(self.books.rows("SELECT kind, COUNT(*) FROM faults GROUP BY kind"))
        letters = self.books.rows("SELECT stage, COUNT(*) FROM accounted GROUP BY stage ORDER BY stage")
        return AuditCounts(
            records=records + unreadable,
            copies=records - expected,
            expected=expected,
            present=number("SELECT COUNT(*) FROM present"),
            unreadable=unreadable,
            dead_letters={str(stage): int(count) for stage, count in letters},
            faults={kind: int(found.get(kind, 0)) for kind in FAULTS},
            catalogs=self._catalogs(),
            off_the_sky=number("SELECT COUNT(*) FROM present WHERE NOT on_sky"),
            information=self._information(),
        )

    def _catalogs(self) -> dict[str, CatalogStates]:
        states: dict[str, dict[str, int]] = {}
        for catalog, status, count in self.books.rows("SELECT catalog, status, COUNT(*) FROM asked GROUP BY ALL ORDER BY 1"):
            states.setdefault(str(catalog), {})[status or ""] = int(count)
        return {
            catalog: CatalogStates(*(found.get(status, 0) for status in (MATCHED, NO_MATCH, FAILED, "")))
            for catalog, found in states.items()
        }

    def _information(self) -> dict[str, int]:
        number = self.books.number
        own = "source IN (SELECT source FROM truth UNION ALL SELECT source FROM unreadable)"
        written = "" if not self.rules.cutouts else "WHERE survey NOT IN (SELECT survey FROM written)"
        found = {
            "inputs_skipped": self.skipped,
            "rows_again": 0 if self.rules.replaces else number("SELECT SUM(number - sent) FROM repeated"),
            "rows_of_messages_again": number(
                "SELECT COUNT(*) - COUNT(DISTINCT (survey, alert_id, packet_digest, schema_version, source)) FROM rows "
                "WHERE NOT from_file"
            ),
            "rows_from_elsewhere": number(
                f"SELECT COUNT(*) FROM rows SEMI JOIN present USING (survey, alert_id) WHERE NOT ({own})"
            )
            if self.rules.knows_sources
            else 0,
            "letters_replayed": number("SELECT COUNT(DISTINCT source) FROM replayed"),
            "letters_beside_rows": number(f"SELECT COUNT(*) FROM unused WHERE {own}"),
            "cutouts_not_written": number(f"SELECT COUNT(*) FROM present {written}"),
            **hits_told(self.books),
        }
        return {name: count for name, count in found.items() if count}

    def faults(self, kind: str, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The faults of a kind, in order of night and id, each with ``remedy``: what mends it."""
        limit = "" if most is None else f"LIMIT {int(most)}"
        sql = f"SELECT * EXCLUDE (kind) FROM faults WHERE kind = '{kind}' ORDER BY {_ORDER} {limit}"
        for fault in self.books.records(sql):
            for name in ("expected_digest", "found_digest"):
                if name in fault:
                    fault[name] = fault[name].hex()
            yield {**fault, "remedy": self._remedy(kind, fault)}

    def letters(self, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The dead letters that account for what cannot be read."""
        limit = "" if most is None else f"LIMIT {int(most)}"
        return self.books.records(f"SELECT * FROM accounted ORDER BY stage, error_type, source {limit}")

    def _remedy(self, kind: str, fault: Mapping[str, Any]) -> str:
        source = str(fault.get("source", ""))
        place = f"--warehouse {shlex.quote(self.warehouse)}"
        file = source.partition("#")[0]
        # A message id is no file.
        again = f"broker ingest {place} --input " + (shlex.quote(file) if "/" in file else "... (what holds this packet)")
        night = f"--night {fault['night']}" if "night" in fault else ""
        if kind in ("missing", "missing_letters", "without_cutouts"):
            return again
        if kind == "dead_lettered":
            return again if fault.get("stage") == "write" else f"broker replay {place} --stage {fault.get('stage')}"
        if kind == "without_crossmatch":
            listed = watchlist_name(fault["catalog"])
            return f"broker rematch {place} {night} " + (
                f"--watchlist {listed}=FILE" if listed else f"--crossmatch '{fault['catalog']}'"
            )
        if kind == "failed_crossmatch":
            return f"broker rematch {place} {night}"
        if kind in ("not_judged", "wrong_verdicts"):
            return f"broker refilter {place} {night} --filters FOLDER"
        if kind == "not_sent":
            return f"broker publish --outbox {place}"
        if kind in ("not_in_outbox", "without_letter", "not_in_manifest"):
            return "report it: no command does this"
        if kind == "unexpected":
            return f"see whether the truth is whole; if it is: {self._delete(fault)}"
        return again if self.rules.replaces else f"{self._delete(fault)}, then {again}"

    def _delete(self, fault: Mapping[str, Any]) -> str:
        if self.rules.replaces:
            return "broker ingest of its input replaces all rows of it"
        digest = f" AND packet_digest = FROM_HEX('{fault['found_digest']}')" if "found_digest" in fault else ""
        return f"DELETE FROM {fault['survey']}_alerts WHERE night = '{fault['night']}' AND alert_id = {fault['alert_id']}{digest}"

    def write_json(self, out: TextIO) -> None:
        """All of it, every fault too; ids above 2^53 are strings, as in every JSON of the broker."""
        counts = asdict(self.counts)
        head = {
            "truth": self.truth,
            "warehouse": self.warehouse,
            "nights": [str(night) for night in self.nights] if self.nights else None,
            "accounted_for": self.accounted_for,
            "unexpected_judged": self.judges_unexpected,
            "counts": counts,
        }
        out.write("{")
        for name, value in head.items():
            out.write(f"{json.dumps(name)}: {to_json(value)},\n")
        out.write('"dead_letters": ')
        _write_list(self.letters(), out)
        out.write(',\n"faults": {')
        for place, kind in enumerate(FAULTS):
            out.write(f"{',' if place else ''}\n{json.dumps(kind)}: ")
            _write_list(self.faults(kind), out)
        out.write("}}\n")

    @property
    def judges_unexpected(self) -> bool:
        """Whether it can be told what the warehouse has beyond the truth."""
        return self.rules.whole_nights or self.rules.knows_sources

    def text(self, show: int) -> str:
        """For a person: the counts, and up to ``show`` faults of each kind."""
        counts = self.counts
        nights = "" if self.nights is None else f", nights {self.nights[0]} to {self.nights[1]}"
        lines = [f"audit of {self.warehouse} against {self.truth}{nights}"]
        lines += [
            _line("records in the truth", counts.records, f"{counts.copies:,} copies, {counts.unreadable:,} that cannot be read"),
            _line("alerts expected", counts.expected),
            _line("alerts present", counts.present),
            _line("dead letters", sum(counts.dead_letters.values()), "of what cannot be read"),
            *(_line(f"  {stage}", number) for stage, number in counts.dead_letters.items()),
        ]
        lines += [_line(kind.replace("_", " "), number, _WHAT[kind]) for kind, number in counts.faults.items()]
        if not self.judges_unexpected:
            lines.append("  (what the warehouse has beyond the list of ids is not judged without --night)")
        for catalog, states in counts.catalogs.items():
            told = ", ".join(f"{number:,} {state.replace('_', ' ')}" for state, number in asdict(states).items())
            lines.append(f"  cross-match {catalog}: {told}")
        if not counts.catalogs:
            lines.append("  cross-match: no catalog has been asked about these alerts, and none was named by --crossmatch")
        if counts.off_the_sky:
            lines.append(_line("off the sky", counts.off_the_sky, "no catalog can be asked about them"))
        lines += [f"  for information: {number:,} {name.replace('_', ' ')}" for name, number in counts.information.items()]
        for kind, number in counts.faults.items():
            if number and show:
                lines += ["", f"{kind.replace('_', ' ')}: {_WHAT[kind]}"]
                lines += [_fault_line(fault) for fault in self.faults(kind, show)]
                lines += [f"  ... and {number - show:,} more (--show, or --format json)"] if number > show else []
        if counts.dead_letters and show:
            lines += ["", "dead letters: what cannot be read, and why"]
            lines += [_letter_line(letter) for letter in self.letters(show)]
            more = sum(counts.dead_letters.values()) - show
            lines += [f"  ... and {more:,} more (--show, or --format json)"] if more > 0 else []
        lines += ["", "all is accounted for" if self.accounted_for else "NOT all is accounted for"]
        return "\n".join(lines)


def _line(what: str, number: int, more: str = "") -> str:
    return f"  {what:<22} {number:>12,}" + (f"   {more}" if more and number else "")


def _fault_line(fault: Mapping[str, Any]) -> str:
    named = [f"{fault['survey']} {fault['alert_id']}"] if "alert_id" in fault else []
    if "filter" in fault:
        named.append(f"{fault['survey']} {fault['night']}, filter {fault['filter']}")
    if "catalog" in fault:
        named.append(f"{fault['catalog']}")
    if "topic" in fault:
        named.append(f"{fault['topic']}, messages: {fault['number']:,}")
    elif "number" in fault:
        named.append(f"rows: {fault['number']}" + (f", sent: {fault['sent']}" if "sent" in fault else ""))
    if "found_digest" in fault and "expected_digest" in fault:
        named.append(f"digest {fault['found_digest']}, the packet's is {fault['expected_digest']}")
    if "stage" in fault:
        named.append(f"{fault['stage']}, {fault['error_type']}")
    named += [str(fault[name]) for name in ("source", "message") if name in fault]
    return f"  {'; '.join(named)}\n      -> {fault['remedy']}"


def _letter_line(letter: Mapping[str, Any]) -> str:
    return f"  {letter['stage']}, {letter['error_type']}; {letter['source']}; {letter['message']}"


def _write_list(records: Iterator[Mapping[str, Any]], out: TextIO) -> None:
    out.write("[")
    for place, record in enumerate(records):
        out.write(f"{',' if place else ''}\n{to_json(record)}")
    out.write("]")
