"""THE pipeline: alert packets to the tables of a warehouse.

python -m pipelines.ingest --input night.tar.gz --warehouse ./warehouse
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

import apache_beam as beam
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import summary
from pipelines.options import BrokerOptions, Job, OptionsError, parse
from pipelines.progress import progress_line
from pipelines.run_folder import run_folder
from transforms.decode import DecodeAlerts
from transforms.read import DEAD_LETTERS, ReadPackets
from transforms.write_parquet import WriteParquet

DONE, FAILED, WRONG_OPTIONS = 0, 1, 2


def ingest(pipeline: beam.Pipeline, job: Job) -> None:
    """Build the pipeline of ``job``."""
    read = pipeline | "Read" >> ReadPackets(job.units, job.schemas)
    decoded = read.packets | "DecodeAlerts" >> DecodeAlerts(job.run_id, job.survey, job.progress_folder)
    rows = {"alerts": decoded.alerts, "read": read[DEAD_LETTERS], "decode": decoded[DEAD_LETTERS]}
    _ = rows | "Write" >> WriteParquet(job.warehouse, job.run_id, job.units, job.cutouts)


def run(argv: Sequence[str]) -> int:
    """Run one ingest with these command-line arguments; gives the exit status."""
    if "--help" in argv or "-h" in argv:
        print(help_text())
        return DONE
    try:
        options = parse(argv)
        job = Job.from_options(options)
    except OptionsError as error:
        print(f"broker ingest: {error}", file=sys.stderr)
        return WRONG_OPTIONS
    try:
        return run_job(job, options)
    except Exception as error:
        logging.getLogger(__name__).debug("the run failed", exc_info=True)
        print(f"broker ingest: the run failed: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    finally:
        job.clean_up()


def run_job(job: Job, options: PipelineOptions) -> int:
    """Run the pipeline of ``job``, write its account and print it; gives the exit status."""
    with run_folder(job), progress_line(job):
        pipeline = beam.Pipeline(options=options)
        ingest(pipeline, job)
        result = pipeline.run()
        result.wait_until_finish()
    metrics = result.metrics().query(MetricsFilter().with_namespace("broker"))["counters"]
    counts = summary.count(job, {one.key.metric.name: one.result for one in metrics})
    problem = counts.problem(job.max_dead_letters)
    summary.write_run(job, counts, failed=problem is not None)
    print(summary.text(counts))
    if problem:
        print(f"broker ingest: {problem}", file=sys.stderr)
        return FAILED
    return DONE


def help_text() -> str:
    """The broker's own flags; Beam's pass through and are documented there."""
    parser = argparse.ArgumentParser(
        "broker ingest",
        description="Read alert packets and write them, every one as a row or a dead letter, to the tables of a warehouse.",
        epilog="All Beam options pass through: --runner, --direct_num_workers (processes of a local run), --project, "
        "--temp_location, ... Exit status: 0 done, 1 the run failed, 2 the options are wrong.",
    )
    BrokerOptions._add_argparse_args(parser)
    return parser.format_help()


def main() -> None:
    """Entry point of ``python -m pipelines.ingest``."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    # By its name, not as __main__, which workers could not import.
    from pipelines.ingest import main as named_main

    named_main()
