"""What a run says on stderr: lines for a person, or JSON for a machine, each with the run's id."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc, endpoints_pb2
from apache_beam.runners.worker.log_handler import FnApiLogRecordHandler
from apache_beam.utils import thread_pool_executor

from pipelines import ingest, logs, status
from tests.alerts.making import tar_of, ztf_packet
from tests.nights import ask, run
from tests.pipelines.test_metrics import special
from transforms import notes


@pytest.fixture
def made(tmp_path: Path) -> Path:
    file = tmp_path / "special.tar"
    conflict = {"9.avro": ztf_packet(10, magpsf=12.5)}
    file.write_bytes(tar_of(special() | conflict))
    return file


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(autouse=True)
def nothing_was_said_before() -> None:
    notes._said_at.clear()


def test_json_has_the_fields_of_cloud_logging_and_the_runs_id(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = ("--crossmatch", "vizier:X/1/sim", "--crossmatch_url", "http://127.0.0.1:9/sync")
    assert run(tmp_path / "w", made, flags=("--log_format", "json", *catalog)) == 0
    said = capsys.readouterr()
    entries = lines(said.err)
    [(run_id,)] = ask(tmp_path / "w", "SELECT run_id FROM runs")
    for one in entries:
        assert one["run_id"] == run_id
        assert one["severity"] in {"INFO", "WARNING"}
        assert datetime.fromisoformat(one["time"]).utcoffset() is not None
        assert one["message"]
    assert (entries[0]["message"], entries[-1]["message"]) == ("the run begins", "the run has ended")
    letters = {one["stage"]: one for one in entries if one["message"].startswith("dead letter")}
    assert letters["read"]["source"] == f"{made}#7.avro"
    assert letters["decode"]["source"] == f"{made}#6.avro"
    assert letters["decode"]["survey"] == "ztf"
    assert "left behind the end of the alert" in letters["decode"]["message"]
    warnings = {one["message"]: one for one in entries if one["severity"] == "WARNING"}
    for text, about in {
        "no place on the sky": {"stage": "decode", "survey": "ztf"},
        "came under an alert id that another packet": {"stage": "write", "survey": "ztf"},
        "have no answer from vizier:X/1/sim": {"stage": "crossmatch", "catalog": "vizier:X/1/sim"},
        "went into extra: ztf: of_tomorrow (2)": {"stage": "decode"},
    }.items():
        [entry] = [one for message, one in warnings.items() if text in message]
        assert about.items() <= entry.items(), text
    account = entries[-1]["account"]
    assert (account["records_read"], account["alerts_written"]) == (9, 7)
    assert account["dead_letters"] == {"decode": 1, "read": 1}
    # The account is on stdout as ever.
    assert "records read              9" in said.out


def test_text_says_nothing_twice(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "w", made) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.count("no place on the sky") == 1


def test_a_failure_is_one_sentence_or_an_entry_with_its_traceback(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the disk has gone")

    monkeypatch.setattr(ingest.summary, "count", broken)
    assert run(tmp_path / "a", made) == status.FAILED
    assert capsys.readouterr().err == "broker ingest: the run failed: RuntimeError: the disk has gone\n"
    assert run(tmp_path / "b", made, flags=("--log_format=json",)) == status.FAILED
    entry = lines(capsys.readouterr().err)[-1]
    assert entry["severity"] == "ERROR"
    assert entry["message"] == "the run failed: RuntimeError: the disk has gone"
    assert 'raise RuntimeError("the disk has gone")' in entry["stack_trace"]
    assert entry["run_id"]


@pytest.mark.parametrize(("flag", "form"), [((), logs.TEXT), (("--log_format", "json"), logs.JSON)])
def test_wrong_options_are_said_in_the_form_that_was_asked_for(
    flag: tuple[str, ...], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ingest.run([*flag, "--colour", "red"]) == status.WRONG_OPTIONS
    said = capsys.readouterr().err
    message = "'--colour' is no option of broker ingest or of Beam; see broker ingest --help"
    if form == logs.TEXT:
        assert said == f"broker ingest: {message}\n"
    else:
        [entry] = lines(said)
        assert (entry["severity"], entry["message"], entry["command"]) == ("ERROR", message, "broker ingest")


def test_an_unknown_form_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest.run(["--input", "x", "--log_format", "xml"]) == status.WRONG_OPTIONS
    assert "xml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "form"),
    [
        ([], "text"),
        (["--log_format"], "text"),
        (["--log_format", "json"], "json"),
        (["--log_format=json", "--input", "x"], "json"),
        (["--input", "--log_format"], "text"),
        (["--log_format=text"], "text"),
    ],
)
def test_the_form_is_known_before_anything_else(argv: list[str], form: str) -> None:
    assert logs.form_of(argv) == form


def test_what_others_log_is_json_too_and_afterwards_all_is_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    handlers, level = [*logging.getLogger().handlers], logging.getLogger("alerts").level
    with logs.to_stderr(logs.TEXT), logs.to_stderr(logs.JSON), logs.of_run("r1"):
        logging.getLogger("somebody.elses").warning("a line\nand another, %s", "https://user:pass@host/")
        with logs.to_stderr(logs.TEXT):
            logging.getLogger("alerts.catalogs").warning("in words")
    [entry, text] = capsys.readouterr().err.splitlines()
    assert json.loads(entry)["message"] == "a line\nand another, https://***@host/"
    assert json.loads(entry)["logger"] == "somebody.elses"
    assert text == "WARNING alerts.catalogs: in words"
    assert logging.getLogger().handlers == handlers
    assert logging.getLogger("alerts").level == level


def test_a_log_of_dead_letters_cannot_flood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "bad.tar"
    file.write_bytes(tar_of({f"{number}.avro": b"<html>" for number in range(50)}))
    assert run(tmp_path / "w", file, flags=("--log_format", "json")) == status.NOTHING
    assert ask(tmp_path / "w", "SELECT count(*) FROM dead_letters") == [(50,)]
    said = [one for one in lines(capsys.readouterr().err) if one["message"].startswith("dead letter")]
    assert len(said) == 1


class Collector(beam_fn_api_pb2_grpc.BeamFnLoggingServicer):
    """The end of Beam's logging service that a runner has: what a worker's handler sends arrives here."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def Logging(self, batches, context):
        for batch in batches:
            self.entries += batch.log_entries
        yield beam_fn_api_pb2.LogControl()


def test_on_a_worker_beams_own_handler_has_the_runs_id_and_no_credential() -> None:
    collector = Collector()
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    beam_fn_api_pb2_grpc.add_BeamFnLoggingServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    handler = FnApiLogRecordHandler(endpoints_pb2.ApiServiceDescriptor(url=f"127.0.0.1:{port}"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        notes.name_run("an-older-run")
        notes.name_run("20261126T120000Z-0badcafe")
        log = logging.getLogger("transforms.test")
        log.warning("calling %s", "https://user:hunter2@host/")
        try:
            raise ValueError("?key=hunter2 is wrong")
        except ValueError:
            log.exception("it failed")
    finally:
        root.removeHandler(handler)
        handler.close()
        server.stop(0)
    first, second = [entry.message for entry in collector.entries]
    assert first == "run 20261126T120000Z-0badcafe: calling https://***@host/"
    assert second.startswith("run 20261126T120000Z-0badcafe: it failed\nTraceback")
    assert "hunter2" not in "".join(str(entry) for entry in collector.entries)


def test_workers_in_other_processes_log_with_the_runs_id(tmp_path: Path) -> None:
    """As on Dataflow: the worker's handler sends its lines to the runner, which here logs them where it is let."""
    file = tmp_path / "bad.avro"
    file.write_bytes(b"<html>")
    place = ["--input", str(file), "--warehouse", str(tmp_path / "w"), "--direct_num_workers", "2", "--log_format", "json"]
    program = """
import logging
from pipelines.ingest import main
logging.getLogger("apache_beam.runners.portability.local_job_service").setLevel(logging.INFO)
main()
"""
    command = [sys.executable, "-c", program, *place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == status.NOTHING, done.stderr
    [(run_id,)] = ask(tmp_path / "w", "SELECT run_id FROM runs")
    told = [one for one in lines(done.stderr) if f"run {run_id}: dead letter of stage read" in one["message"]]
    assert len(told) == 1, done.stderr
