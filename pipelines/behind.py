"""Filters that ask what catalogs have answered: asked behind a run, when these have, about the alerts that it has written.

All other filters are asked as the alerts come in, and never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import warehouses
from alerts.filters.filter_set import FilterSet
from pipelines import ingest, logs, runs_table, summary
from pipelines.job import Job
from pipelines.outlets import columns_to_send
from streams.outlets import EVERY_ALERT
from transforms.filters import JudgeAlerts
from transforms.hits import Hits
from transforms.metrics import READ_AGAIN, totals
from transforms.read_rows import ReadRows
from transforms.together import AtTheEnd
from transforms.write_tables import WriteTables
from warehouses.rebuilt_packets import RebuiltPackets
from warehouses.unfiltered import NightToAsk, Unfiltered


@dataclass(frozen=True)
class FilterQuestions:
    """Filters, and alerts of a warehouse to ask them about."""

    judge: JudgeAlerts
    source: Unfiltered
    wanted: Sequence[NightToAsk]


def ask_behind(
    job: Job, filters: FilterSet, runs: Mapping[tuple[str, date], Sequence[str]], options: PipelineOptions
) -> summary.Summary | None:
    """Ask filters about the alerts that runs have written; ``runs``: their ids by survey and night.

    ``job`` is whose account it belongs to: what is written has its id with ``-behind``, and a row of ``runs`` of its own. Gives
    the account of the filters; None where there was nothing to ask. Raises what a run does.
    """
    job = replace(job, run_id=f"{job.run_id}-behind", filters=None, beside=(), all_filters=None)
    questions = questions_of(job, filters, every=False)
    questions = replace(questions, wanted=questions.source.of_runs(runs))
    return ask(job, questions, options) if questions.wanted else None


def questions_of(job: Job, filters: FilterSet, *, replay: bool = False, every: bool = True) -> FilterQuestions:
    """Filters to ask about alerts of the job's warehouse, of none as yet.

    ``replay``: as ``Hits`` has it. ``every``: whether all of these are sent to whom wants the full stream.
    """
    outlets = tuple(outlet for outlet in job.outlets if every or not outlet.takes(EVERY_ALERT))
    hits = Hits(outlets, RebuiltPackets(job.sink.warehouse), replay)
    judge = JudgeAlerts(filters, job.run_id, AtTheEnd(), job.max_filter_us, hits)
    return FilterQuestions(judge, Unfiltered(job.sink.warehouse, filters, columns_to_send(job.outlets, filters)), ())


def runs_since(night: tuple[str, date], judged: str, uri: str) -> list[str]:
    """The ids of runs that have written alerts of a survey's night and come after ``judged``, in order. Raises ``QueryError``."""
    sql = f"SELECT DISTINCT run_id FROM {night[0]}_alerts WHERE night = {{night}} AND run_id > {{judged}}"
    with warehouses.at(uri) as place:
        found = place.ask(sql, {"night": night[1], "judged": judged}).read().column("run_id").to_pylist()
    return sorted(map(str, found))


def ask_runs(
    night: tuple[str, date], runs: Sequence[str], options: PipelineOptions, read_filters: Callable[[], FilterSet | None]
) -> None:
    """Ask the filters that ask what catalogs have answered about alerts of a survey's night that rounds have written.

    Killed in the midst, whoever goes on asks again: what was said twice is shown once. Raises what a run does.
    """
    job = Job.of_round(options, comes_again=True, read_filters=read_filters)
    try:
        filters = job.filters_behind
        if filters is None or night[0] not in filters.surveys:
            return
        # As a stream writes, however its rounds do.
        job = replace(job, sink=replace(job.sink, method=job.warehouse.write_methods[-1]))
        with logs.of_run(job.run_id):
            counts = ask_behind(job, filters, {night: runs}, options)
            if counts is not None and (problem := counts.problem(1.0)):
                raise RuntimeError(problem)
            ingest.tidy(job, in_rounds=True)
    finally:
        job.clean_up()


def ask(job: Job, questions: FilterQuestions, options: PipelineOptions) -> summary.Summary:
    """Ask filters about alerts of a warehouse, write what they say and a row of ``runs``, and give their account."""

    def build(pipeline: beam.Pipeline, job: Job) -> None:
        alerts = pipeline | "Read" >> ReadRows(list(questions.wanted), questions.source)
        rows = alerts | "Filters" >> questions.judge
        _ = rows | "Write" >> WriteTables(job.write, job.run_id)

    # Rows of what was said replace nothing, whatever the job's inputs were.
    job = replace(job, sink=replace(job.sink, run_id=job.run_id, units=()))
    read = totals(ingest.run_to_its_end(job, options, build))
    asked = replace(job, filters=questions.judge)
    counts = summary.of_filters(asked, read, _spans(questions.wanted), read.by_label(READ_AGAIN))
    runs_table.write_run(job, counts, failed=counts.problem(1.0) is not None)
    return counts


def _spans(wanted: Sequence[NightToAsk]) -> dict[str, tuple[date, date]]:
    """By survey, the first and the last night."""
    by_survey: dict[str, list[date]] = {}
    for each in wanted:
        by_survey.setdefault(each.survey, []).append(each.night)
    return {name: (min(found), max(found)) for name, found in by_survey.items()}
