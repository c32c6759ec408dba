"""Clouds that are not there: a sentence within seconds, from every command, and never a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from broker import cli
from tests.emulators import settings
from tests.nights import simulated

PLACE = "bigquery://a-project/a_dataset"
SERVERS = {"STORAGE_EMULATOR_HOST": "http://127.0.0.1:9"}
"""Nothing answers at that port. Google's clients alone would try for two to ten minutes."""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "3")


@pytest.fixture
def broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs a command as on a machine that has no account; gives its status and what it said."""

    def run(*words: str, **variables: str) -> tuple[int, str]:
        capsys.readouterr()
        with mock.patch.dict(os.environ, variables):
            return cli.main(list(words)), capsys.readouterr().err

    with settings.without_account(str(tmp_path)):
        yield run


@pytest.mark.parametrize(
    "words",
    [
        ("query", "SELECT 1"),
        ("info", "5"),
        ("audit", "--ids", "{ids}"),
        ("plot", "sky", "--night", "2026-01-01", "--out", "sky.png"),
    ],
    ids=lambda words: words[0],
)
def test_bigquery_without_credentials(words: tuple[str, ...], tmp_path: Path, broker: Callable[..., tuple[int, str]]) -> None:
    ids = tmp_path / "ids.csv"
    ids.write_text("alert_id\n5\n")
    status, said = broker(*(word.format(ids=ids) for word in words), "--warehouse", PLACE)
    assert status == 2
    assert f"{PLACE} cannot be opened: there are no Google credentials here; make them with: gcloud auth" in said
    assert said.count("\n") == 1


def test_runs_into_bigquery_without_credentials(night: Path, broker: Callable[..., tuple[int, str]]) -> None:
    for words in (("ingest", "--input", str(night), "--write_method", "streaming_inserts"), ("rematch",), ("replay",)):
        method = () if words[0] == "ingest" else ("--write_method", "streaming_inserts")
        status, said = broker(*words, *method, "--warehouse", PLACE)
        assert (status, said.count("\n")) == (1, 1), said
        assert "there are no Google credentials here" in said


def test_a_bucket_that_is_asked_and_does_not_answer(broker: Callable[..., tuple[int, str]]) -> None:
    status, said = broker("query", "SELECT 1", "--warehouse", "gs://no-such-bucket/w", **SERVERS)
    assert (status, said.count("\n")) == (2, 1), said
    assert "gs://no-such-bucket does not answer within 10 s" in said


@pytest.mark.parametrize("flag", ["--input", "--warehouse"])
def test_a_bucket_whose_service_does_not_answer(
    flag: str, night: Path, tmp_path: Path, broker: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beam looks for credentials again and again for half a minute where there are none.
    monkeypatch.setattr("apache_beam.internal.gcp.auth.get_service_credentials", lambda _: pytest.fail("Beam was asked"))
    given = {"--input": str(night), "--warehouse": str(tmp_path / "w"), flag: "gs://no-such-bucket/night.tar.gz"}
    status, said = broker("ingest", *(word for pair in given.items() for word in pair), **SERVERS)
    assert (status, said.count("\n")) == (2, 1), said
    assert "gs://no-such-bucket does not answer within 10 s" in said
