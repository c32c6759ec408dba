"""Secrets planted wherever a run takes one in, and looked for wherever it leaves something."""

from __future__ import annotations

import argparse
import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage

from alerts.avro.wire_schemas import REGISTRY_PASSWORD, REGISTRY_USER
from alerts.secrets import HIDDEN
from broker.audit import add_arguments
from broker.audit import main as audit_main
from pipelines import ingest, rematch, replay, status
from pipelines.job import Job
from pipelines.options import parse
from tests.alerts.making import LSST_SCHEMA, lsst_record, wire_message
from tests.emulators.http_server import Handler, serving
from tests.nights import ask, simulated
from tests.pipelines.test_metrics import Messages
from tests.ready import run_module

USER, PASSWORD, KEY = "operator", "hunter2-Tr0ub4dor", "s3cr3t-0123456789abcdef"
SECRETS = [PASSWORD, KEY, base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode(), "hunter2"]


class Service:
    """Answers to GET and POST as it is told, and keeps the Authorization headers it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.needs: str | None = None
        self.sent: list[tuple[str, str | None]] = []


@contextmanager
def new_service() -> Iterator[Service]:
    state = Service()

    class Answers(Handler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            sent = self.headers.get("Authorization")
            state.sent.append((self.path, sent))
            status, headers, body = state.answers.get(self.path, (404, {}, b"{}"))
            if state.needs is not None and sent != state.needs:
                status, headers, body = 401, {}, f"wrong: {sent}".encode()
            self.send_response(status, f"key={KEY}" if status >= 400 else None)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

    with serving(Answers) as url:
        state.url = url
        yield state


@pytest.fixture
def service() -> Iterator[Service]:
    with new_service() as made:
        yield made


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alerts of ZTF, and two messages of LSST whose schema only a registry has."""
    folder = simulated(tmp_path_factory.mktemp("night"), "--alerts", "20", "--damaged", "3", "--seed", "4")
    for number in (1, 2):
        (folder / f"wire-{number}.avro").write_bytes(wire_message(lsst_record(number), schema_id=5))
    return folder


def everything_in(warehouse: Path) -> str:
    """All that is in the files of a warehouse: their bytes, and the values in their compressed pages."""
    found = []
    for file in sorted(path for path in warehouse.rglob("*") if path.is_file()):
        found += [str(file), file.read_bytes().decode("latin-1")]
        if file.suffix == ".parquet":
            found.append(str(pq.ParquetFile(file).read().to_pylist()))
    return "\n".join(found)


def assert_no_secret(*texts: str) -> None:
    for secret in SECRETS:
        for text in texts:
            place = text.find(secret)
            assert place < 0, f"{secret} is in: {text[max(0, place - 200) : place + 80]}"


def ingested(night: Path, warehouse: Path, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One ingest in a process of its own, so that all it says is seen."""
    return run_module("pipelines.ingest", "--input", night, "--warehouse", warehouse, *flags, **environment)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_secret_is_left_by_a_run_whose_services_refuse_it(night: Path, tmp_path: Path, service: Service, form: str) -> None:
    """A registry and a catalog that want other credentials and quote ours, and secrets among the options."""
    service.needs = "somebody else"
    flags = ["--schemas", service.url, "--crossmatch", "vizier:II/328/allwise", "--crossmatch_url", f"{service.url}/sync"]
    flags += ["--s3_secret_access_key", KEY, "--s3_session_token", PASSWORD, "--log_format", form]
    done = ingested(night, tmp_path, *flags, **{REGISTRY_USER: USER, REGISTRY_PASSWORD: PASSWORD, "NETRC": str(netrc(tmp_path))})
    assert done.returncode == 0, done.stderr
    assert {sent for path, sent in service.sent if path.startswith("/schemas")} == {f"Basic {SECRETS[2]}"}
    assert {sent for path, sent in service.sent if path == "/sync"} == {f"Basic {SECRETS[2]}"}
    (tmp_path / "netrc").unlink()
    assert_no_secret(everything_in(tmp_path), done.stdout, done.stderr)
    letters = ask(tmp_path, "SELECT count(*) FROM dead_letters WHERE message LIKE '%answered 401%'")
    assert letters == [(2,)]
    [(error,)] = ask(tmp_path, "SELECT DISTINCT error FROM crossmatches")
    assert HIDDEN in error
    options = json.loads(ask(tmp_path, "SELECT options FROM runs")[0][0])
    assert (options["s3_secret_access_key"], options["s3_session_token"]) == (HIDDEN, HIDDEN)
    assert options["schemas"] == service.url


def netrc(folder: Path) -> Path:
    file = folder / "netrc"
    file.write_text(f"machine 127.0.0.1 login {USER} password {PASSWORD}\n")
    file.chmod(0o600)
    return file


def test_a_registry_gets_user_and_password_from_the_environment(night: Path, tmp_path: Path, service: Service) -> None:
    service.needs = f"Basic {SECRETS[2]}"
    service.answers["/schemas/ids/5"] = 200, {}, json.dumps({"schema": json.dumps(LSST_SCHEMA)}).encode()
    environment = {REGISTRY_USER: USER, REGISTRY_PASSWORD: PASSWORD}
    done = ingested(night, tmp_path, "--schemas", service.url, **environment)
    assert done.returncode == 0, done.stderr
    assert ask(tmp_path, "SELECT count(*) FROM lsst_alerts") == [(2,)]
    assert_no_secret(everything_in(tmp_path), done.stdout, done.stderr)


def test_a_registry_that_leads_elsewhere_is_not_followed(night: Path, tmp_path: Path, service: Service) -> None:
    with new_service() as elsewhere:
        service.answers["/schemas/ids/5"] = 302, {"Location": f"{elsewhere.url}/here"}, b""
        environment = {REGISTRY_USER: USER, REGISTRY_PASSWORD: PASSWORD}
        assert ingested(night, tmp_path, "--schemas", service.url, **environment).returncode == 0
        assert {sent for _, sent in service.sent} == {f"Basic {SECRETS[2]}"}
        assert elsewhere.sent == []
        message = f"the registry leads wire schema id 5 on to {elsewhere.url}/here; if that is right, give that address"
    assert ask(tmp_path, "SELECT DISTINCT message FROM dead_letters WHERE error_type = 'UnknownSchema'") == [(message,)]


@pytest.mark.parametrize(
    "location", [f"http://{USER}:{PASSWORD}@127.0.0.1:9/", f"http://127.0.0.1:9/x?key={KEY}", f"http://{USER}:{PASSWORD}/@h:1/"]
)
def test_a_service_that_leads_to_an_address_with_a_password(night: Path, tmp_path: Path, service: Service, location: str) -> None:
    for path in ("/schemas/ids/5", "/sync"):
        service.answers[path] = 302, {"Location": location}, b""
    flags = ["--schemas", service.url, "--crossmatch", "vizier:II/328/allwise", "--crossmatch_url", f"{service.url}/sync"]
    done = ingested(night, tmp_path, *flags, "--log_format", "json")
    assert done.returncode == 0, done.stderr
    assert ask(tmp_path, "SELECT count(*) FROM dead_letters WHERE message LIKE '%wire schema id 5%'") == [(2,)]
    assert ask(tmp_path, "SELECT DISTINCT status FROM crossmatches") == [("failed",)]
    assert_no_secret(everything_in(tmp_path), done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("flag", "url", "remedy"),
    [
        ("--schemas", f"https://{USER}:{PASSWORD}@registry.example.org", REGISTRY_PASSWORD),
        ("--schemas", f"https://{KEY}@registry.example.org/x", REGISTRY_PASSWORD),
        ("--schemas", f"https://registry.example.org/?api_key={KEY}", REGISTRY_PASSWORD),
        ("--crossmatch_url", f"https://{USER}:{PASSWORD}@cds.example.org/sync", "NETRC"),
        ("--crossmatch_url", f"https://cds.example.org/sync?key={KEY}", "NETRC"),
        ("--crossmatch_url", f"ftp://{USER}:{PASSWORD}@cds.example.org/sync", "http"),
        ("--input", f"https://{USER}:{PASSWORD}@archive.example.org/night.tar", "cannot be listed"),
        ("--no_such_flag", f"https://{USER}:{PASSWORD}@archive.example.org", "no option"),
        ("--subscription", f"token={KEY}", "--input and --subscription"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_url_with_a_credential_is_refused_and_not_repeated(
    night: Path, tmp_path: Path, flag: str, url: str, remedy: str, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--warehouse", str(tmp_path / "w"), "--log_format", form, f"{flag}={url}"]
    assert ingest.run(["--input", str(night), *words]) == status.WRONG_OPTIONS
    said = capsys.readouterr()
    assert remedy in said.err
    assert_no_secret(said.err, said.out)
    assert not any(path.is_file() for path in (tmp_path / "w").rglob("*"))


def test_attributes_of_a_message_that_fails_are_kept_without_secrets(tmp_path: Path) -> None:
    attributes = {"candid": "5", "authorization": f"Bearer {KEY}", "link": f"https://h/x?key={KEY}", "password": PASSWORD}
    message = PubsubMessage(b"<html>", attributes, "1", publish_time=datetime.now(timezone.utc))
    options = parse(["--warehouse", str(tmp_path)])
    job = Job.to_replay(options)
    ingest.run_to_its_end(replace(job, read=Messages([message], as_stream=False)), options)
    job.clean_up()
    [(kept,)] = ask(tmp_path, "SELECT attributes FROM dead_letters")
    stored = json.loads(kept)
    assert (stored["candid"], stored["link"], stored["password"]) == ("5", f"https://h/x?key={HIDDEN}", HIDDEN)
    assert stored["published_at"]
    assert_no_secret(everything_in(tmp_path))


def test_other_commands_refuse_it_too(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest.run(["--input", str(night), "--warehouse", str(tmp_path)]) == 0
    bad = ["--warehouse", str(tmp_path), "--schemas", f"https://{USER}:{PASSWORD}@registry.example.org"]
    assert replay.run(bad) == status.WRONG_OPTIONS
    assert rematch.run(bad) == status.WRONG_OPTIONS
    parser = ingest_parser()
    assert audit_main(parser.parse_args(["--input", str(night), *bad])) == 2
    said = capsys.readouterr()
    # Of replay and audit: a rematch reads no packets, and refuses the flag itself.
    assert said.err.count(REGISTRY_PASSWORD) == 2
    assert_no_secret(said.err, said.out, everything_in(tmp_path))


def ingest_parser() -> Any:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser
