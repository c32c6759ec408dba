"""Whole runs on Prism, Beam's runner in Go: the same account, the same audit, the same committed counters as on our own."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from apache_beam.runners.portability.prism_runner import PrismRunner
from apache_beam.utils import subprocess_server
from apache_beam.utils.shared import Shared

from broker import cli
from pipelines import ingest
from pipelines.job import Job
from pipelines.options import parse
from tests.emulators import prism
from tests.nights import ask, run, simulated
from tests.pipelines.test_watch import old
from transforms.metrics import Totals, totals


@pytest.fixture(scope="module")
def engine() -> Iterator[tuple[str, ...]]:
    """The flags of Prism, which all runs of this process share."""
    if why := prism.missing():
        pytest.skip(why)
    begun: list[subprocess.Popen[bytes]] = []

    def kept(*words: Any, **how: Any) -> subprocess.Popen[bytes]:
        begun.append(subprocess.Popen(*words, **how))
        return begun[-1]

    with pytest.MonkeyPatch.context() as patch:
        # Beam neither waits for a Prism that it ends nor closes its pipe: what is left of both would be found in some other test.
        patch.setattr(subprocess_server, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": kept}))
        yield ("--runner", "PrismRunner", "--prism_location", str(prism.binary()))
        PrismRunner.shared_handle.acquire(lambda: None).stop()
        # It holds what was shared last until something else is.
        Shared().acquire(threading.Event)
    for process in begun:
        process.wait(20)
    for thread in threading.enumerate():
        if "log_stdout" in thread.name:
            thread.join(20)
    for process in begun:
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "300", "--duplicates", "3", "--damaged", "4")


def test_a_night_is_all_there_and_cross_matched(
    engine: tuple[str, ...], night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = ("--crossmatch", f"file:{night}/catalog.parquet")
    assert run(tmp_path / "w", night, flags=(*engine, *catalog)) == 0
    told = capsys.readouterr().out
    assert re.search(r"records read +307 .*\n  alerts written +303\n", told)
    assert cli.main(["audit", "--input", str(night), "--warehouse", str(tmp_path / "w")]) == 0
    assert run(tmp_path / "here", night, flags=catalog) == 0
    matched = "SELECT status, count(*), count(DISTINCT alert_id) FROM crossmatches GROUP BY 1 ORDER BY 1"
    assert ask(tmp_path / "w", matched) == ask(tmp_path / "here", matched)


def result_of(night: Path, warehouse: Path, *flags: str) -> Totals:
    options = parse(["--input", str(night), "--warehouse", str(warehouse), *flags])
    job = Job.from_options(options)
    try:
        return totals(ingest.run_to_its_end(job, options))
    finally:
        job.clean_up()


def test_its_committed_counters_are_those_of_our_own_runner(engine: tuple[str, ...], night: Path, tmp_path: Path) -> None:
    there, here = result_of(night, tmp_path / "there", *engine), result_of(night, tmp_path / "here")
    assert there.counters == here.counters
    assert there.counters["records_read"] == 307
    assert there.distributions["nights ztf"] == here.distributions["nights ztf"]


def test_a_stream_in_rounds_reads_each_file_once(
    engine: tuple[str, ...], night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows and what was read are there together: a second stream over the same folder finds nothing new."""
    folder = tmp_path / "in"
    folder.mkdir()
    archive = next(night.glob("*.tar.gz"))
    for name in ("1.tar.gz", "2.tar.gz"):
        old(Path(shutil.copy(archive, folder / name)))
    words = ["--watch", str(folder), "--warehouse", str(tmp_path / "w"), "--once", *engine]
    # Each file alone is more than that.
    assert ingest.run([*words, "--round_mb", "0.1"]) == 0
    said = capsys.readouterr().out
    assert [f"round {number}: 1 files, 303 alerts, 4 dead letters" in said for number in (1, 2, 3)] == [True, True, False]
    assert ingest.run(words) == 0
    assert "round 1" not in capsys.readouterr().out
    assert ask(tmp_path / "w", "SELECT COUNT(*), COUNT(DISTINCT source) FROM ztf_alerts") == [(606, 606)]
    assert ask(tmp_path / "w", "SELECT status, records_read FROM runs") == [("done", 307)] * 2


STRUCK = """
import os, signal, sys
from broker import cli
from pipelines import waiting
signal.signal(signal.SIGINT, signal.default_int_handler)
until = waiting._Waiting.until
def strike(*given):
    os.kill(os.getpid(), int(sys.argv[1]))
    return until(*given)
waiting._Waiting.until = strike
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_interrupted_leaves_no_prism_behind(
    engine: tuple[str, ...], night: Path, tmp_path: Path, number: signal.Signals
) -> None:
    mine = tmp_path / "prism"
    mine.symlink_to(engine[-1])
    words = ("ingest", "--input", night, "--warehouse", tmp_path / "w", *engine[:-1], mine)
    program = [sys.executable, "-c", STRUCK, str(int(number)), *map(str, words)]
    struck = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert (struck.returncode, "interrupted; " in struck.stderr) == (130, True), struck.stderr
    ends(mine)
    assert run(tmp_path / "w", night, flags=engine) == 0


def test_a_killed_stream_leaves_no_prism_behind(engine: tuple[str, ...], night: Path, tmp_path: Path) -> None:
    """It was idle, between two rounds, so that nothing else would tell it."""
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv: install util-linux")
    mine, folder = tmp_path / "prism", tmp_path / "in"
    mine.symlink_to(engine[-1])
    folder.mkdir()
    old(Path(shutil.copy(next(night.glob("*.tar.gz")), folder)))
    words = ("ingest", "--watch", folder, "--warehouse", tmp_path / "w", "--every_secs", "600", *engine[:-1], mine)
    with subprocess.Popen([sys.executable, "-m", "broker", *map(str, words)], stdout=subprocess.PIPE, text=True) as stream:
        assert stream.stdout is not None
        assert "is watched" in stream.stdout.readline()
        assert "round 1: " in stream.stdout.readline()
        assert any(str(mine).encode() in command for command in commands())
        stream.kill()
    ends(mine)


def ends(program: Path) -> None:
    """Wait until no process is of this program."""
    end = time.monotonic() + 30
    while any(str(program).encode() in command for command in commands()):
        assert time.monotonic() < end, "Prism lives on"
        time.sleep(0.1)


def commands() -> Iterator[bytes]:
    """The command lines of all processes."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield file.read_bytes()
