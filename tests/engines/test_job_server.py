"""Runs as jobs of a job server, by the real PortableRunner: how they end, what they count, what is refused."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from apache_beam.metrics import monitoring_infos
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.portability.api import beam_job_api_pb2

import warehouses
from pipelines import ingest, progress
from pipelines.interrupts import interrupts
from pipelines.job import Job
from pipelines.options import parse
from pipelines.runner import set_runner
from pipelines.waiting import wait
from tests.emulators.beam_jobs import JobServer, job_server
from tests.nights import simulated


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--damaged", "2")


@pytest.fixture
def waiting() -> Iterator[JobServer]:
    """Whose jobs run until they are cancelled."""
    with job_server(jobs_wait=True) as server:
        yield server


def flags(server: JobServer, night: Path, warehouse: Path, *others: str) -> list[str]:
    runner = ("--runner", "PortableRunner", "--job_endpoint", server.endpoint, "--environment_type", "LOOPBACK")
    return ["--input", str(night), "--warehouse", str(warehouse), *runner, *others]


def claimed(warehouse: Path, inputs: set[str]) -> bool:
    """Whether some run holds these inputs."""
    try:
        with warehouses.at(str(warehouse)).claim("another", inputs):
            return False
    except warehouses.InputsTaken:
        return True


@pytest.fixture(autouse=True)
def deliverable() -> Iterator[None]:
    """SIGINT, which is ignored in what a script starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_cancels_the_job_and_waits_for_its_end(
    number: signal.Signals, night: Path, waiting: JobServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the job has ended it may write: so long the run's claim is held."""
    seen: list[tuple[list[str], bool]] = []
    inputs = {str(next(night.glob("*.tar.gz")))}

    def strike() -> None:
        waiting.began.wait(60)
        os.kill(os.getpid(), number)
        last = time.monotonic() + 60
        while not waiting.cancelled and time.monotonic() < last:
            time.sleep(0.01)
        seen.append((waiting.states, claimed(tmp_path / "w", inputs)))

    striking = threading.Thread(target=strike)
    striking.start()
    status = ingest.run(flags(waiting, night, tmp_path / "w"))
    striking.join()
    assert status == 130
    assert seen == [(["CANCELLING"], True)]
    assert waiting.states == ["CANCELLED"]
    assert not claimed(tmp_path / "w", inputs)
    assert "interrupted; " in capsys.readouterr().err


@pytest.mark.parametrize(
    "moment", ["pipelines.ingest.start", "pipelines.ingest.wait", "pipelines.waiting._Waiting", "pipelines.waiting.end"]
)
def test_there_is_no_moment_at_which_an_interrupt_leaves_the_job_to_itself(
    moment: str, night: Path, waiting: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its submission until its end, before each step of the waiting."""
    room, _, name = moment.rpartition(".")
    step = getattr(sys.modules[room], name)
    struck: list[str] = []

    def strike(*args: Any) -> Any:
        if not struck:
            struck.append(moment)
            signal.raise_signal(signal.SIGTERM)
        return step(*args)

    monkeypatch.setattr(moment, strike)
    assert ingest.run(flags(waiting, night, tmp_path / "w", "--stop_after_secs", "1")) == 130
    assert (len(waiting.cancelled), waiting.states) == (1, ["CANCELLED"])


def test_a_run_that_would_have_ended_by_itself_has_failed_when_its_time_is_over(
    night: Path, waiting: JobServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ingest.run(flags(waiting, night, tmp_path / "w", "--stop_after_secs", "0.5")) == 1
    assert (len(waiting.cancelled), waiting.states) == (1, ["CANCELLED"])
    assert "the job ended as CANCELLED, after the 0.5 s of --stop_after_secs" in capsys.readouterr().err


def test_a_stream_ends_when_its_time_is_over_and_has_not_failed(night: Path, waiting: JobServer, tmp_path: Path) -> None:
    options = parse(flags(waiting, night, tmp_path / "w"))
    job = Job.from_options(options)
    wait(ingest.start(job, options), replace(job, bounded=False, stop_after_secs=0.1))
    assert (len(waiting.cancelled), waiting.states) == (1, ["CANCELLED"])
    job.clean_up()


def test_an_interrupt_while_a_job_is_submitted_is_heeded_when_it_can_be_cancelled() -> None:
    with interrupts() as came, came.held():
        signal.raise_signal(signal.SIGINT)
        # What Beam's servers on this machine do when they are begun.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with pytest.raises(KeyboardInterrupt):
            came.heed()
        assert signal.getsignal(signal.SIGINT) == came.take
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_second_interrupt_while_a_job_is_submitted_is_heeded_at_once() -> None:
    with interrupts() as came, came.held():
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_who_has_plans_of_his_own_for_interrupts_keeps_them() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    try:
        with interrupts() as came, came.held():
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(("state", "said"), [("FAILED", "failed in state FAILED"), ("CANCELLED", "failed in state CANCELLED")])
def test_a_job_that_ends_badly_elsewhere_is_a_run_that_failed(
    state: str, said: str, night: Path, waiting: JobServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def strike() -> None:
        waiting.began.wait(60)
        waiting.end_all(beam_job_api_pb2.JobState.Enum.Value(state))

    threading.Thread(target=strike).start()
    assert ingest.run(flags(waiting, night, tmp_path / "w")) == 1
    assert said in capsys.readouterr().err
    assert waiting.cancelled == []


# Beam's own thread that reads the job's messages dies of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_job_server_that_goes_away_is_told_and_nobody_waits_for_ever(
    night: Path, waiting: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipelines.waiting._LOOK_SECS", 0.05)

    def strike() -> None:
        waiting.began.wait(60)
        waiting.stop()

    threading.Thread(target=strike).start()
    assert ingest.run(flags(waiting, night, tmp_path / "w")) == 1
    assert "what became of the job cannot be told, and it may go on; look where it runs" in capsys.readouterr().err


def test_a_job_may_take_longer_than_its_job_server_has_for_an_answer(tmp_path: Path) -> None:
    """Beam hears of a job's states by a call with that limit, five minutes unless told, and gives the job up when it is over."""
    options = parse(["--runner", "PrismRunner"])
    set_runner(options, stream=False)
    assert options.view_as(PortableOptions).job_server_timeout >= 30 * 86_400
    options = parse(["--runner", "PrismRunner", "--job_server_timeout", "7"])
    set_runner(options, stream=False)
    assert options.view_as(PortableOptions).job_server_timeout == 7


def test_a_job_of_a_job_server_accounts_by_its_committed_counters(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with job_server() as server:
        assert ingest.run(flags(server, night, tmp_path / "w")) == 0
    told = capsys.readouterr().out
    assert re.search(r"records read +62 .*\n  alerts written +60\n", told)
    assert server.states == ["DONE"]
    with warehouses.at(str(tmp_path / "w")) as warehouse:
        runs = warehouse.query("SELECT status, records_read, alerts_written, dead_letters FROM runs").to_pylist()
    assert runs == [{"status": "done", "records_read": 62, "alerts_written": 60, "dead_letters": 2}]


class Counted:
    """What a job has counted so far."""

    def __init__(self, alerts: int) -> None:
        self.alerts = alerts

    def monitoring_infos(self) -> list[Any]:
        return [monitoring_infos.int64_user_counter("broker", "alerts_decoded ztf", self.alerts)]


def test_how_far_a_job_elsewhere_has_come_is_told(
    night: Path, waiting: JobServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.progress._LOG_EVERY_SECS", 0.0)
    options = parse(flags(waiting, night, tmp_path / "w"))
    job = Job.from_options(options)
    result, said = ingest.start(job, options), io.StringIO()
    # Of what works on this machine, whoever runs it, the workers tell.
    progress.elsewhere(job, said)(result)
    job.clean_up()
    look = progress.elsewhere(replace(job, progress_folder=None), said)
    look(result)
    for alerts in (7, 1500):
        waiting.counted(Counted(alerts))
        look(result)
    lines = [re.sub(r"[\d,]+(/s| s$)", r"_\1", line) for line in said.getvalue().splitlines()]
    assert lines == [
        "the job is RUNNING, _ s",
        "the job is RUNNING, 7 alerts of 1 input, _/s, _ s",
        "the job is RUNNING, 1,500 alerts of 1 input, _/s, _ s",
    ]
    waiting.end_all(beam_job_api_pb2.JobState.DONE)
    wait(result, job)
