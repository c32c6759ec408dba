"""A worker process that dies is an answer to whatever it is asked, before and after; one that ends when it is told to is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from apache_beam.portability import python_urns
from apache_beam.portability.api import beam_fn_api_pb2, beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner.fn_runner import ExtendedProvisionInfo
from apache_beam.runners.portability.fn_api_runner.worker_handlers import WorkerHandlerManager

from pipelines.workers import WatchedWorker, watch_workers


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[WatchedWorker]:
    """Beam's own handler of a process that does what the shell is told, in place of a worker."""
    watch_workers()
    place = beam_runner_api_pb2.Environment(urn=python_urns.SUBPROCESS_SDK, payload=request.param.encode())
    workers = WorkerHandlerManager({"shell": place}, ExtendedProvisionInfo())
    [made] = workers.get_worker_handlers("shell", 1)
    assert isinstance(made, WatchedWorker)
    yield made
    workers.close_all()


@pytest.mark.parametrize("worker", ["exit 3", "kill -9 $$"], indirect=True)
def test_whoever_asks_one_that_has_died_is_told_so(worker: WatchedWorker) -> None:
    for number in ("1", "2"):
        asked = worker.control_conn.push(beam_fn_api_pb2.InstructionRequest(instruction_id=number))
        answer = asked.get(timeout=60)
        assert answer.instruction_id == number
        assert "a worker process has died (" in answer.error
        assert answer.error.endswith("; run the same command again")


@pytest.mark.parametrize("worker", ["exit 0"], indirect=True)
def test_one_that_ends_by_itself_has_not_died(worker: WatchedWorker) -> None:
    worker.worker_thread.join(60)
    assert not worker.worker_thread.is_alive()
    assert not worker._died
