"""What an engine cannot do is refused in one sentence before anything starts; what only its job server knows, passes."""

from __future__ import annotations

import re
import shlex
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PortableOptions

from pipelines import ingest
from pipelines.errors import OptionsError
from pipelines.options import parse
from pipelines.runner import runs_here
from tests.emulators.beam_jobs import JobServer, job_server
from tests.pages import ROOT

SUBSCRIPTION = "projects/some-project/subscriptions/alerts"


@pytest.fixture(scope="module")
def server() -> Iterator[JobServer]:
    with job_server(options=("checkpointing_interval", "number_of_execution_retries")) as started:
        yield started


@pytest.fixture
def packet(tmp_path: Path) -> Path:
    file = tmp_path / "one.avro"
    file.write_bytes(b"Obj")
    return file


@pytest.mark.parametrize(
    ("flags", "here"),
    [
        ((), True),
        (("--runner", "FnApiRunner"), True),
        (("--runner", "DataflowRunner"), False),
        (("--runner", "dataflow"), False),
        (("--runner", "PrismRunner"), True),
        (("--runner", "prism", "--environment_type", "DOCKER"), False),
        (("--runner", "FlinkRunner"), True),
        (("--runner", "apache_beam.runners.portability.flink_runner.FlinkRunner", "--flink_master", "flink:8081"), False),
        (("--runner", "FlinkRunner", "--flink_master", "flink:8081", "--environment_type", "LOOPBACK"), True),
        (("--runner", "SparkRunner"), True),
        (("--runner", "SparkRunner", "--spark_master_url", "spark://other:7077"), False),
        (("--runner", "PortableRunner", "--job_endpoint", "localhost:8099"), False),
        (("--runner", "PortableRunner", "--environment_type", "PROCESS"), False),
        (("--runner", "PortableRunner", "--environment_type", "EXTERNAL", "--environment_config", "pool:50000"), False),
        (("--runner", "PortableRunner", "--environment_type", "EXTERNAL", "--environment_config", "localhost:50000"), True),
    ],
)
def test_whose_workers_see_the_files_of_this_machine(flags: tuple[str, ...], here: bool) -> None:
    assert runs_here(parse(flags)) == here


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--runner", "NoSuchRunner"), "--runner NoSuchRunner cannot be had: "),
        (("--runner", "DaskRunner"), "--runner DaskRunner "),
        (
            ("--runner", "PortableRunner"),
            "--job_endpoint HOST:PORT is missing, where --runner PortableRunner ",
        ),
        (("--runner", "PrismRunner", "--prism_location", "/no/prism"), "--prism_location /no/prism is no file; build it with"),
        (
            ("--runner", "FlinkRunner", "--flink_master", "flink:8081"),
            "is on this machine, which the workers of FlinkRunner do not see; put it on gs://",
        ),
        (("--runner", "FlinkRunner", "--job_endpoint", "nowhere"), "--job_endpoint nowhere is not of the form HOST:PORT"),
    ],
)
def test_an_engine_that_cannot_do_it_is_refused(
    flags: tuple[str, ...], said: str, packet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ingest.run(["--input", str(packet), "--warehouse", str(tmp_path / "w"), *flags]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("runner", ["FlinkRunner", "PortableRunner", "SparkRunner"])
def test_a_runner_that_does_not_read_pubsub_is_refused(
    runner: str, server: JobServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = ("--runner", runner, "--job_endpoint", server.endpoint)
    assert ingest.run(["--subscription", SUBSCRIPTION, "--warehouse", str(tmp_path / "w"), *engine]) == 2
    assert f"--runner {runner} does not read Pub/Sub" in capsys.readouterr().err


def test_a_job_server_that_does_not_answer_is_told_before_anything_starts(
    packet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{held.getsockname()[1]}"
        engine = ("--runner", "PortableRunner", "--job_endpoint", endpoint, "--environment_type", "LOOPBACK")
        assert ingest.run(["--input", str(packet), "--warehouse", str(tmp_path / "w"), *engine]) == 2
    assert f"--job_endpoint {endpoint}: no job server answers there: " in capsys.readouterr().err


def portable(server: JobServer, *flags: str) -> list[str]:
    return ["--runner", "PortableRunner", "--job_endpoint", server.endpoint, "--environment_type", "LOOPBACK", *flags]


def test_options_that_only_a_job_server_has_reach_it(packet: Path, tmp_path: Path, server: JobServer) -> None:
    words = portable(server, "--checkpointing_interval", "60000", "--number-of-execution-retries=3")
    assert ingest.run(["--input", str(packet), "--warehouse", str(tmp_path / "w"), *words]) == 3
    given = server.given[-1]
    assert (given["checkpointing_interval"], given["number_of_execution_retries"]) == ("60000", "3")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--checkpointing_intervall", "did you mean --checkpointing_interval?"),
        ("--warehous", "did you mean --warehouse?"),
        ("--finish_bundle_before_checkpointing", "is no option of broker ingest or of Beam"),
        ("night.tar.gz", "stands alone; say that it is what to read: broker ingest --input night.tar.gz"),
    ],
)
def test_what_a_job_server_does_not_know_either_is_refused(word: str, said: str, server: JobServer) -> None:
    with pytest.raises(OptionsError, match=r"is no option|stands alone") as error:
        parse(portable(server, word, "1"))
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--checkpointing_interval", "60000"), None),
        (("--finish_bundle_before_checkpointing", "--number_of_execution_retries=3"), None),
        (("--warehous", "w"), "did you mean --warehouse?"),
        (("--max_alert=5",), "did you mean --max_alerts?"),
        (("--object_reuse=true", "night.tar.gz"), "'night.tar.gz' stands alone"),
    ],
)
def test_where_no_job_server_can_be_asked_what_is_like_no_flag_passes(flags: tuple[str, ...], said: str | None) -> None:
    words = ["--runner", "FlinkRunner", *flags]
    if said is None:
        given = parse(words).get_all_options(retain_unknown_options=True)
        assert {flag[2:].partition("=")[0] for flag in flags if flag.startswith("--")} <= set(given)
        return
    with pytest.raises(OptionsError) as error:
        parse(words)
    assert said in str(error.value)


@pytest.mark.parametrize("runner", [(), ("--runner", "PrismRunner"), ("--runner", "DataflowRunner")])
def test_where_there_is_no_job_server_every_unknown_flag_is_refused(runner: tuple[str, ...]) -> None:
    with pytest.raises(OptionsError, match="'--checkpointing_interval' is no option of broker ingest or of Beam"):
        parse([*runner, "--checkpointing_interval", "60000"])


def test_the_pages_command_for_flink_is_understood() -> None:
    page = (ROOT / "docs" / "engines.md").read_text()
    (command,) = re.findall(r"^broker ingest (--runner FlinkRunner(?:.*\\\n)*.*)", page, re.MULTILINE)
    options = parse(shlex.split(command.replace("\\\n", " ")))
    assert options.view_as(FlinkRunnerOptions).parallelism == 2
    assert options.view_as(PortableOptions).environment_type == "EXTERNAL"
