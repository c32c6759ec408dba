"""What a run on other machines cannot have, refused in a sentence before anything starts."""

from __future__ import annotations

import os
from collections.abc import Iterator

from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    PrismRunnerOptions,
    StandardOptions,
)
from apache_beam.runners.runner import create_runner

from pipelines import job_server
from pipelines.errors import OptionsError
from pipelines.job import Job
from pipelines.options import BrokerOptions, RoundsOptions
from pipelines.runner import is_local, name, on_dataflow, runs_here


def check(job: Job, options: PipelineOptions) -> None:
    """Refuse what the runner cannot do, and what its workers would not find. Raises ``OptionsError``."""
    if is_local(options):
        return
    if on_dataflow(options):
        _check_dataflow(job, options)
    else:
        _check_other(job, options)
    if runs_here(options):
        return
    whose = "Dataflow's workers" if on_dataflow(options) else f"the workers of {options.view_as(StandardOptions).runner}"
    for flag, place, remedy in _places(job, options):
        if "://" not in place:
            raise OptionsError(f"--{flag} {place} is on this machine, which {whose} do not see; {remedy}")


def _places(job: Job, options: PipelineOptions) -> Iterator[tuple[str, str, str]]:
    """Flag, place and remedy of what workers read and write."""
    broker, rounds = options.view_as(BrokerOptions), options.view_as(RoundsOptions)
    yield "warehouse", job.warehouse.uri, "put it on gs://"
    for uri in broker.input or []:
        yield "input", uri, "put it on gs://"
    for spec in job.crossmatch.settings.specs if job.crossmatch else ():
        if not spec.remote:
            yield "watchlist" if spec.is_list else "crossmatch", spec.target, "put it on gs://"
    for file in job.all_filters.lists.regions if job.all_filters else ():
        yield "sky_region", file.spec.path, "put it on gs://"
    for outlet in job.outlets if job.sends_itself else ():
        if outlet.address.kind == "folder":
            yield "publish", str(outlet.address), "give a topic of Kafka or Pub/Sub"
        if outlet.address.config:
            yield "publish", f"{outlet.address}?config={outlet.address.config}", "leave config out, or --runner"
    if rounds.watch:
        yield "watch", rounds.watch, "put it on gs://"
    if rounds.kafka_config:
        yield "kafka_config", rounds.kafka_config, "leave --runner out"
    if broker.schemas:
        yield "schemas", broker.schemas, "give the URL of a schema registry"


def _check_dataflow(job: Job, options: PipelineOptions) -> None:
    for flag in ("project", "temp_location"):
        if not getattr(options.view_as(GoogleCloudOptions), flag):
            raise OptionsError(f"--{flag} is missing, which --runner DataflowRunner needs")
    if job.stop_after_secs is not None and not job.bounded:
        raise OptionsError(
            "--stop_after_secs ends a stream on this machine; end one on Dataflow with: gcloud dataflow jobs drain"
        )


def _check_other(job: Job, options: PipelineOptions) -> None:
    runner, given = name(options), options.view_as(StandardOptions).runner
    try:
        create_runner(given)
    except Exception as error:  # of an import, of a name
        raise OptionsError(f"--runner {given} cannot be had: {error}") from error
    if not job.bounded:
        raise OptionsError(
            f"--runner {given} does not read Pub/Sub: leave it out to read on this machine, or give --runner DataflowRunner"
        )
    if runner == "daskrunner":
        raise OptionsError(f"--runner {given} counts nothing, so that a run has no account; docs/engines.md has those that do")
    if runner == "portablerunner" and not options.view_as(PortableOptions).job_endpoint:
        raise OptionsError(f"--job_endpoint HOST:PORT is missing, where --runner {given} finds its job server")
    prism = options.view_as(PrismRunnerOptions).prism_location
    if prism and "://" not in prism and not os.path.isfile(prism):
        raise OptionsError(f"--prism_location {prism} is no file; build it with: go install, as docs/engines.md says")
    job_server.check_answers(options)
