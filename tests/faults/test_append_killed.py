"""A worker that writes to default streams is killed, and does again what was not acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from grpc import StatusCode as Code

from tests.emulators.cloud import Cloud
from tests.faults.nights import ALERTS, COPIES, Night
from tests.faults.runs import HANGS_AFTER_SECS, audit
from tests.faults.storm import Strike, storm
from warehouses.bigquery.tables import prepare

pytestmark = pytest.mark.faults

KILLS, BATCH = 6, 50
"""Kills, and the rows of a request."""


def strike(code: Code = Code.UNAVAILABLE, **fault: bool) -> Strike:
    return lambda proxy: proxy.fail(1, "AppendRows .*ztf_alerts", code, **fault)


STRIKES = (strike(), strike(after=True), strike(cut=True), strike(cut=True, after=True), strike(Code.RESOURCE_EXHAUSTED))


def test_default_streams(cloud: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """No row is lost, and a kill or an answer that is lost doubles at most the batch that was on its way."""
    dataset, done, log = cloud.dataset(), tmp_path / "done", tmp_path / "log"
    with cloud.client() as client:
        prepare(client, dataset, ["ztf"])
    words = [sys.executable, "-m", "tests.faults.append_child", str(light.archive), cloud.project, dataset, str(done)]
    chance, kills = random.Random(8), 0
    with storm(cloud.write_faults, *STRIKES, every_secs=0.3) as blown:
        # Slow enough that a kill meets one that works.
        cloud.write_faults.delay_secs = 0.02
        while True:
            with log.open("wb") as file:
                child = subprocess.Popen(words, env={**os.environ, **cloud.variables}, stdout=file, stderr=file)
            before, begun = noted(done), time.monotonic()
            while child.poll() is None and (kills == KILLS or noted(done) == before):
                assert time.monotonic() - begun < HANGS_AFTER_SECS, log.read_text()
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.15))
            if child.poll() is not None:
                break
            child.send_signal(signal.SIGKILL)
            child.wait()
            kills += 1
    assert child.returncode == 0, log.read_text()
    sql = f"SELECT COUNT(*) AS n FROM `{cloud.project}.{dataset}.ztf_alerts`"
    again = cloud.rows(sql)[0]["n"] - ALERTS - COPIES
    verdict = audit("--input", light.archive, "--warehouse", f"bigquery://{cloud.project}/{dataset}", "--no_cutouts")
    what = "BigQuery by default streams: SIGKILL of the writer, UNAVAILABLE, answers lost, cut, quota"
    tell(what, kills + blown.struck, verdict, f"{again} rows again in the table, each alert once in the view")
    assert kills == KILLS
    assert blown.struck > 3
    assert 0 <= again <= (KILLS + blown.struck) * BATCH
    verdict.must_be_whole()


def noted(done: Path) -> int:
    return len(done.read_text().split()) if done.exists() else 0
