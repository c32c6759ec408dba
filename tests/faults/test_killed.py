"""SIGKILL of a whole run, at any moment, and the same command again: a folder, and BigQuery both ways."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import warehouses
from tests.cloud.test_bucket_commits import struck_at
from tests.emulators.cloud import Cloud
from tests.faults.nights import Night
from tests.faults.runs import Run, audit, bigquery_flags
from warehouses.folder import compact, index, readers
from warehouses.folder.rebuild import rebuild

pytestmark = pytest.mark.faults

KILLS = 20


def moments(seed: int) -> Iterator[float]:
    """Fractions of a run's time at random, one in each twentieth of it; then over again."""
    chance = random.Random(seed)
    while True:
        drawn = [(part + chance.random()) / KILLS for part in range(KILLS)]
        chance.shuffle(drawn)
        yield from drawn


def killed(begin: Callable[[], Run], secs: float, seed: int) -> Iterator[int]:
    """Begin runs and kill them, until that has struck twenty that lived; gives the number after each."""
    struck = 0
    for moment in moments(seed):
        run = begin()
        time.sleep(moment * secs)
        if run.kill():
            struck += 1
            yield struck
        else:
            assert run.process.returncode == 0, run.said
        if struck == KILLS:
            return


def secs_of(begin: Callable[[], Run]) -> float:
    """How long a run takes that nobody disturbs, from where ``begin`` leaves it."""
    run = begin()
    begun = time.monotonic()
    assert run.end() == 0, run.said
    return time.monotonic() - begun


def test_folder(night: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Ten kills before the night is there, ten while it is ingested again, when nothing may be missing at any moment."""
    warehouse = tmp_path / "warehouse"
    truth = ("--input", night.archive, "--warehouse", warehouse)

    def ingest(place: Path = warehouse) -> Run:
        run = Run(tmp_path / "log", "ingest", "--input", night.archive, "--warehouse", place)
        # Python's start is not what is tested here.
        run.wait_for(lambda: any(place.glob("_tmp/*.lock")))
        return run

    secs = secs_of(lambda: ingest(tmp_path / "undisturbed"))
    most_doubled = 0
    for number in killed(ingest, secs, seed=1):
        if number > KILLS // 2:
            between = audit(*truth)
            assert between.lost == 0, between
            most_doubled = max(most_doubled, between.doubled)
        if number in (KILLS // 2, KILLS):
            assert secs_of(ingest) > 0
    verdict = audit(*truth, "--stamps")
    assert most_doubled == 0
    note = "ten of them into a night that is there: none missing and none doubled at any moment"
    tell("SIGKILL at random moments, folder", KILLS, verdict, note)
    verdict.must_be_whole()
    assert not list(warehouse.glob("_tmp/*")), "what killed runs left must go"


def test_folder_at_every_step_of_putting_files_in_place(light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """The moments that chance hardly meets: before each file that is renamed, linked or removed, when the night is there already.

    All the while somebody reads in a loop.
    """
    warehouse = tmp_path / "warehouse"
    words = ("ingest", "--input", light.archive, "--warehouse", warehouse)
    assert Run(tmp_path / "log", *words).end() == 0
    with reading(warehouse) as seen:
        steps = struck_at_every_step(tmp_path, warehouse, words, ("--input", light.archive, "--warehouse", warehouse))
    assert len(seen) == 1, "a reader has seen rows twice, or not all of them"
    # Files of alerts and of letters are renamed, the manifest is made, those before them removed; then the row of the run.
    assert steps > 8
    verdict = audit("--input", light.archive, "--warehouse", warehouse)
    note = "none missing, none doubled at any step, for a reader in a loop neither"
    tell("SIGKILL before every step of putting files in place, folder", steps, verdict, note)
    verdict.must_be_whole()


def test_folder_at_every_step_of_compaction(light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Another input of the night first, so that there is something to put together."""
    warehouse = tmp_path / "warehouse"
    copy = tmp_path / "copy.tar"
    copy.write_bytes(light.archive.read_bytes())
    inputs = ("--input", light.archive, "--input", copy)
    for path in (light.archive, copy):
        assert Run(tmp_path / "log", "ingest", "--input", path, "--warehouse", warehouse).end() == 0
    words = ("compact", "--warehouse", warehouse)
    with reading(warehouse) as seen:
        steps = struck_at_every_step(tmp_path, warehouse, words, (*inputs, "--warehouse", warehouse))
        # Which begins with the manifest again each time, and makes the whole index.
        again = struck_at_every_step(tmp_path, warehouse, (*words, "--rebuild"), (*inputs, "--warehouse", warehouse))
    assert len(seen) == 1, "a reader has seen rows twice, or not all of them"
    assert min(steps, again) > 3
    assert readers.begun(str(warehouse)).of("ztf_alerts").num_rows == len(list(warehouse.glob("ztf_alerts/*")))
    verdict = audit(*inputs, "--warehouse", warehouse)
    assert not index.not_indexed(readers.begun(str(warehouse))).num_rows
    note = "none missing, none doubled at any step, for a reader in a loop neither, by the index neither"
    tell("SIGKILL before every step of compaction, folder", steps, verdict, note)
    tell("SIGKILL before every step of a manifest and an index made anew, folder", again, verdict, note)
    verdict.must_be_whole()


def test_bucket_at_every_step(cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Dead before each change of a bucket, of a compaction and of a manifest and an index made anew, and somebody reads."""
    place = cloud.folder()
    copy = tmp_path / "copy.tar"
    copy.write_bytes(light.archive.read_bytes())
    for path in (light.archive, copy):
        words = ("ingest", "--input", path, "--warehouse", place)
        assert Run(tmp_path / "log", *words, child=("--cloud",), environment=cloud.variables).end() == 0
    steps = 0
    with reading(place) as seen:
        for work in (compact.compact, rebuild):
            for step in range(60):
                with struck_at(step) as made:
                    work(place)
                if len(made) < step:
                    break
            else:
                pytest.fail(f"{work.__name__} has not ended after 60 changes")
            steps += step
    assert len(seen) == 1, "a reader has seen rows twice, or not all of them"
    assert steps > 6
    now = readers.begun(place)
    assert now.of("ztf_alerts").num_rows < 2 * len(set(now.of("ztf_alerts").column("night").to_pylist()))
    assert not index.not_indexed(now).num_rows
    verdict = audit("--input", light.archive, "--input", copy, "--warehouse", cloud.objects / place.removeprefix("gs://"))
    note = "compaction, and a manifest and an index made anew: none missing, none doubled for a reader in a loop"
    tell("dead before every change of a gs:// folder", steps, verdict, note)
    verdict.must_be_whole()


def struck_at_every_step(folder: Path, warehouse: Path, words: tuple[object, ...], truth: tuple[object, ...]) -> int:
    """Kill a command before its first change of the disk, the next one before its second, until one ends; gives the number."""
    step = 0
    while True:
        step += 1
        run = Run(folder / "log", *words, child=("--die_before", str(step), "--within", str(warehouse)))
        if run.end() == 0:
            return step - 1
        assert run.process.returncode == -9, run.said
        between = audit(*truth)
        assert (between.lost, between.doubled) == (0, 0), (step, between)


@contextlib.contextmanager
def reading(warehouse: Path | str) -> Iterator[set[tuple[int, ...]]]:
    """Somebody who opens a warehouse and counts, again and again; gives the numbers of rows, sources and alerts of an object."""
    seen: set[tuple[int, ...]] = set()
    ended = threading.Event()

    def read() -> None:
        while not ended.wait(0.05):
            with warehouses.open(str(warehouse)) as opened:
                sql = "SELECT COUNT(*) AS n, COUNT(DISTINCT source) AS m, MIN(object_id) AS first FROM ztf_alerts"
                [row] = opened.query(sql).to_pylist()
                # By the index, where there is one.
                of_object = len(opened.alerts_of(row["first"]))
            seen.add((row["n"], row["m"], of_object))

    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(read)
        try:
            yield seen
        finally:
            ended.set()
        reader.result()


@pytest.mark.parametrize("method", ["file_loads", "streaming_inserts", "storage_write"])
def test_bigquery(method: str, cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Reruns add rows to BigQuery's tables, by design; its view shows each alert once. By storage_write they add none."""
    more = bigquery_flags(cloud, method)

    def ingest(dataset: str) -> Run:
        place = f"bigquery://{cloud.project}/{dataset}"
        words = ("ingest", "--input", light.archive, "--warehouse", place, *more)
        return Run(tmp_path / "log", *words, child=("--cloud",), environment=cloud.variables)

    secs = secs_of(lambda: ingest(cloud.dataset()))
    dataset = cloud.dataset()
    for _ in killed(lambda: ingest(dataset), secs, seed=2):
        pass
    assert secs_of(lambda: ingest(dataset)) > 0
    verdict = audit("--input", light.archive, "--warehouse", f"bigquery://{cloud.project}/{dataset}", "--no_cutouts")
    again = verdict.information["rows_again"]
    assert again == 0 or method != "storage_write"
    note = f"{again:,} rows again in the table, each alert once in the view"
    tell(f"SIGKILL at random moments, BigQuery by {method}", KILLS, verdict, note)
    verdict.must_be_whole()
