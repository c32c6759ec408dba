"""Is everything there, once, as it was sent? The truth (archives, ids, messages) against a warehouse, to the packet.

    with open_warehouse("./warehouse") as warehouse, audit(FilesTruth(["night.tar.gz"]), warehouse, Settings()) as report:
        report.accounted_for, report.counts.faults

What counts as a fault and what as information is told in ``docs/audit.md``.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import DeadLetter
from alerts.surveys import SURVEYS, Survey
from audit.books import Books, open_books
from audit.compare import (
    Rules,
    compare_contents,
    compare_cutouts,
    compare_filters,
    compare_matches,
    find_missing,
    find_unexpected,
    match_letters,
)
from audit.outbox import compare_outbox, write_outbox
from audit.packets import RECORDS, records_of
from audit.report import Report
from audit.truth import AuditError, Truth
from warehouses.audited import (
    ROWS_AT_ONCE,
    Nights,
    cutouts_sql,
    filter_counts_sql,
    letters_sql,
    matches_sql,
    nights_of_ids,
    payloads,
    rows_sql,
    runs_sql,
    verdicts_sql,
    wrongly_shown_sql,
)
from warehouses.letters import open_since
from warehouses.warehouse import Warehouse


@dataclass(frozen=True)
class Settings:
    """How to audit."""

    between: tuple[date, date] | None = None
    """The first and the last night; None: the nights of the truth."""
    survey: Survey | None = None
    """Take every packet as this survey's; None: each tells."""
    schemas: str | None = None
    """Where schemas of wire messages are, see ``WireSchemas``."""
    catalogs: tuple[str, ...] | None = None
    """Names of catalogs that every alert must have a row of; None: in each night those that any alert has a row of."""
    cutouts: bool = True
    """Whether cutouts are to be there at all."""
    look_into_cutouts: bool = False
    """Whether to see that each stamp is there, for which all stamps are read; else the rows are counted."""


@contextlib.contextmanager
def audit(
    truth: Truth, warehouse: Warehouse, settings: Settings, progress: Callable[[int], object] = lambda records: None
) -> Iterator[Report]:
    """The report, which can be asked as long as the context lasts. Raises ``AuditError``.

    ``progress`` is told how many records of the truth have been read since it was told last.
    """
    with open_books() as books:
        skipped = _write_truth(books, truth, settings, progress)
        nights = _nights(books, warehouse, settings)
        _write_warehouse(books, warehouse, nights, settings)
        rules = Rules(
            knows_sources=truth.knows_sources,
            knows_digests=truth.knows_digests,
            knows_versions=truth.knows_versions,
            whole_nights=settings.between is not None,
            replaces=warehouse.replaces,
            cutouts=settings.cutouts,
            look_into_cutouts=settings.look_into_cutouts,
            catalogs=settings.catalogs,
        )
        compare_contents(books, rules)
        match_letters(books, rules)
        _open_unused_letters(books, warehouse, rules, settings)
        find_missing(books)
        find_unexpected(books, rules)
        compare_cutouts(books, rules)
        compare_matches(books, rules)
        compare_filters(books, rules)
        write_outbox(books, warehouse, nights)
        compare_outbox(books, rules)
        yield Report(books, rules, truth=truth.name, warehouse=warehouse.uri, nights=settings.between, skipped=skipped)


def _write_truth(books: Books, truth: Truth, settings: Settings, progress: Callable[[int], object]) -> int:
    """The truth into the books, that of the nights; gives the number of inputs that are no alerts."""
    if truth.scopes:
        books.add(
            "scopes", pa.table({"origin": [scope.origin for scope in truth.scopes], "uri": [scope.uri for scope in truth.scopes]})
        )
    skipped = 0
    for part in truth.parts():
        for rows in part.records.rows:
            books.add("truth", rows, origin=part.origin)
        if part.records.unreadable:
            books.add("unreadable", _unreadable(part.records.unreadable), origin=part.origin)
        skipped += part.skipped
        progress(sum(rows.num_rows for rows in part.records.rows) + len(part.records.unreadable))
    if settings.between:
        books.run("DELETE FROM truth WHERE night < ? OR night > ?", settings.between)
    if truth.comes_once:
        for table in ("truth", "unreadable"):
            books.run(f"CREATE OR REPLACE TABLE {table} AS SELECT DISTINCT * FROM {table}")
    if not books.number("SELECT (SELECT COUNT(*) FROM truth) + (SELECT COUNT(*) FROM unreadable)"):
        raise AuditError(
            f"{truth.name} holds no record{' of these nights' if settings.between else ''}: nothing can be told by it"
        )
    return skipped


def _unreadable(letters: list[DeadLetter]) -> pa.Table:
    def md5(payload: bytes | None) -> str | None:
        # What both DuckDB and BigQuery can tell of a payload without giving it out.
        return None if payload is None else hashlib.md5(payload, usedforsecurity=False).hexdigest()

    return pa.table(
        {
            "source": [letter.source for letter in letters],
            "payload_md5": pa.array([md5(letter.payload) for letter in letters], pa.string()),
            "stage": [letter.stage for letter in letters],
            "error_type": [letter.error_type for letter in letters],
            "message": [letter.message for letter in letters],
            "records": pa.array([int(letter.attributes.get("records_lost", 1)) for letter in letters], pa.int64()),
        }
    )


def _nights(books: Books, warehouse: Warehouse, settings: Settings) -> Nights:
    if settings.between:
        return Nights(*settings.between)
    each = {row[0] for row in books.rows("SELECT DISTINCT night FROM truth WHERE night IS NOT NULL")}
    # Ids do not tell their nights; those of about the same time are about as large.
    of_ids = "SELECT survey, MIN(alert_id), MAX(alert_id) FROM truth WHERE night IS NULL GROUP BY survey ORDER BY 1"
    ids = books.rows(of_ids)
    for survey, first, last in ids:
        each.update(nights_of_ids(warehouse, survey, first, last))
    # Where nothing in the truth can be read, its alerts may stand in any night.
    return Nights(each=tuple(sorted(each)) if each or ids else None)


def _write_warehouse(books: Books, warehouse: Warehouse, nights: Nights, settings: Settings) -> None:
    """What the warehouse has of the truth's surveys in these nights, into the books."""
    known = [str(row[0]) for row in books.rows("SELECT DISTINCT survey FROM truth ORDER BY 1")]
    queries: list[tuple[str, str, dict[str, Any]]] = []
    # Where nothing in the truth can be read, a replay with other schemas may have made it alerts of any survey.
    for survey in known or SURVEYS:
        if f"{survey}_alerts" in warehouse.tables:
            queries.append(("rows", rows_sql(survey, nights), {}))
    for survey in known:
        if f"{survey}_alerts" in warehouse.tables and warehouse.shown_otherwise(survey):
            queries.append(("wrongly_shown", wrongly_shown_sql(survey, nights), {}))
        if settings.cutouts and f"{survey}_cutouts" in warehouse.tables:
            queries.append(("cutouts", cutouts_sql(warehouse, survey, nights, settings.look_into_cutouts), {}))
    if known and "crossmatches" in warehouse.tables:
        queries.append(("matches", matches_sql(warehouse, nights), {}))
    if known and "filter_counts" in warehouse.tables:
        queries.append(("filter_counts", filter_counts_sql(nights), {}))
        queries.append(("verdicts", verdicts_sql(nights), {}))
    if "dead_letters" in warehouse.tables and (since := open_since(warehouse)) is not None:
        queries.append(("letters", letters_sql(warehouse), {"since": since}))
    if "runs" in warehouse.tables:
        queries.append(("runs", runs_sql(warehouse), {}))
    for table, sql, values in queries:
        for batch in warehouse.ask(sql, values, rows_at_once=ROWS_AT_ONCE):
            books.add(table, batch)


def _open_unused_letters(books: Books, warehouse: Warehouse, rules: Rules, settings: Settings) -> None:
    """What is in the letters that nothing unreadable accounts for, where alerts are missing: they may lie there."""
    if not books.number("SELECT COUNT(*) FROM absent"):
        return
    wanted = {str(row[0]) for row in books.rows("SELECT letter FROM unused WHERE payload_md5 IS NOT NULL AND letter IS NOT NULL")}
    if not wanted:
        return
    wire_schemas = WireSchemas(settings.schemas)
    names = ["survey", "alert_id"] + ["packet_digest"] * rules.knows_digests + ["schema_version"] * rules.knows_versions
    for batch in payloads(warehouse, wanted):
        found = []
        for letter in batch.to_pylist():
            kept = _refused_row(letter) if letter["stage"] == "write" else _kept(letter, wire_schemas, settings.survey)
            if kept is not None:
                found.append(
                    kept.select(names).append_column("letter", pa.array([letter["letter"]] * kept.num_rows, pa.string()))
                )
        if found:
            books.add("kept", pa.concat_tables(found))


def _kept(letter: dict[str, Any], wire_schemas: WireSchemas, survey: Survey | None) -> pa.Table | None:
    """The records (``RECORDS``) in a letter's payload that can be read now."""
    packets = [
        open_packet
        for open_packet in open_packets(letter["payload"], letter["source"], wire_schemas)
        if isinstance(open_packet, Packet)
    ]
    rows = records_of(packets, survey).rows if packets else []
    return pa.Table.from_batches(rows, RECORDS) if rows else None


def _refused_row(letter: dict[str, Any]) -> pa.Table | None:
    """The alert in a row that BigQuery refused, whose JSON is the payload."""
    try:
        row = json.loads(letter["payload"])
        values = {
            "survey": [str(row["survey"])],
            "alert_id": pa.array([int(row["alert_id"])], pa.int64()),
            "packet_digest": pa.array([base64.b64decode(row["packet_digest"])], pa.binary()),
            "schema_version": pa.array([row.get("schema_version")], pa.string()),
        }
    except (ValueError, KeyError, TypeError):  # a row of another table
        return None
    return pa.table(values)
