"""The account of a batch run: what was read must be in the tables, row by row or letter by letter.

``pipelines.account`` says it, ``pipelines.runs_table`` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from typing import Any

from pipelines.job import Job
from transforms import metrics
from warehouses.counts import SurveyCounts, Wrote
from warehouses.filter_counts import FilterCounts, FilterOf, count_filters


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
    features_failed: Mapping[str, int] = field(default_factory=dict)
    """By survey, the alerts whose features are NULL since they could not be computed."""
    filters: Mapping[FilterOf, FilterCounts] = field(default_factory=dict)
    """By survey, filter and version, what it said of the alerts."""
    not_asked: Mapping[FilterOf, int] = field(default_factory=dict)
    """Of these filters and those that said nothing: alerts that they were not asked about, since they had taken too long."""
    withheld: Mapping[str, int] = field(default_factory=dict)
    """By address, hits that were not sent there, since not all of the alert is public."""
    without_packet: Mapping[str, int] = field(default_factory=dict)
    """By address, hits that are dead letters, since the warehouse does not have their packets."""
    decoded: Mapping[str, int] = field(default_factory=dict)
    """By survey, the alerts that filters were there for."""
    each_once: bool = True
    """Whether the tables hold each row once."""
    catalogs: Mapping[str, CatalogCounts] = field(default_factory=dict)
    """By catalog, what became of the question about each alert."""
    others: tuple[str, ...] = ()
    """Ids of other runs that have written rows of the same inputs meanwhile."""
    letters_again: int = 0
    """See ``RunCounts``."""
    earlier: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """See ``RunCounts``."""
    nights: Mapping[str, tuple[date, date]] = field(default_factory=dict)
    """By survey, the first and the last night of its alerts."""

    @property
    def again(self) -> int:
        """Rows that BigQuery took twice."""
        return self.letters_again + sum(survey.again for survey in self.surveys.values())

    @property
    def alerts(self) -> int:
        """Rows of all alerts tables."""
        return sum(survey.alerts for survey in self.surveys.values())

    @property
    def letters(self) -> int:
        """Rows of ``dead_letters``."""
        return sum(self.dead_letters.values())

    @property
    def details(self) -> dict[str, Any]:
        """The counts by survey, stage, field and catalog."""
        return {
            "surveys": {name: vars(counts) for name, counts in self.surveys.items()},
            "dead_letters": self.dead_letters,
            "unknown_fields": self.unknown_fields,
            "off_the_sky": self.off_the_sky,
            "features_failed": self.features_failed,
            "filters": [
                {**vars(key), **vars(counts), "not_asked": self.not_asked.get(key, 0)} for key, counts in self.filters.items()
            ],
            "withheld": dict(self.withheld),
            "without_packet": dict(self.without_packet),
            "catalogs": {name: vars(counts) for name, counts in self.catalogs.items()},
        }

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
        if wrong := self._problem_of_filters():
            return f"{wrong}; run the same command again and report this if it stays"
        fraction = self.letters / self.records_read if self.records_read else 0.0
        if fraction > max_dead_letters:
            return f"{fraction:.1%} of the records are dead letters, more than --max_dead_letters allows ({max_dead_letters:.1%})"
        return None

    def _problem_of_filters(self) -> str | None:
        for key, counts in self.filters.items():
            told = f"the account of filter {key.filter} does not balance: "
            if wrong := counts.problem(each_once=self.each_once):
                return told + wrong
            asked, not_asked = self.decoded.get(key.survey, 0), self.not_asked.get(key, 0)
            if counts.seen + not_asked != asked:
                return (
                    f"{told}of {asked:,} alerts of {key.survey} it has seen {counts.seen:,}, and was put aside for {not_asked:,}"
                )
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
    with job.warehouse as written:
        # Of a run that read only some of its inputs, rows of earlier runs stand in the others rightly, where they are replaced.
        units = job.sink.units if job.sink.reads_all or not written.replaces else ()
        counts = written.counts(job.run_id, units, Wrote(_nights(totals), job.started_at))
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
        features_failed=totals.by_label(metrics.FEATURES_FAILED),
        **_filters(job, totals, _nights(totals), totals.by_label(metrics.ALERTS_DECODED)),
        catalogs=_catalogs(totals),
        others=counts.others,
        letters_again=counts.letters_again,
        earlier=counts.earlier,
        nights=_nights(totals),
    )


def of_filters(
    job: Job, totals: metrics.Totals, nights: Mapping[str, tuple[date, date]], asked_about: Mapping[str, int]
) -> Summary:
    """The summary of a run that has asked filters about alerts that were there; by survey their nights, and how many they are."""
    ended_at = datetime.now(timezone.utc)
    return Summary(job.run_id, job.started_at, ended_at, 0, 0, {}, {}, **_filters(job, totals, nights, asked_about))


def _filters(
    job: Job, totals: metrics.Totals, nights: Mapping[str, tuple[date, date]], decoded: Mapping[str, int]
) -> dict[str, Any]:
    """What the filters of a run said, those among them of which nothing is in the tables."""
    if job.filters is None:
        return {}
    not_asked = totals.by_label(metrics.NOT_ASKED)
    asked = [FilterOf(survey, name, version) for (survey, name), version in job.filters.filters.versions.items()]
    with job.warehouse as written:
        found = count_filters(written, job.run_id, nights) if asked else {}
        each_once = written.replaces
    return {
        "filters": {key: found.get(key, FilterCounts()) for key in asked if decoded.get(key.survey)},
        "withheld": totals.by_label(metrics.WITHHELD),
        "without_packet": totals.by_label(metrics.WITHOUT_PACKET),
        "not_asked": {key: not_asked.get(f"{key.survey} {key.filter}", 0) for key in asked},
        "decoded": decoded,
        "each_once": each_once,
    }


def _nights(totals: metrics.Totals) -> dict[str, tuple[date, date]]:
    """The first and the last night of each survey's alerts, as they were decoded."""
    began = date(1970, 1, 1)
    return {
        survey: (began + timedelta(spread.min), began + timedelta(spread.max))
        for survey, spread in totals.spreads(metrics.NIGHTS).items()
    }


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
