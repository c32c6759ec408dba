"""What the rounds of a stream tell while they go on: to Prometheus, and to who reads logs."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines import rounds
from pipelines.ingest import run
from pipelines.round_metrics import RoundMetrics, serving
from tests.nights import simulated
from tests.pages import ROOT
from tests.pipelines.test_watch import old
from warehouses import at

PAGE = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def values(text: str) -> dict[str, float]:
    """The samples of a page of Prometheus's, without the times when counters were made."""
    lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in lines if "_created" not in name}


def scraped(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return values(answer.read().decode())


def test_a_streams_rounds_are_counted_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, port = tmp_path / "in", free_port()
    folder.mkdir()
    night = simulated(tmp_path / "night", "--alerts", "30", "--damaged", "2")
    for number in range(2):
        old(Path(shutil.copy(next(night.glob("*.tar*")), folder / f"{number}.tar.gz")))
    found: dict[str, float] = {}

    @contextlib.contextmanager
    def looked_at(given: str | None) -> Iterator[RoundMetrics | None]:
        with serving(given) as metrics:
            yield metrics
            found.update(scraped(port))

    monkeypatch.setattr(rounds, "serving", looked_at)
    size_mb = next(folder.iterdir()).stat().st_size / 1e6
    words = ["--watch", str(folder), "--warehouse", str(tmp_path / "w"), "--metrics_port", str(port)]
    assert run([*words, "--once", "--round_mb", f"{size_mb:.6f}", "--log_format", "json"]) == 0
    assert found["broker_rounds_total"] == 2
    assert found["broker_records_read_total"] == 64
    assert found["broker_alerts_written_total"] == 60
    assert sum(number for name, number in found.items() if name.startswith("broker_dead_letters_total{")) == 4
    assert (found["broker_behind"], found["broker_rounds_failed_total"]) == (0, 0)
    assert found["broker_last_round_seconds"] > 0
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    told = [record for record in records if record["message"].startswith("round ")]
    assert [(record["round"], record["records"], record["alerts"], record["behind"]) for record in told] == [
        (1, 32, 30, 1),
        (2, 32, 30, 0),
    ]
    with at(str(tmp_path / "w")) as opened:
        runs = opened.query("SELECT run_id FROM runs ORDER BY run_id").column("run_id").to_pylist()
    assert sorted(record["run_id"] for record in told) == runs


def test_what_fails_and_what_catalogs_have_to_do_is_counted(tmp_path: Path) -> None:
    port = free_port()
    place = at(str(tmp_path / "w"))
    place.keep_plan("catalogs of some stream", json.dumps({"newest_run": "", "nights": [["ztf", "2026-11-28"]] * 3}))
    with serving(f"127.0.0.1:{port}") as metrics:
        assert metrics is not None
        metrics.failed()
        metrics.nothing()
        metrics.look_at_catalogs(place, "some stream")
        found = scraped(port)
    assert (found["broker_rounds_failed_total"], found["broker_catalog_backlog_nights"], found["broker_behind"]) == (1, 3, 0)
    # Once a minute at most.
    place.keep_plan("catalogs of some stream", json.dumps({"newest_run": "", "nights": []}))
    metrics.look_at_catalogs(place, "some stream")
    assert metrics.registry.get_sample_value("broker_catalog_backlog_nights") == 3


def test_a_port_that_cannot_be_had_is_told_before_anything_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--watch", str(tmp_path), "--warehouse", str(tmp_path / "w"), "--once"]
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        assert run([*words, "--metrics_port", str(held.getsockname()[1])]) == 2
    assert re.search(r"--metrics_port \d+ cannot be had: ", capsys.readouterr().err)
    assert run([*words, "--metrics_port", "http"]) == 2
    assert "--metrics_port http is no port" in capsys.readouterr().err


def test_the_page_has_every_metric_and_no_other() -> None:
    ours = {f"{family.name}_total" if family.type == "counter" else family.name for family in RoundMetrics().registry.collect()}
    assert set(re.findall(r"^\| `(broker_\w+)", PAGE, re.MULTILINE)) == ours
