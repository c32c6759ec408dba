"""Filters asked about alerts that are in the warehouse: a new one about old nights, or one that was put aside.

    broker refilter --warehouse ./warehouse --filters ./filters --night 2026-11-01..07

Doing it again asks nothing again. Features and cross-matches are those that are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from alerts.filters.errors import FilterError
from pipelines import account, ingest, logs, remote, runs_table, sources, summary
from pipelines.errors import OptionsError
from pipelines.filters import read_filters
from pipelines.from_warehouse import check_warehouse, run_planned
from pipelines.help import help_text
from pipelines.job import Job
from pipelines.nights import nights
from pipelines.options import AgainOptions, BrokerOptions, parse
from pipelines.status import DONE, FAILED
from transforms.files import absolute
from transforms.filters import JudgeAlerts
from transforms.metrics import READ_AGAIN, totals
from transforms.read_rows import ReadRows
from transforms.write_tables import WriteTables
from warehouses.unfiltered import NightToAsk, Unfiltered

_NOTHING = "there is nothing to ask: the filters have been asked about every alert"


def run(argv: Sequence[str]) -> int:
    """Run one refilter with these command-line arguments; gives the exit status."""
    if "--help" in argv or "-h" in argv:
        print(help_text("broker refilter"))
        return DONE
    with logs.to_stderr(logs.form_of(argv)):
        return _from_argv(argv)


def _from_argv(argv: Sequence[str]) -> int:
    def planned() -> tuple[Job, Callable[[], int]]:
        options = parse(argv, "broker refilter")
        work = plan(options)
        return work.job, lambda: _run(work, options)

    return run_planned("broker refilter", planned)


@dataclass(frozen=True)
class Refilter:
    """The job, the filters, and the nights that they are asked about."""

    job: Job
    judge: JudgeAlerts
    source: Unfiltered
    wanted: list[NightToAsk]

    @property
    def nights(self) -> Mapping[str, tuple[date, date]]:
        """By survey, the first and the last."""
        by_survey: dict[str, list[date]] = {}
        for each in self.wanted:
            by_survey.setdefault(each.survey, []).append(each.night)
        return {name: (min(found), max(found)) for name, found in by_survey.items()}


def plan(options: PipelineOptions) -> Refilter:
    """What is to be done. Raises ``OptionsError``."""
    refilter, broker = options.view_as(AgainOptions), options.view_as(BrokerOptions)
    sources.check_nothing_named(broker, "a refilter reads the warehouse")
    first, last = nights(refilter.night)
    if broker.filters is None:
        raise OptionsError("--filters is missing: say in which folder the filters are")
    try:
        filters = read_filters(absolute(broker.filters), broker.schemas)
    except FilterError as error:
        raise OptionsError(f"--filters: {error}") from error
    check_warehouse(broker.warehouse, "alerts", lambda warehouse: warehouse.holds_tables() and bool(warehouse.surveys))
    job = Job.to_refilter(options, filters)
    if job.progress_folder is None:
        raise OptionsError("--runner is given, but a refilter runs on this machine, which reads the warehouse; leave it out")
    remote.check(job, options)
    assert job.filters is not None
    source = Unfiltered(job.sink.warehouse, filters)
    # What was made by an earlier version has no tables for what filters say.
    job.warehouse.prepare(sorted({facts.name for facts in job.warehouse.surveys}))
    wanted = source.wanted(first, last, job.survey, again=refilter.again)
    # Who runs from when is said of what comes in.
    return Refilter(replace(job, filters=None), job.filters, source, wanted)


def _run(work: Refilter, options: PipelineOptions) -> int:
    if not work.wanted:
        print(_NOTHING)
        return DONE

    def build(pipeline: beam.Pipeline, job: Job) -> None:
        alerts = pipeline | "Read" >> ReadRows(work.wanted, work.source)
        rows = alerts | "Filters" >> work.judge
        _ = rows | "Write" >> WriteTables(job.write, job.run_id)

    read = totals(ingest.run_to_its_end(work.job, options, build))
    counts = summary.of_filters(replace(work.job, filters=work.judge), read, work.nights, read.by_label(READ_AGAIN))
    problem = counts.problem(1.0)
    runs_table.write_run(work.job, counts, failed=problem is not None)
    print("\n".join([f"run {work.job.run_id}", *account.filter_lines(counts)]))
    for warning in account.warnings(counts):
        print(f"  warning: {warning.text}")
    account.log(counts)
    ingest.tidy(work.job)
    if problem:
        logs.failed("broker refilter", problem)
        return FAILED
    return DONE
