"""``docs/filters.md``: the filters that it shows are such, and what it prints is what is printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from alerts.filters.functions import AGGREGATES, FUNCTIONS
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.surveys import SURVEYS
from broker import cli
from tests.nights import ask, run, simulated, truth
from tests.pages import ROOT, blocks, commands

PAGE = "docs/filters.md"


def block(begin: str) -> str:
    (found,) = [each.text for each in blocks(PAGE) if each.text.startswith(begin)]
    return found


def test_the_commands_of_the_page_print_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    night = simulated(Path("night"), "--alerts", "300", "--seed", "1", "--night", "2026-11-01")
    assert run(Path("warehouse"), night) == 0
    Path("fast.sql").write_text(block("-- about: fades"))
    [lines] = [[*commands(each)] for each in blocks(PAGE, "sh") if each.text.startswith("broker filter ")]
    printed = []
    for line in lines:
        capsys.readouterr()
        assert cli.main(shlex.split(line)[1:]) == 0
        printed.append(capsys.readouterr().out.replace(str(Path("warehouse").resolve()), "./warehouse"))
    head, tried, alert, survivors, rates = printed
    assert head.startswith("fast.sql: good for ztf, version 51419956dac7, cost 0.00")
    # What it took is another each time.
    shown = block("fast.sql, version 51419956dac7, over").splitlines()
    assert [line[:-6] for line in tried.splitlines()[:3]] == [line[:-6] for line in shown]
    assert Path("page.html").read_text(encoding="utf-8").count("No alert has passed.") == 1
    assert alert.startswith(block("ztf alert"))
    assert survivors.startswith(block("fast.sql, version 51419956dac7: of"))
    assert "of 300 ztf alerts of night 2026-11-01 0 pass, a part of 0.00000" in rates


def test_the_commands_with_lists_find_what_was_planted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (made,) = [line for each in blocks(PAGE, "sh") for line in commands(each) if line.startswith("broker simulate")]
    [lines] = [[*commands(each)] for each in blocks(PAGE, "sh") if "--watchlist" in each.text]
    printed = []
    for line in (made, *lines):
        capsys.readouterr()
        assert cli.main(shlex.split(line)[1:]) == 0, line
        printed.append(capsys.readouterr().out)
    told = [each for each in truth(Path("night")) if each["kind"] == "good"]
    planted = {"watched": [each for each in told if each["is_watched"]]}
    planted["best_half_of_the_map"] = [each for each in told if each["region_level"] <= 0.5]
    for name, expected in planted.items():
        passed = f"SELECT alert_id FROM verdicts_unique WHERE filter = '{name}' AND status = 'passed' ORDER BY 1"
        found = [alert_id for (alert_id,) in ask(Path("warehouse"), passed)]
        assert found == sorted(each["alert_id"] for each in expected), name
        assert found, name
    _, _, columns, checked, tried, asked = printed
    assert [line.split()[0] for line in columns.splitlines()] == [
        f"regions.event{ending}" for ending in ("", "_level", "_days_since", "_days_to_first_detection")
    ]
    assert checked.count("of its own packets 1 pass and 1 do not, as they must") == 4
    assert [line.split()[1:3] for line in tried.splitlines() if line.startswith("2026-")] == [
        ["200", str(len(planted["watched"]))]
    ]
    assert f"watched                  {len(planted['watched'])} of 200 ztf alerts passed" in asked


def test_the_filter_with_lists_is_the_example() -> None:
    assert block("-- about: new since") == (ROOT / "examples" / "filters_with_lists" / "in_the_map.sql").read_text()


def test_the_filter_is_good_and_without_its_sign_it_is_told_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fast.sql").write_text(block("-- about: fades"))
    assert cli.main(["filter", "check", "fast.sql"]) == 0
    assert capsys.readouterr().out.startswith("fast.sql: good for ztf, version ")
    told = block("fast.sql:")
    Path("fast.sql").write_text("-- surveys: ztf\n\n\nSELECT alert_id\nFROM alerts\nWHERE candidate.magpsf < 18\n")
    assert cli.main(["filter", "check", "fast.sql"]) == 0
    assert capsys.readouterr().err.rstrip() == told.rstrip()


def test_the_subqueries_are_of_the_language() -> None:
    lines = block("(SELECT COUNT(*)").replace("\n        ", " ").splitlines()
    assert len(lines) == 3
    for line in lines:
        assert parse(f"SELECT alert_id FROM alerts WHERE {line}", row_of(SURVEYS["ztf"])).where.type == "BOOL"


def test_the_page_names_all_functions() -> None:
    words = set(re.findall(r"[A-Z][A-Z0-9_]+", (ROOT / PAGE).read_text(encoding="utf-8")))
    named = {
        function.sql for function in (*FUNCTIONS.values(), *AGGREGATES.values()) if re.fullmatch(r"[A-Z0-9_]+", function.sql)
    }
    assert named - words == set()


def test_the_filter_in_python_passes_what_it_says(tmp_path: Path) -> None:
    (python,) = blocks(PAGE, "python")
    (tmp_path / "filters").mkdir()
    (tmp_path / "filters" / "even.py").write_text(f"# surveys: ztf\n{python.text}\n")
    night = simulated(tmp_path / "night", "--alerts", "30", "--seed", "2")
    assert run(tmp_path / "w", night, flags=("--filters", str(tmp_path / "filters"), "--no_cutouts")) == 0
    even = ask(tmp_path / "w", "SELECT alert_id FROM ztf_alerts WHERE alert_id % 2 = 0 ORDER BY 1")
    assert ask(tmp_path / "w", "SELECT alert_id FROM verdicts WHERE status = 'passed' ORDER BY 1") == even
    assert 0 < len(even) < 30
