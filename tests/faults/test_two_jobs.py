"""Two runs over the same night, into the same warehouse, at the same time."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulators.cloud import Cloud
from tests.faults.nights import Night
from tests.faults.runs import HANGS_AFTER_SECS, Run, audit, bigquery_flags

pytestmark = pytest.mark.faults

APART_SECS = (0.0, 0.0, 0.7, 1.8)


def test_folder(night: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """One is refused in a sentence, before it reads anything; the other does it all."""
    warehouse = tmp_path / "warehouse"
    words = ("ingest", "--input", night.archive, "--warehouse", warehouse)
    verdict = None
    for secs in APART_SECS:
        first = Run(tmp_path / "first", *words)
        time.sleep(secs)
        second = Run(tmp_path / "second", *words)
        assert sorted([first.end(), second.end()]) == [0, 1], first.said + second.said
        refused = first if first.process.returncode else second
        assert "wait for its end, or give another --warehouse" in refused.said
        verdict = audit("--input", night.archive, "--warehouse", warehouse)
        verdict.must_be_whole()
    assert verdict is not None
    tell("two runs at once, folder", len(APART_SECS), verdict, "the second is refused in a sentence")


def test_folder_and_other_nights_beside_it(night: Night, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Runs over other files of the same warehouse do not wait for each other, and take nothing of each other away."""
    warehouse = tmp_path / "warehouse"
    for _ in range(2):
        runs = [
            Run(tmp_path / name, "ingest", "--input", one.archive, "--warehouse", warehouse)
            for name, one in (("a", night), ("b", light))
        ]
        assert [run.end() for run in runs] == [0, 0], [run.said for run in runs]
    verdict = audit("--input", night.archive, "--input", light.archive, "--warehouse", warehouse, "--stamps")
    tell("two runs at once over different files, folder", 2, verdict)
    verdict.must_be_whole()


@pytest.mark.parametrize("method", ["file_loads", "streaming_inserts", "storage_write"])
def test_bigquery(method: str, cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Both write all of it: twice in the tables by design, once in the view. Neither dataset nor tables are there before."""
    place = f"bigquery://{cloud.project}/{cloud.dataset()}"
    more = bigquery_flags(cloud, method)
    words = ("ingest", "--input", light.archive, "--warehouse", place, *more)
    runs = [Run(tmp_path / name, *words, child=("--cloud",), environment=cloud.variables) for name in ("a", "b")]
    assert [run.end() for run in runs] == [0, 0], [run.said for run in runs]
    verdict = audit("--input", light.archive, "--warehouse", place, "--no_cutouts")
    again = verdict.information["rows_again"]
    tell(f"two runs at once, BigQuery by {method}", 1, verdict, f"{again:,} rows again in the table, each alert once in the view")
    verdict.must_be_whole()


def test_bucket(cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """A bucket has no locks, but claims: of two that begin in one moment both may be refused; nothing is lost or doubled."""
    folder = cloud.folder()
    words = ("ingest", "--input", light.archive, "--warehouse", folder)

    def ingest(name: str) -> Run:
        return Run(tmp_path / name, *words, child=("--cloud",), environment=cloud.variables)

    # The emulator keeps objects as files: they are audited where they lie.
    truth = ("--input", light.archive, "--warehouse", cloud.objects / folder.removeprefix("gs://"))
    assert ingest("before").end() == 0
    refused = 0
    for secs in (0.0, 0.0, 0.4):
        first = ingest("first")
        time.sleep(secs)
        second = ingest("second")
        ended = [first.end(), second.end()]
        between = audit(*truth)
        assert (between.lost, between.doubled) == (0, 0)
        assert sorted(ended) in ([0, 1], [1, 1], [0, 0]), first.said + second.said
        for run, status in zip((first, second), ended, strict=True):
            assert status == 0 or "wait for its end, or give another --warehouse" in run.said
        refused += ended.count(1)
    assert refused
    assert ingest("again").end() == 0
    verdict = audit(*truth)
    tell(
        "two runs at once, gs:// folder",
        3,
        verdict,
        f"{refused} of 6 runs were refused in a sentence, none doubled at any moment",
    )
    verdict.must_be_whole()


def test_a_run_that_comes_back_late(cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """It stood still until its claim was void, another run did its work meanwhile; then it goes on, and changes nothing."""
    folder = cloud.folder()
    words = ("ingest", "--input", light.archive, "--warehouse", folder)
    child = ("--cloud", "--claims_void_secs", "6")
    place = cloud.objects / folder.removeprefix("gs://")
    late = Run(tmp_path / "late", *words, child=child, environment=cloud.variables)
    assert late.wait_for(lambda: any(place.glob("_tmp/*/**/*.parquet")))
    os.killpg(late.process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + HANGS_AFTER_SECS
    while Run(tmp_path / "other", *words, child=child, environment=cloud.variables).end() != 0:
        assert time.monotonic() < deadline, (tmp_path / "other").read_text()
    os.killpg(late.process.pid, signal.SIGCONT)
    assert late.end() == 1
    assert "has lost its claim" in late.said or "cannot be put in place" in late.said, late.said
    verdict = audit("--input", light.archive, "--warehouse", place)
    tell("a run that comes back after its claim is void, gs:// folder", 1, verdict, "it changes nothing, and says why")
    verdict.must_be_whole()
