"""Filters asked about alerts that are in the warehouse: a new one about old nights, or one that was put aside.

    broker refilter --warehouse ./warehouse --filters ./filters --night 2026-11-01..07

Doing it again asks nothing again. Features and cross-matches are those that are stored. With ``--publish`` hits are sent, as
those of a run, and say that they are a replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from apache_beam.options.pipeline_options import PipelineOptions

from alerts.filters.errors import FilterError
from pipelines import account, behind, ingest, logs, remote, sources
from pipelines.errors import OptionsError
from pipelines.filters import read_filters
from pipelines.from_warehouse import check_warehouse, run_planned
from pipelines.help import help_text
from pipelines.job import Job
from pipelines.lists import lists_of
from pipelines.nights import nights
from pipelines.options import AgainOptions, BrokerOptions, parse
from pipelines.outlets import addresses_of, make_topics, outlets_of
from pipelines.status import DONE, FAILED
from transforms.files import absolute

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
    """The job, and what it asks."""

    job: Job
    questions: behind.FilterQuestions


def plan(options: PipelineOptions) -> Refilter:
    """What is to be done. Raises ``OptionsError``."""
    refilter, broker = options.view_as(AgainOptions), options.view_as(BrokerOptions)
    sources.check_nothing_named(broker, "a refilter reads the warehouse")
    first, last = nights(refilter.night)
    if broker.filters is None:
        raise OptionsError("--filters is missing: say in which folder the filters are")
    try:
        lists = lists_of(broker.watchlist, broker.sky_region, broker.radius_arcsec)
        filters = read_filters(absolute(broker.filters), broker.schemas, lists)
    except FilterError as error:
        raise OptionsError(f"--filters: {error}") from error
    outlets_of(broker, filters)
    check_warehouse(broker.warehouse, "alerts", lambda warehouse: warehouse.holds_tables() and bool(warehouse.surveys))
    job = Job.to_refilter(options, filters)
    if job.progress_folder is None:
        raise OptionsError("--runner is given, but a refilter runs on this machine, which reads the warehouse; leave it out")
    remote.check(job, options)
    questions = behind.questions_of(job, filters, replay=True)
    # What was made by an earlier version has no tables for what filters say.
    job.warehouse.prepare(sorted({facts.name for facts in job.warehouse.surveys}))
    wanted = questions.source.wanted(first, last, job.survey, again=refilter.again)
    make_topics(job.warehouse.uri, addresses_of(job.outlets, filters, filters.surveys))
    # Who runs from when is said of what comes in.
    return Refilter(replace(job, filters=None, filters_noted=True), replace(questions, wanted=wanted))


def _run(work: Refilter, options: PipelineOptions) -> int:
    if not work.questions.wanted:
        print(_NOTHING)
        # What an earlier one has left.
        ingest.send(work.job)
        return DONE
    counts = behind.ask(work.job, work.questions, options)
    print("\n".join([f"run {work.job.run_id}", *account.filter_lines(counts)]))
    for warning in account.warnings(counts):
        print(f"  warning: {warning.text}")
    account.log(counts)
    ingest.tidy(work.job)
    ingest.send(work.job)
    if problem := counts.problem(1.0):
        logs.failed("broker refilter", problem)
        return FAILED
    return DONE
