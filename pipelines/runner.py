"""Which of Beam's runners a run gets, what that one needs, and where its workers are."""

from __future__ import annotations

import re

from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    PipelineOptions,
    PortableOptions,
    SparkRunnerOptions,
    StandardOptions,
    TypeOptions,
)

from pipelines.workers import watch_workers

_LOCAL_RUNNERS = ("", "directrunner", "fnapirunner", "bundlebaseddirectrunner")
_JOB_SERVERS = ("portablerunner", "flinkrunner", "sparkrunner")
_JOB_SECS = 365 * 86_400
_OWN_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def name(options: PipelineOptions) -> str:
    """The runner's name in small letters, without its module; ``flink`` is ``flinkrunner``, as for Beam."""
    given = (options.view_as(StandardOptions).runner or "").rpartition(".")[2].lower()
    return given if given.endswith("runner") or not given else f"{given}runner"


def is_local(options: PipelineOptions) -> bool:
    """Whether the run is one of this process: no job of a service."""
    return name(options) in _LOCAL_RUNNERS


def on_dataflow(options: PipelineOptions) -> bool:
    """Whether it is a job of Dataflow."""
    return name(options) == "dataflowrunner"


def asks_job_server(options: PipelineOptions) -> bool:
    """Whether a job server of Beam's, which may have options of its own, takes the job."""
    return name(options) in _JOB_SERVERS


def runs_here(options: PipelineOptions) -> bool:
    """Whether the run's workers are on this machine, and so see its files."""
    if is_local(options):
        return True
    if on_dataflow(options):
        return False
    portable = options.view_as(PortableOptions)
    # What Beam's runners take where nothing is said of it.
    environment = (portable.environment_type or ("LOOPBACK" if _brings_its_own(options) else "DOCKER")).upper()
    if environment == "EXTERNAL":
        return str(portable.environment_config or _external(portable)).rpartition(":")[0] in _OWN_HOSTS
    return environment == "LOOPBACK"


def _brings_its_own(options: PipelineOptions) -> bool:
    """Whether the runner starts what runs the job on this machine, and workers in this process."""
    if name(options) == "flinkrunner":
        return options.view_as(FlinkRunnerOptions).flink_master in ("[auto]", "[local]")
    if name(options) == "sparkrunner":
        return re.match(r"local(\[.+\])?$", options.view_as(SparkRunnerOptions).spark_master_url) is not None
    return name(options) == "prismrunner"


def _external(portable: PortableOptions) -> str:
    given = [option.partition("=") for option in portable.environment_options or []]
    return next((value for key, _, value in given if key == "external_service_address"), "")


def set_runner(options: PipelineOptions, stream: bool) -> None:
    """Choose the in-process runner for a local run.

    Beam's DirectRunner would first try to download Prism; any other runner is left as it was given. Here a stream is many runs
    that end: one that does not end is for other runners, and for tests of what these get.
    """
    local, standard = is_local(options), options.view_as(StandardOptions)
    standard.streaming = stream
    if not local:
        portable = options.view_as(PortableOptions)
        if portable.job_server_timeout == PortableOptions([]).job_server_timeout:
            # Beam waits for a job's end by a call of the job server that may last as long as any other; nobody knows how long.
            portable.job_server_timeout = _JOB_SECS
        return
    if stream:
        # Beam's load of files in a stream uses a trigger that it calls unsafe.
        options.view_as(TypeOptions).allow_unsafe_triggers = True
        return
    standard.runner = "FnApiRunner"
    direct = options.view_as(DirectOptions)
    if direct.direct_num_workers != 1 and direct.direct_running_mode in (None, "in_memory"):
        direct.direct_running_mode = "multi_processing"
    watch_workers()
