"""A worker process of a run is killed while it works; the others live on."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.nights import Night
from tests.faults.runs import Run, audit

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("when", ["it starts", "it works"])
def test_one_of_two_workers(when: str, night: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """The run ends, and says that it failed where anything is missing; it never waits for the dead."""
    warehouse = tmp_path / "warehouse"
    truth = ("--input", night.archive, "--warehouse", warehouse)
    words = ("ingest", "--input", night.archive, "--warehouse", warehouse, "--direct_num_workers", 2)
    chance = random.Random(3)
    struck = failed = 0
    while struck < 4:
        run = Run(tmp_path / "log", *words)
        works = run.wait_for(
            lambda run=run: len(run.workers) == 2 and (when == "it starts" or any(warehouse.glob("_tmp/*/**/*.parquet")))
        )
        time.sleep(chance.uniform(0, 1.5 if when == "it starts" else 0.6))
        if not works or not (workers := run.workers):
            assert run.end() == 0, run.said
            continue
        os.kill(chance.choice(workers), signal.SIGKILL)
        struck += 1
        if run.end() == 0:
            # It had done its work already.
            audit(*truth).must_be_whole()
        else:
            failed += 1
            assert "broker ingest: the run failed: " in run.said
    assert failed > 0
    again = Run(tmp_path / "log", *words)
    assert again.end() == 0, again.said
    verdict = audit(*truth, "--stamps")
    tell(f"a worker process killed when {when}, folder", struck, verdict, f"{failed} runs failed and said so, none hung")
    verdict.must_be_whole()
