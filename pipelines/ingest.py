"""THE pipeline: alert packets to the tables of a warehouse.

python -m pipelines.ingest --input night.tar.gz --warehouse ./warehouse
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, SetupOptions
from apache_beam.runners.runner import PipelineResult

from pipelines import account, logs, remote, runs_table, sources, summary
from pipelines.effects import check_effects
from pipelines.errors import OptionsError
from pipelines.help import help_text
from pipelines.interrupts import interrupts
from pipelines.job import Job
from pipelines.options import parse
from pipelines.ordinary import ordinary_pipeline
from pipelines.outlets import make_topics
from pipelines.prism import tied
from pipelines.progress import elsewhere, progress_line
from pipelines.runner import is_local, on_dataflow
from pipelines.sending import Reach, send_open
from pipelines.status import DONE, FAILED, INTERRUPTED, NOTHING, WRONG_OPTIONS
from pipelines.waiting import wait
from transforms.crossmatch import Positions
from transforms.decode import DecodeAlerts
from transforms.features import AddFeatures
from transforms.metrics import totals
from transforms.read import DEAD_LETTERS
from transforms.send_hits import SendHits
from transforms.write_tables import WriteTables
from warehouses import InputsTaken, QueryError, StaleRun
from warehouses.reachable import told

_LOG = logging.getLogger(__name__)


def ingest(pipeline: beam.Pipeline, job: Job) -> None:
    """Build the pipeline of ``job``, archive and stream alike."""
    read = pipeline | "Read" >> job.read
    decoded = read.packets | "DecodeAlerts" >> DecodeAlerts(
        job.run_id, job.survey, job.progress_folder, job.want, keep_packets=bool(job.outlets)
    )
    alerts = decoded.alerts | "Features" >> AddFeatures(job.run_id) if job.features else decoded.alerts
    rows = {"alerts": alerts, "read": read[DEAD_LETTERS], "decode": decoded[DEAD_LETTERS]}
    if job.filters:
        rows |= alerts | "Filters" >> job.filters
    if job.beside:
        rows["beside"] = pipeline | "Beside" >> beam.Create(job.beside, reshuffle=False)
    written = rows | "Write" >> WriteTables(job.write, job.run_id, job.want)
    if job.sends_itself:
        closed = written | "Hits" >> SendHits(job.run_id, job.addresses)
        _ = closed | "WriteHits" >> WriteTables(job.write_hits, job.run_id)
    if job.crossmatch:
        positions = decoded.alerts | "Positions" >> Positions()
        # Alerts are in their table before anybody is asked about them.
        matches = positions | "AlertsFirst" >> job.together.after(written) | "CrossMatch" >> job.crossmatch
        _ = {"matches": matches} | "WriteMatches" >> WriteTables(job.write_matches, job.run_id)


def run(argv: Sequence[str]) -> int:
    """Run one ingest with these command-line arguments; gives the exit status."""
    if "--help" in argv or "-h" in argv:
        print(help_text("broker ingest"))
        return DONE
    with logs.to_stderr(logs.form_of(argv)):
        return _run(argv)


def _run(argv: Sequence[str]) -> int:
    try:
        options = parse(argv)
        if sources.in_rounds(options):
            check_effects(options)
            return rounds_of(options, argv)
        job = Job.from_options(options)
        check_effects(options)
        remote.check(job, options)
        make_topics(job.warehouse.uri, job.addresses)
    except OptionsError as error:
        logs.failed("broker ingest", str(error))
        return WRONG_OPTIONS
    with logs.of_run(job.run_id):
        try:
            return run_job(job, options)
        except Exception as error:
            logs.failed("broker ingest", f"the run failed: {told(error)}", exc_info=True)
            return FAILED
        except KeyboardInterrupt:
            logs.failed("broker ingest", _interrupted(job))
            return INTERRUPTED
        finally:
            job.clean_up()


def rounds_of(options: PipelineOptions, argv: Sequence[str]) -> int:
    """A stream in rounds; gives the exit status. Raises ``OptionsError``."""
    from pipelines import rounds  # noqa: PLC0415 - it calls this module

    return rounds.run(options, argv)


def _interrupted(job: Job) -> str:
    return f"interrupted; {job.warehouse.when_interrupted}"


def run_job(job: Job, options: PipelineOptions) -> int:
    """Run the pipeline of ``job``, write its account and print it; gives the exit status."""
    if _goes_on_alone(job, options):
        job.warehouse.prepare(job.sink.surveys)
        result = start(job.noting_filters(), options)
        print(f"run {job.run_id} " + (f"is Dataflow job {result.job_id()}" if result.has_job else "was made a template"))
        return DONE
    if not job.bounded:
        run_to_its_end(job, options)
        tidy(job)
        return DONE
    status, counts = run_counted(job, options)
    nothing = counts.nothing()
    if status == DONE and nothing:
        logs.failed("broker ingest", nothing)
        return NOTHING
    return status


def _goes_on_alone(job: Job, options: PipelineOptions) -> bool:
    """Whether nobody here sees the run's end: a stream on Dataflow has none but its drain, a template is no job yet.

    Waiting for such a stream would also mean that Ctrl-C cancels it, which loses what it has acknowledged but not written.
    """
    return on_dataflow(options) and (not job.bounded or bool(options.view_as(GoogleCloudOptions).template_location))


def run_counted(job: Job, options: PipelineOptions) -> tuple[int, summary.Summary]:
    """Run a job that ends by itself, write its account and print it; gives the exit status and the account."""
    counts = summary.count(job, totals(run_to_its_end(job, options)))
    problem = counts.problem(job.max_dead_letters)
    runs_table.write_run(job, counts, failed=problem is not None)
    print(account.text(counts))
    account.log(counts)
    # After the account, which reads the run's own files.
    tidy(job)
    problem = problem or _ask_behind(job, options, counts)
    send(job)
    if problem:
        logs.failed("broker", problem)
        return FAILED, counts
    return DONE, counts


def _ask_behind(job: Job, options: PipelineOptions, counts: summary.Summary) -> str | None:
    """Ask the filters that ask what catalogs have answered, now that these have; gives why that must be called failed."""
    from pipelines import behind  # noqa: PLC0415 - it calls this module

    filters = job.filters_behind
    if filters is None:
        return None
    runs = {key: [job.run_id, *counts.earlier] for key in nights_of(counts.nights)}
    found = behind.ask_behind(job, filters, runs, options)
    if found is None:
        return None
    print("\n".join(["behind the cross-matches", *account.filter_lines(found)]))
    for warning in account.warnings(found):
        print(f"  warning: {warning.text}")
    account.log(found)
    return found.problem(1.0)


def send(job: Job) -> None:
    """Send what is open for the job's outlets, and say what became of it."""
    if not job.outlets:
        return
    found = send_open(job.warehouse.uri, job.addresses, job.run_id, Reach(nothing_since=job.started_at))
    for topic in sorted({*found.sent, *found.refused, *found.waiting}):
        refused = f", {found.refused[topic]:,} refused for good (dead letters)" if found.refused[topic] else ""
        print(f"  sent to {topic}: {found.sent[topic]:,}{refused}")
        if topic in found.waiting:
            print(f"    the others wait in the outbox: {found.waiting[topic]}; broker publish --outbox sends them")
    for topic in found.others:
        print(f"  hits wait in the outbox for {topic}, which no --publish names; broker publish --outbox sends them")


def nights_of(spans: Mapping[str, tuple[date, date]]) -> list[tuple[str, date]]:
    """Survey and night of each night from the first to the last."""
    return [(name, first + timedelta(day)) for name, (first, last) in spans.items() for day in range((last - first).days + 1)]


def run_to_its_end(job: Job, options: PipelineOptions, build: Callable[[beam.Pipeline, Job], None] = ingest) -> PipelineResult:
    """Run the pipeline that ``build`` makes of ``job``, and wait for its end."""
    _LOG.info("the run begins", extra={"warehouse": job.warehouse.uri, "inputs": job.inputs})
    job.warehouse.prepare(job.sink.surveys)
    job = job.noting_filters()
    with job.warehouse.claim(job.run_id, job.claims), progress_line(job):
        if is_local(options):
            # It runs while it begins.
            result = start(job, options, build)
            wait(result, job)
            return result
        look = elsewhere(job)
        with interrupts() as came, came.held():
            result = start(job, options, build)
            wait(result, job, came, look)
    return result


def tidy(job: Job, in_rounds: bool = False) -> None:
    """Keep nights from becoming many small files. The run is done: what fails here fails again, or not, after the next."""
    try:
        done = job.warehouse.tidy(job.run_id, in_rounds)
    except (OSError, ValueError, QueryError, InputsTaken, StaleRun) as error:
        _LOG.warning("the warehouse's small files stay as they are: %s", error, extra={"stage": "write"})
        return
    if done is not None:
        _LOG.info("small files were put together: %d before, %d after", done.before, done.after)


def start(job: Job, options: PipelineOptions, build: Callable[[beam.Pipeline, Job], None] = ingest) -> PipelineResult:
    """Begin the run of ``job``, whose sink must be prepared."""
    setup = options.view_as(SetupOptions)
    if setup.save_main_session is None:
        # Workers import all they need. On Dataflow Beam would also send them our __main__, whatever that is.
        setup.save_main_session = False
    if on_dataflow(options):
        cloud = options.view_as(GoogleCloudOptions)
        # By which a job is found that belongs to rows, and to lines of a log; labels have no capitals.
        cloud.labels = [*(cloud.labels or []), f"run_id={job.run_id.lower()}"]
    with ordinary_pipeline(), tied(options, job.progress_folder):
        pipeline = beam.Pipeline(options=options)
        build(pipeline, job)
        return pipeline.run()


def main() -> None:
    """Entry point of ``python -m pipelines.ingest``."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    # By its name, not as __main__, which workers could not import.
    from pipelines.ingest import main as named_main

    named_main()
