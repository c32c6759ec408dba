"""The account of a batch run: what was read must be in the tables, row by row or letter by letter."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from typing import Any, NamedTuple

import pyarrow as pa
from google.cloud import bigquery

from alerts.json_text import to_json
from alerts.rows import json_rows
from pipelines.counts import SurveyCounts, count_bigquery, count_folder
from pipelines.job import Job
from schemas.tables import RUNS
from transforms import metrics
from transforms.files import create_file, rename
from transforms.parquet_files import TEMPORARY, open_parquet

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CatalogCounts:
    """Alerts by the state of their cross-match with one catalog, and what asking took."""

    matched: int = 0
    no_match: int = 0
    failed: int = 0
    calls: int = 0
    """Of the service; 0 of a file."""
    positions: int = 0
    """Asked in these calls."""
    unproven: int = 0
    """Of those without a match, the ones whose catalog has no canary that would tell a broken service."""
    cache_hits: int = 0
    """Alerts that needed no call."""
    call_milliseconds: int = 0
    """In calls, tries that failed among them."""


@dataclass(frozen=True)
class Summary:
    """The counts of one run. ``records_read`` is counted at the source, all rows in the tables that were written."""

    run_id: str
    started_at: datetime
    ended_at: datetime
    records_read: int
    inputs_skipped: int
    surveys: Mapping[str, SurveyCounts]
    dead_letters: Mapping[str, int]
    """By stage."""
    unknown_fields: Mapping[str, int] = field(default_factory=dict)
    """``survey: dotted path`` to the number of alerts whose ``extra`` holds the field."""
    off_the_sky: Mapping[str, int] = field(default_factory=dict)
    """By survey, the alerts whose position is no place on the sky."""
    catalogs: Mapping[str, CatalogCounts] = field(default_factory=dict)
    """By catalog, what became of the question about each alert."""
    others: tuple[str, ...] = ()
    """Ids of other runs that have written rows of the same inputs meanwhile."""
    letters_again: int = 0
    """See ``Counts``."""

    @property
    def again(self) -> int:
        """Rows that BigQuery took twice."""
        return self.letters_again + sum(one.again for one in self.surveys.values())

    @property
    def alerts(self) -> int:
        """Rows of all alerts tables."""
        return sum(one.alerts for one in self.surveys.values())

    @property
    def letters(self) -> int:
        """Rows of ``dead_letters``."""
        return sum(self.dead_letters.values())

    def problem(self, max_dead_letters: float) -> str | None:
        """Why the run must be called failed; None if it need not."""
        if self.others:
            return f"run {self.others[0]} has written rows of the same inputs at the same time; run the same command again, alone"
        # A row that was taken twice is no loss; but copies within one file cannot be told from such rows.
        if self.records_read not in (self.alerts + self.letters, self.alerts + self.letters - self.again):
            return (
                f"the account does not balance: {self.records_read} records read, {self.alerts} alerts and "
                f"{self.letters} dead letters written; run the same command again and report this if it stays"
            )
        fraction = self.letters / self.records_read if self.records_read else 0.0
        if fraction > max_dead_letters:
            return f"{fraction:.1%} of the records are dead letters, more than --max_dead_letters allows ({max_dead_letters:.1%})"
        return None

    def nothing(self) -> str | None:
        """Why a run that succeeded has brought nothing; None if it has brought alerts."""
        if self.alerts:
            return None
        if self.letters:
            first = max(self.dead_letters, key=lambda stage: self.dead_letters[stage])
            return (
                f"{self.letters:,} of {self.letters:,} records read are dead letters, most of stage {first}; see why with: "
                'broker query "SELECT error_type, message, count(*) FROM dead_letters_open GROUP BY ALL"'
            )
        skipped = f": the {self.inputs_skipped:,} files are no alerts by their names" if self.inputs_skipped else ""
        return f"nothing was read{skipped}; give files of alert packets (.avro, .tar, .tar.gz)"


def count(job: Job, totals: metrics.Totals) -> Summary:
    """The summary of a run that has ended, from its metrics and from the tables it wrote."""
    if job.folder is None:
        sink = job.write
        counts = count_bigquery(sink.project, sink.dataset, job.run_id, sink.surveys)
    else:
        # Of a run that read only some of its inputs, rows of earlier runs stand in the others rightly.
        counts = count_folder(job.folder, job.run_id, job.units if job.write.reads_all else ())
    return Summary(
        run_id=job.run_id,
        started_at=job.started_at,
        ended_at=datetime.now(timezone.utc),
        records_read=totals.total(metrics.RECORDS_READ),
        inputs_skipped=totals.total(metrics.INPUTS_SKIPPED) + len(job.skipped),
        surveys=counts.surveys,
        dead_letters=counts.dead_letters,
        unknown_fields=totals.by_label(metrics.UNKNOWN_FIELD),
        off_the_sky=totals.by_label(metrics.OFF_THE_SKY),
        catalogs=_catalogs(totals),
        others=counts.others,
        letters_again=counts.letters_again,
    )


def _catalogs(totals: metrics.Totals) -> dict[str, CatalogCounts]:
    by_catalog: dict[str, dict[str, int]] = {}
    for what, metric in (
        ("matched", metrics.MATCHED),
        ("no_match", metrics.NO_MATCH),
        ("failed", metrics.FAILED),
        ("unproven", metrics.UNPROVEN),
        ("cache_hits", metrics.CACHE_HITS),
    ):
        for catalog, number in totals.by_label(metric).items():
            by_catalog.setdefault(catalog, {})[what] = number
    for catalog, spread in totals.spreads(metrics.CALL_POSITIONS).items():
        by_catalog.setdefault(catalog, {})["positions"] = spread.sum
    for catalog, spread in totals.spreads(metrics.CALL_MS).items():
        by_catalog.setdefault(catalog, {}).update(calls=spread.count, call_milliseconds=spread.sum)
    return {catalog: CatalogCounts(**by_catalog[catalog]) for catalog in sorted(by_catalog)}


def write_run(job: Job, summary: Summary, failed: bool) -> None:
    """Add the run to the ``runs`` table."""
    row: dict[str, Any] = {
        "run_id": job.run_id,
        "version": metadata.version("pitt-broker"),
        "options": to_json(job.options),
        "status": "failed" if failed else "done",
        "started_at": summary.started_at,
        "ended_at": summary.ended_at,
        "records_read": summary.records_read,
        "inputs_skipped": summary.inputs_skipped,
        "alerts_written": summary.alerts,
        "copies": sum(one.copies for one in summary.surveys.values()),
        "conflicts": sum(one.conflicts for one in summary.surveys.values()),
        "dead_letters": summary.letters,
        "counts": to_json(_details(summary)),
    }
    rows = pa.RecordBatch.from_pylist([row], schema=RUNS.arrow_schema)
    if job.folder is None:
        insert_run(job.write.project, job.write.dataset, rows)
        return
    temporary = f"{job.folder}/{TEMPORARY}/{job.run_id}.parquet"
    with create_file(temporary) as file, open_parquet(file, RUNS.arrow_schema) as writer:
        writer.write_batch(rows)
    rename([(temporary, f"{job.folder}/runs/{job.run_id}.parquet")])


def _details(summary: Summary) -> dict[str, Any]:
    return {
        "surveys": {name: vars(counts) for name, counts in summary.surveys.items()},
        "dead_letters": summary.dead_letters,
        "unknown_fields": summary.unknown_fields,
        "off_the_sky": summary.off_the_sky,
        "catalogs": {name: vars(counts) for name, counts in summary.catalogs.items()},
    }


def insert_run(project: str, dataset: str, rows: pa.RecordBatch) -> None:
    """Add a row to the ``runs`` table of a BigQuery dataset. Raises ``RuntimeError`` where BigQuery refuses it."""
    with bigquery.Client(project=project) as client:
        errors = client.insert_rows_json(f"{project}.{dataset}.{RUNS.name}", json_rows(rows))
    if errors:
        raise RuntimeError(f"BigQuery refuses the row for the runs table: {errors}")


def text(summary: Summary) -> str:
    """The summary for a person to read."""
    seconds = (summary.ended_at - summary.started_at).total_seconds()
    lines = [
        f"run {summary.run_id}",
        f"  records read     {summary.records_read:>10,}" + _aside(summary.inputs_skipped, "inputs that are no alerts skipped"),
        f"  alerts written   {summary.alerts:>10,}",
    ]
    for name, counts in summary.surveys.items():
        lines.append(
            f"    {name:<14} {counts.alerts:>10,}, of them {counts.copies:,} copies and {counts.conflicts:,} conflicts;"
            f" observed to ingested {_duration(counts.latency_median_secs)} (median), {_duration(counts.latency_p95_secs)} (p95)"
        )
    lines.append(f"  dead letters     {summary.letters:>10,}")
    lines += [f"    {stage:<14} {number:>10,}" for stage, number in summary.dead_letters.items()]
    lines += crossmatch_lines(summary)
    lines.append(f"  seconds          {seconds:>10.1f}")
    return "\n".join(lines + [f"  warning: {warning.text}" for warning in warnings(summary)])


def log(summary: Summary) -> None:
    """The summary for who reads logs: each warning, and the counts."""
    for warning in warnings(summary):
        _LOG.warning("%s", warning.text, extra={**warning.about, "in_account": True})
    account = {
        "records_read": summary.records_read,
        "inputs_skipped": summary.inputs_skipped,
        "alerts_written": summary.alerts,
        "seconds": round((summary.ended_at - summary.started_at).total_seconds(), 1),
        **_details(summary),
    }
    _LOG.info("the run has ended", extra={"account": account})


def crossmatch_lines(summary: Summary) -> list[str]:
    """What became of the cross-matches, a line per catalog."""
    lines = ["  cross-matches"] if summary.catalogs else []
    for name, counts in summary.catalogs.items():
        line = f"    {name:<24} {counts.matched:,} matched, {counts.no_match:,} no match, {counts.failed:,} failed"
        if counts.calls or counts.cache_hits:
            seconds = counts.call_milliseconds / 1000
            line += f"; {counts.calls:,} calls in {seconds:.1f} s with {counts.positions:,} positions"
            line += f", {counts.cache_hits:,} alerts from the cache"
        lines.append(line)
    return lines


class Warned(NamedTuple):
    """A sentence, and what it is about: survey, catalog, stage."""

    text: str
    about: dict[str, str]


def warnings(summary: Summary) -> list[Warned]:
    """What an operator should know, one sentence each."""
    found = [
        Warned(
            f"{number:,} {survey} alerts have a position that is no place on the sky; their healpix29 is NULL",
            {"stage": "decode", "survey": survey},
        )
        for survey, number in summary.off_the_sky.items()
    ]
    found += [
        Warned(
            f"{counts.conflicts:,} {name} packets came under an alert id that another packet of the run has, with other contents",
            {"stage": "write", "survey": name},
        )
        for name, counts in summary.surveys.items()
        if counts.conflicts
    ]
    found += [
        Warned(
            f"{counts.failed:,} alerts have no answer from {name} (crossmatches.error says why); ask again with: broker rematch",
            {"stage": "crossmatch", "catalog": name},
        )
        for name, counts in summary.catalogs.items()
        if counts.failed
    ]
    found += [
        Warned(
            f"{name} has no canary: that nothing is at {counts.unproven:,} alerts is only the service's word; "
            f"say where it has a source: {name}?canary=RA,DEC",
            {"stage": "crossmatch", "catalog": name},
        )
        for name, counts in summary.catalogs.items()
        if counts.unproven
    ]
    if summary.records_read != summary.alerts + summary.letters and summary.again:
        text = f"{summary.again:,} rows are in the tables twice, as BigQuery took them twice; the _unique views show one"
        found.append(Warned(text, {"stage": "write"}))
    if summary.unknown_fields:
        shown = [f"{name} ({number:,})" for name, number in summary.unknown_fields.items()]
        more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
        text = f"fields that no known schema version has went into extra: {', '.join(shown[:12])}{more}"
        found.append(Warned(text, {"stage": "decode"}))
    return found


def _aside(number: int, what: str) -> str:
    return f"   ({number:,} {what})" if number else ""


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
