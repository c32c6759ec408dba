"""docs/streams_out.md does what it says: its Python runs over hits that its commands have sent and saved."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from broker import cli
from tests.nights import run, simulated
from tests.pages import blocks

PAGE = "docs/streams_out.md"
EVERY = "-- surveys: ztf\nSELECT candidate.magpsf AS mag FROM alerts WHERE candidate.jd > 0\n"


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    night = simulated(tmp_path / "night", "--alerts", "20", "--seed", "1")
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / "fast.sql").write_text(EVERY)
    flags = ("--filters", "filters", "--no_cutouts", "--publish", "folder:hits/{survey}-{filter}")
    assert run(tmp_path / "w", night, flags=flags) == 0
    assert cli.main(["listen", "folder:hits/ztf-fast", "--once", "--quiet_secs", "0.5", "--save", "saved"]) == 0
    capfd.readouterr()
    told: dict[str, object] = {}
    some = blocks(PAGE, "python")
    assert len(some) == 2
    for block in some:
        exec(compile(block.text, str(block), "exec"), told)
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 20
    assert all(re.search(r"^2026-\S+ \S+ ZTF\S+ \{'mag': [0-9.]+\} [0-9.]+$", line) for line in lines), lines[0]
    assert told["table"].column("mag").null_count == 0  # type: ignore[attr-defined]
    assert told["alert"]["cutoutScience"] is None  # type: ignore[index]
