"""A folder that fills, read in rounds: each file once, when it is complete, whoever is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import warehouses
from pipelines import runs_table
from pipelines.ingest import run
from pipelines.watch_source import WatchedFiles
from tests.nights import simulated

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Files of one packet each."""
    night = simulated(tmp_path_factory.mktemp("night"), "--alerts", "24", "--seed", "5", "--archive", "folder")
    return sorted(night.rglob("*.avro"))


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    found = [simulated(tmp_path_factory.mktemp("night"), "--alerts", "8", "--seed", str(seed)) for seed in (1, 2, 3)]
    return [next(iter(sorted(night.rglob("*.tar*")))) for night in found]


def old(path: Path) -> Path:
    """As if it were there for an hour."""
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def put(file: Path, folder: Path, name: str | None = None) -> Path:
    return old(Path(shutil.copy(file, folder / (name or file.name))))


def words(folder: Path, place: Path, *others: str) -> list[str]:
    return ["--watch", str(folder), "--warehouse", str(place), "--every_secs", "0.2", *others]


def sources(place: Path) -> Counter[str]:
    with warehouses.at(str(place)) as opened:
        sql = "SELECT source FROM ztf_alerts UNION ALL SELECT source FROM dead_letters"
        return Counter(opened.query(sql).column("source").to_pylist())


def test_each_file_is_read_once_and_those_that_come_are_read(
    archives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, place = tmp_path / "in", tmp_path / "w"
    folder.mkdir()
    put(archives[0], folder, "1.tar")
    put(archives[1], folder, "2.tar.part")
    old(folder / "2.tar.part")
    (folder / "notes.txt").write_text("no alerts")
    assert run(words(folder, place, "--once")) == 0
    out = capsys.readouterr().out
    assert "0 of its files were read before" in out
    assert "round 1: 1 files, 8 alerts, 0 dead letters" in out
    (folder / "2.tar.part").rename(folder / "2.tar")
    put(archives[2], folder, "3.tar")
    assert run(words(folder, place, "--once")) == 0
    out = capsys.readouterr().out
    assert "1 of its files were read before" in out
    assert "round 1: 2 files, 16 alerts" in out
    assert run(words(folder, place, "--once")) == 0
    assert "round 1" not in capsys.readouterr().out
    assert sorted(sources(place).values()) == [1] * 24


def test_many_small_files_are_one_unit_and_a_backlog_is_read_in_rounds(
    packets: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, place = tmp_path / "in", tmp_path / "w"
    folder.mkdir()
    for packet in packets:
        put(packet, folder)
    mean_mb = sum(packet.stat().st_size for packet in packets) / len(packets) / 1e6
    assert run(words(folder, place, "--once", "--round_mb", f"{mean_mb * 12.5:.3f}")) == 0
    out = capsys.readouterr().out
    assert out.count("dead letters") in (2, 3)
    assert out.splitlines()[-1].endswith(" 0 behind")
    assert sorted(sources(place)) == sorted(str(folder / packet.name) for packet in packets)
    assert set(sources(place).values()) == {1}
    assert len(list((place / "ztf_alerts").rglob("*.parquet"))) <= 3


def test_a_file_that_grows_is_left_until_it_is_complete(archives: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    watched = WatchedFiles(str(folder), settled_secs=0.4)
    path = folder / "1.tar"
    data = archives[0].read_bytes()
    path.write_bytes(data[:1000])
    assert not watched._complete()
    assert watched.waits
    time.sleep(0.25)
    path.write_bytes(data)
    assert not watched._complete()
    time.sleep(0.25)
    # It is not as it was half a second ago.
    assert not watched._complete()
    time.sleep(0.4)
    assert list(watched._complete()) == [str(path)]
    assert not watched.waits


def test_a_file_that_cannot_be_opened_is_read_when_it_can(archives: list[Path], caplog: pytest.LogCaptureFixture) -> None:
    """To make it readable changes neither its size nor its time: read as a dead letter it would never be read again."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        path = put(archives[0], folder, "1.tar")
        path.chmod(0)
        fresh = put(archives[1], folder, "2.tar")
        os.utime(fresh)
        fresh.chmod(0)
        watched = WatchedFiles(str(folder), settled_secs=0.1)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        try:
            assert not watched._complete()
            time.sleep(0.2)
            for _ in range(2):
                assert not watched._complete()
        finally:
            if is_root:
                os.seteuid(0)
        # Who reads what there is is through.
        assert not watched.waits
        assert [caplog.text.count(f"{file} cannot be read (Permission denied)") for file in (path, fresh)] == [1, 1]
        path.chmod(0o644)
        fresh.chmod(0o644)
        assert set(watched._complete()) == {str(path), str(fresh)}


def test_a_pipe_by_the_name_of_an_alert_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who reads it waits for whoever writes to it, and with it the stream."""
    pipe = tmp_path / "pipe.avro"
    os.mkfifo(pipe)
    watched = WatchedFiles(str(tmp_path), settled_secs=0.0)
    for path in (pipe, old(pipe)):
        assert not watched._complete()
        assert f"{path} cannot be read (it is no regular file)" in caplog.text
    assert not watched.waits


def test_a_file_that_was_changed_is_read_again_and_replaces_what_it_was(
    archives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, place = tmp_path / "in", tmp_path / "w"
    folder.mkdir()
    put(archives[0], folder, "1.tar")
    assert run(words(folder, place, "--once")) == 0
    before = sources(place)
    put(archives[1], folder, "1.tar")
    os.utime(folder / "1.tar", (time.time() - 1800,) * 2)
    assert run(words(folder, place, "--once")) == 0
    assert "round 1: 1 files, 8 alerts" in capsys.readouterr().out
    after = sources(place)
    assert len(after) == 8
    assert after != before


class Killed(BaseException):
    """As a process dies."""


def test_a_round_that_dies_after_its_commit_has_its_row_of_runs_when_the_stream_goes_on(
    archives: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the options that it had: without them an audit would miss stamps that nobody wanted."""
    folder, place = tmp_path / "in", tmp_path / "w"
    folder.mkdir()
    put(archives[0], folder, "1.tar")

    def dies(*given: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(runs_table, "write_run", dies)
        with pytest.raises(Killed):
            run(words(folder, place, "--once", "--no_cutouts"))
    put(archives[1], folder, "2.tar")
    for _ in range(2):
        assert run(words(folder, place, "--once")) == 0
    with warehouses.at(str(place)) as opened:
        kept = opened.query("SELECT status, records_read, alerts_written, options FROM runs ORDER BY started_at").to_pylist()
        known = opened.query("SELECT COUNT(*) AS n FROM ztf_alerts WHERE run_id NOT IN (SELECT run_id FROM runs)").to_pylist()
    assert [(row["status"], row["records_read"], row["alerts_written"]) for row in kept] == [("done", 8, 8)] * 2
    assert [json.loads(row["options"]).get("cutouts", True) for row in kept] == [False, True]
    assert known == [{"n": 0}]


def test_names_that_are_no_utf8_are_read_once(archives: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, place = tmp_path / "in", tmp_path / "w"
    folder.mkdir()
    shutil.copy(archives[0], os.fsencode(folder) + b"/n\xff\n1.tar")
    os.utime(os.fsencode(folder) + b"/n\xff\n1.tar", (time.time() - 3600,) * 2)
    for _ in range(2):
        assert run(words(folder, place, "--once")) == 0
    assert capsys.readouterr().out.count("round 1: 1 files, 8 alerts") == 1
    assert len(sources(place)) == 8


def start(folder: Path, place: Path, *others: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "broker", "ingest", *words(folder, place, *others)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_and_ended(packets: list[Path], tmp_path: Path) -> None:
    """Killed twice while files come, then told to end: each packet once."""
    folder, place = tmp_path / "in", tmp_path / "w"
    folder.mkdir()

    def fill() -> None:
        for packet in packets:
            put(packet, folder, f".{packet.name}").rename(folder / packet.name)
            time.sleep(0.2)

    filling = threading.Thread(target=fill)
    filling.start()
    for secs in (0.7, 1.1):
        process = start(folder, place)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(secs)
        process.kill()
        process.communicate()
    filling.join()
    process = start(folder, place)
    assert process.stdout is not None
    assert "is watched" in process.stdout.readline()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(_sources_if_any(place)) < len(packets):
        time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert set(sources(place).values()) == {1}
    assert len(sources(place)) == len(packets)


@pytest.mark.parametrize("how", ["SIGTERM", "--stop_after_secs"])
def test_a_stream_to_which_nothing_comes_ends_with_0_when_it_is_told_to(
    how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would look again in an hour."""
    folder = tmp_path / "in"
    folder.mkdir()
    more = ("--stop_after_secs", "1") if how == "--stop_after_secs" else ()
    telling = threading.Timer(1.5, lambda: None if more else os.kill(os.getpid(), signal.SIGTERM))
    telling.start()
    assert run(["--watch", str(folder), "--warehouse", str(tmp_path / "w"), "--every_secs", "3600", *more]) == 0
    telling.join()
    assert "is watched; 0 of its files" in capsys.readouterr().out


def _sources_if_any(place: Path) -> Counter[str]:
    try:
        return sources(place)
    except warehouses.QueryError:
        return Counter()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--watch", "/nowhere"], "--watch /nowhere is no folder; make it, or give a glob such as /nowhere/*.tar.gz"),
        (["--watch", "/tmp", "--input", "x"], "--input and --watch are given; a run reads from one of them"),
        (["--watch", "/tmp", "--max_alerts", "3"], "--max_alerts is for files; a stream is ended by --stop_after_secs"),
        (
            ["--watch", "/tmp", "--kafka_group", "g"],
            "--kafka_group does nothing with --watch: it belongs to --kafka; leave it out",
        ),
        (
            ["--watch", "/tmp", "--load_every_secs", "9"],
            "--load_every_secs does nothing with --watch: it is for a stream on Dataflow",
        ),
        (["--input", "/tmp", "--every_secs", "9"], "--every_secs does nothing with --input: it is for a stream in rounds"),
        (["--input", "/tmp", "--id_label", "a"], "--id_label does nothing with --input: it is for a stream on Dataflow"),
        (["--watch", "/tmp", "--max_dead_letters", "0.1"], "--max_dead_letters is for files; a stream goes on"),
        (["--watch", "/tmp", "--every_secs", "0"], "--every_secs is 0; give a number of seconds above 0"),
    ],
)
def test_what_is_refused(flags: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*flags, "--warehouse", str(tmp_path / "w")]) == 2
    assert told in capsys.readouterr().err
