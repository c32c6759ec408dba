"""docs/streams_out.md does what it says: its examples are what its commands send, and its Python runs over that."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from broker import cli
from tests.nights import run, simulated
from tests.pages import ROOT, blocks

PAGE = "docs/streams_out.md"
FILTER = "rising_fast"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's night is, hits of one of its filters in ``hits``, as ``lite`` and as ``json``."""
    place = tmp_path_factory.mktemp("page")
    night = simulated(place / "night", "--alerts", "200", "--seed", "1")
    (place / "filters").mkdir()
    (place / "filters" / f"{FILTER}.sql").write_text((ROOT / "examples" / "filters" / f"{FILTER}.sql").read_text())
    publish = ("--publish", f"folder:{place}/hits/{{survey}}-{{filter}}", "--publish", f"folder:{place}/hits/json?format=json")
    assert run(place / "w", night, flags=("--filters", str(place / "filters"), "--no_cutouts", *publish)) == 0
    return place


def listen(name: str, save: str) -> None:
    assert cli.main(["listen", f"folder:hits/{name}", "--once", "--quiet_secs", "0.3", "--save", save]) == 0


def test_its_python_runs(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    listen(f"ztf-{FILTER}", "saved")
    capfd.readouterr()
    told: dict[str, Any] = {}
    some = blocks(PAGE, "python")
    assert len(some) == 2
    for block in some:
        exec(compile(block.text, str(block), "exec"), told)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(re.search(r"^2026-\S+ \S+ ZTF\S+ \{'rate_g_mag_per_day': .*\} [0-9.]+$", line) for line in lines), lines[0]
    assert told["table"].column("age_days").null_count == 0
    assert told["alert"]["cutoutScience"] is None


def test_its_examples_are_what_is_sent(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    capfd.readouterr()
    listen("json", "as_json")
    line, headers, told = (block.text.strip() for block in blocks(PAGE, ""))
    assert line in capfd.readouterr().out.splitlines()
    name = json.loads(headers)["id"]
    for example, ending in ((headers, "headers"), (told, "json")):
        found = json.loads((place / "as_json" / f"{name}.{ending}").read_text())
        # When it was asked is of each run.
        assert {**json.loads(example), "passed_at": None} == {**found, "passed_at": None}
