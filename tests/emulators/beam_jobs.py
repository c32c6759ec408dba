"""A job server of Beam's on loopback: Beam's local one, which really runs jobs; or one whose jobs only wait to be cancelled."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability import local_job_service


class Waiting(local_job_service.BeamJob):
    """A job that runs until it is cancelled, or told how to end; to be cancelled takes it some time."""

    def __init__(self, service: JobServer, *args: Any) -> None:
        super().__init__(*args)
        self._service = service

    def run(self) -> None:
        """Begin, and do nothing."""
        self.set_state(beam_job_api_pb2.JobState.RUNNING)
        self._service.began.set()

    def cancel(self) -> None:
        """Take as long as the service says."""
        self.set_state(beam_job_api_pb2.JobState.CANCELLING)

        def ended() -> None:
            self.set_state(beam_job_api_pb2.JobState.CANCELLED)

        threading.Timer(self._service.cancel_secs, ended).start()


class JobServer(local_job_service.LocalJobServicer):
    """What it was asked, in order, and what it is to say."""

    def __init__(self, jobs_wait: bool, cancel_secs: float, options: Sequence[str]) -> None:
        super().__init__(beam_job_type=functools.partial(Waiting, self) if jobs_wait else None)
        self.cancel_secs, self.options = cancel_secs, options
        self.cancelled: list[str] = []
        """Jobs that somebody has asked to cancel."""
        self.given: list[dict[str, Any]] = []
        """The options of each job."""
        self.began = threading.Event()
        self.endpoint = ""

    @property
    def states(self) -> list[str]:
        """The state of each job."""
        return [beam_job_api_pb2.JobState.Enum.Name(job.state) for job in self._jobs.values()]

    def end_all(self, state: int) -> None:
        """Let all jobs be in this state."""
        for job in self._jobs.values():
            job.set_state(state)

    def counted(self, result: Any) -> None:
        """Let all jobs have these ``monitoring_infos()``."""
        for job in self._jobs.values():
            job.result = result

    def Prepare(self, request: Any, context: Any = None, timeout: Any = None) -> Any:
        """Keep the options."""
        self.given.append({name.split(":")[2]: value for name, value in dict(request.pipeline_options).items()})
        return super().Prepare(request, context, timeout)

    def Cancel(self, request: Any, context: Any = None, timeout: Any = None) -> Any:
        """Keep who was cancelled."""
        self.cancelled.append(request.job_id)
        return super().Cancel(request, context, timeout)

    def DescribePipelineOptions(self, request: Any, context: Any = None, timeout: Any = None) -> Any:
        """Whole numbers, all of them."""
        kind = beam_job_api_pb2.PipelineOptionType.INTEGER
        described = [
            beam_job_api_pb2.PipelineOptionDescriptor(name=name, type=kind, description="", group="") for name in self.options
        ]
        return beam_job_api_pb2.DescribePipelineOptionsResponse(options=described)


@contextmanager
def job_server(jobs_wait: bool = False, cancel_secs: float = 0.5, options: Sequence[str] = ()) -> Iterator[JobServer]:
    """One on a free port; its ``endpoint`` is for ``--job_endpoint``."""
    server = JobServer(jobs_wait, cancel_secs, options)
    server.endpoint = f"localhost:{server.start_grpc_server()}"
    try:
        yield server
    finally:
        server.stop()
