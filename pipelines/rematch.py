"""Catalogs asked again about alerts that are in the warehouse: what failed, or a new catalog about old nights.

    broker rematch --warehouse ./warehouse
    broker rematch --warehouse ./warehouse --crossmatch vizier:B/vsx/vsx --night 2026-11-01..2026-11-30

Doing it again changes nothing: what has an answer is not asked, and the newest row of an alert and catalog counts.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import ingest, summary
from pipelines.catalogs import catalog_settings
from pipelines.job import Job
from pipelines.options import BrokerOptions, OptionsError, RematchOptions, WithoutSource, help_text, parse
from pipelines.unmatched import Unmatched, Wanted, open_unmatched
from transforms.crossmatch import CrossMatch
from transforms.read_positions import ReadPositions

_ABOUT = (
    "Ask catalogs about alerts that are in a warehouse. Without --crossmatch: again what failed. "
    "With it: these catalogs, about every alert that has no answer from them."
)

_EXAMPLES = (
    "--warehouse ./warehouse",
    "--warehouse ./warehouse --crossmatch vizier:B/vsx/vsx --night 2026-11-01..2026-11-23",
)
_NOTHING = "there is nothing to ask: every alert has its answers"


def run(argv: Sequence[str]) -> int:
    """Run one rematch with these command-line arguments; gives the exit status."""
    if "--help" in argv or "-h" in argv:
        print(help_text("broker rematch", _ABOUT, _EXAMPLES, RematchOptions, WithoutSource))
        return ingest.DONE
    try:
        options = parse(argv, "broker rematch")
        job, wanted = plan(options)
    except OptionsError as error:
        print(f"broker rematch: {error}", file=sys.stderr)
        return ingest.WRONG_OPTIONS
    try:
        return _run(job, wanted, options)
    except Exception as error:
        print(f"broker rematch: the run failed: {type(error).__name__}: {error}", file=sys.stderr)
        return ingest.FAILED
    finally:
        job.clean_up()


def plan(options: PipelineOptions) -> tuple[Job, list[Wanted]]:
    """The job, and which alerts to ask which catalog about. Raises ``OptionsError``."""
    rematch = options.view_as(RematchOptions)
    first, last = nights(rematch.night)
    job = Job.to_rematch(options)
    if job.progress_folder is None:
        raise OptionsError("--runner is given, but a rematch runs on this machine, which reads the warehouse; leave it out")
    unmatched = open_unmatched(job)
    if job.crossmatch is None:
        job = _ask_again(job, options, unmatched, (first, last))
    if job.crossmatch is None:
        return job, []
    broker = options.view_as(BrokerOptions)
    specs = job.crossmatch.settings.specs
    return job, unmatched.wanted(specs, first, last, only_failed=not broker.crossmatch, survey=job.survey)


def _ask_again(job: Job, options: PipelineOptions, unmatched: Unmatched, between: tuple[date, date]) -> Job:
    """The job with the catalogs that have failed, each with the radius it was asked with."""
    broker = options.view_as(BrokerOptions)
    failed = unmatched.failed_catalogs(*between)
    names = [name for name, _ in failed]
    if twice := [name for name in names if names.count(name) > 1]:
        raise OptionsError(f"{twice[0]} has failed with several radii; say which: --crossmatch {twice[0]}?radius_arcsec=...")
    broker.crossmatch = [f"{name}?radius_arcsec={radius!r}" for name, radius in failed]
    settings = catalog_settings(broker, job.run_id)
    broker.crossmatch = None
    if settings is None:
        return job
    return replace(job, crossmatch=CrossMatch(settings))


def nights(text: str | None) -> tuple[date, date]:
    """The first and the last night of ``YYYY-MM-DD`` or ``YYYY-MM-DD..YYYY-MM-DD``; all where it is None."""
    if text is None:
        return date(1, 1, 1), date(9999, 12, 31)
    parts = text.split("..")
    try:
        days = [datetime.strptime(part, "%Y-%m-%d").date() for part in parts]
    except ValueError as error:
        raise OptionsError(f"--night {text} is no night; write 2026-11-23, or 2026-11-01..2026-11-23") from error
    if len(days) > 2 or days[0] > days[-1]:
        raise OptionsError(f"--night {text} is no range of nights; write the earlier first, as 2026-11-01..2026-11-23")
    return days[0], days[-1]


def _run(job: Job, wanted: list[Wanted], options: PipelineOptions) -> int:
    crossmatch = job.crossmatch
    if crossmatch is None or not wanted:
        print(_NOTHING)
        return ingest.DONE

    def build(pipeline: beam.Pipeline, job: Job) -> None:
        positions = pipeline | "Read" >> ReadPositions(wanted, open_unmatched(job))
        _ = positions | "CrossMatch" >> crossmatch | "WriteMatches" >> job.write_matches

    counts = summary.count(job, ingest.counters(ingest.run_to_its_end(job, options, build)))
    if not counts.catalogs:
        print(_NOTHING)
        return ingest.DONE
    summary.write_run(job, counts, failed=False)
    print("\n".join([f"run {job.run_id}", *summary.crossmatch_lines(counts)]))
    for warning in summary.warnings(counts):
        print(f"  warning: {warning}")
    return ingest.DONE
