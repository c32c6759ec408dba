"""Which of Beam's runners a run gets, and what that one needs."""

from __future__ import annotations

from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions, TypeOptions

from pipelines.workers import watch_workers

_LOCAL_RUNNERS = ("", "directrunner", "fnapirunner", "bundlebaseddirectrunner")


def is_local(options: PipelineOptions) -> bool:
    """Whether the run is one of this machine."""
    return (options.view_as(StandardOptions).runner or "").lower() in _LOCAL_RUNNERS


def set_runner(options: PipelineOptions, stream: bool) -> None:
    """Choose the in-process runner for a local run.

    Beam's DirectRunner would first try to download Prism; any other runner is left as it was given.
    """
    local, standard = is_local(options), options.view_as(StandardOptions)
    standard.streaming = stream
    if not local:
        return
    # FnApiRunner reads nothing from Pub/Sub and reports that it is done.
    standard.runner = "BundleBasedDirectRunner" if stream else "FnApiRunner"
    if stream:
        # Beam's load of files in a stream uses a trigger that it calls unsafe.
        options.view_as(TypeOptions).allow_unsafe_triggers = True
    direct = options.view_as(DirectOptions)
    if direct.direct_num_workers != 1 and direct.direct_running_mode in (None, "in_memory"):
        direct.direct_running_mode = "multi_processing"
    watch_workers()
