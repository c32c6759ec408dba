"""The commands as a newcomer meets them."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from broker import cli, query, warehouse
from pipelines import ingest
from tests.nights import ask, run, simulated, truth


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "40", "--duplicates", "3", "--seed", "14")


@pytest.fixture(scope="module")
def folder(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("warehouse")
    assert run(place, night, flags=("--crossmatch", f"file:{night}/catalog.parquet")) == 0
    return place


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    with contextlib.suppress(SystemExit):
        cli.main([command, "--help"])
    return capsys.readouterr().out


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = help_of(command, capsys)
    assert f"usage: broker {command}" in said
    # The usage, and at least one example.
    assert said.count(f"broker {command} ") >= 2


def test_all_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {command} " in said for command in cli.COMMANDS)
    assert set(cli.COMMANDS) >= {"download", "ingest", "simulate", "publish", "query", "rematch", "replay", "plot", "info"}
    assert cli.main(["ingets"]) == 2
    assert "'ingets' is no command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["broker", "rem"], {"rematch"}),
        (["broker", "ingest", "--crossmatch_e"], {"--crossmatch_epoch"}),
        (["broker", "ingest", "--crossmatch_epoch", ""], {"catalog", "observed"}),
        (["broker", "plot", "li"], {"light-curve"}),
    ],
)
def test_bash_completes_commands_flags_and_choices(
    words: list[str], expected: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (bash := shutil.which("bash")):
        pytest.skip("bash is not on PATH")
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "broker.bash").write_text(capsys.readouterr().out)
    script = (
        f"source {tmp_path}/broker.bash; COMP_WORDS=({' '.join(repr(word) for word in words)}); "
        f"COMP_CWORD={len(words) - 1}; _shtab_broker broker; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    found = subprocess.run([bash, "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert expected <= set(found.stdout.split()), found


def test_what_is_known_of_one_alert(night: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    matched = next(one for one in truth(night) if one["kind"] == "duplicate")["alert_id"]
    with_star = ask(folder, "SELECT alert_id FROM crossmatches_unique WHERE status = 'matched' LIMIT 1")[0][0]
    assert cli.main(["info", str(matched), "--warehouse", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"ztf alert {matched}" in said
    assert "  rows             2" in said
    assert "science" in said
    assert cli.main(["info", str(with_star), "--warehouse", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "within 5 arcsec: matched" in said
    assert "mag" in said
    assert cli.main(["info", str(with_star), "--warehouse", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["alert"]["alert_id"] == str(with_star)
    assert found["stamps"]["science"] > 1000


def test_info_counts_the_bytes_of_the_stamps(folder: Path) -> None:
    alert_id, size = ask(folder, "SELECT alert_id, octet_length(science) FROM ztf_cutouts LIMIT 1")[0]
    with warehouse.open(str(folder)) as opened:
        (found,) = opened.info(alert_id)
    assert found["stamps"]["science"] == size


def test_an_alert_that_is_not_there(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info", "12345", "--warehouse", str(folder)]) == 1
    assert "holds no alert 12345" in capsys.readouterr().err
    assert cli.main(["info", "12345", "--warehouse", str(tmp_path)]) == 2
    assert "holds no tables" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "flag"),
    [("replay", "--max_alerts"), ("replay", "--load_every_secs"), ("rematch", "--no_history"), ("rematch", "--schemas")],
)
def test_a_flag_that_would_do_nothing_is_neither_listed_nor_taken(
    command: str, flag: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert flag not in help_of(command, capsys)
    assert flag in help_of("ingest", capsys)
    value = () if flag == "--no_history" else ("5",)
    assert cli.main([command, "--warehouse", str(folder), flag, *value]) == 2
    assert capsys.readouterr().err == f"broker {command}: {flag} does nothing in broker {command}; leave it out\n"


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["help"], ["{}", "--help"], ["{}", "-h"], ["help", "{}"], ["{}", "--warehouse", "x", "--help"]]
)
@pytest.mark.parametrize("command", ["ingest", "query", "simulate", "rematch", "plot"])
def test_every_form_of_help_prints_help(words: list[str], command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command in ("simulate", "plot") and "--warehouse" in words:
        words = ["{}", "--help"]  # they have no such flag, or not there
    with contextlib.suppress(SystemExit):
        assert cli.main([word.format(command) for word in words]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("usage: broker")
    assert said.err == ""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["ingest", "night.tar.gz"],
            "'night.tar.gz' stands alone; say that it is what to read: broker ingest --input night.tar.gz",
        ),
        (["rematch", "night"], "'night' stands alone; see broker rematch --help"),
        (["publish", "--topic", "projects/p/topics/t", "--input", "/nowhere.tar"], "--input /nowhere.tar matches no file"),
        (["publish", "--topic", "night", "--input", "/nowhere.tar", "--rate", "5"], "--rate 5 is not a number of messages"),
        (["compact", "--warehouse", "/proc/nowhere"], "broker compact: "),
        (["compact", "--night", "yesterday"], "broker compact: "),
        (["ingest", "--imput", "x"], "'--imput' is no option of broker ingest or of Beam; did you mean --input?"),
        (["ingets"], "'ingets' is no command; did you mean broker ingest?"),
        (["ingest", "--input", "nothing.tar", "--max-alerts", "0"], "--max_alerts is 0"),
    ],
)
def test_typos_are_answered_with_what_was_meant(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    if "nothing.tar" in words:
        words = [Path(__file__).as_posix() if word == "nothing.tar" else word for word in words]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"pitt-broker {metadata.version('pitt-broker')}\n"


def test_what_brings_nothing_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that was read are letters, or nothing was read; what was read is in the warehouse all the same."""
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "a.avro").write_bytes(b"<html>")
    assert run(tmp_path / "w", tmp_path / "night") == 3
    assert "1 of 1 records read are dead letters, most of stage read" in capsys.readouterr().err
    assert ask(tmp_path / "w", "SELECT count(*) FROM dead_letters") == [(1,)]
    (tmp_path / "night" / "a.avro").rename(tmp_path / "night" / "notes.txt")
    assert run(tmp_path / "w2", tmp_path / "night") == 3
    assert "nothing was read: the 1 files are no alerts by their names" in capsys.readouterr().err


def test_an_interrupted_command_ends_with_130(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(query, "_ask", interrupt)
    assert cli.main(["query", "SELECT 1", "--warehouse", str(folder)]) == 130
    assert capsys.readouterr().err == "broker query: interrupted\n"


def test_an_interrupted_run_ends_with_130_and_says_what_is_safe(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as pressed:
        pressed.setattr(ingest, "wait", interrupt)
        assert run(tmp_path / "w", night) == 130
    assert "interrupted; " in capsys.readouterr().err
    assert run(tmp_path / "w", night) == 0


@pytest.mark.parametrize("name", ["broker.completion", "broker.no_such_command"])
def test_the_collector_is_back_at_work_once_a_command_is_loaded(name):
    assert gc.isenabled()
    with contextlib.suppress(ModuleNotFoundError):
        cli._loaded(name)
    assert gc.isenabled()
