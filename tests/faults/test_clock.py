"""A clock that is put forward and back by hours and days while runs work, and between them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer
from tests.crossmatching import ALLWISE, as_allwise
from tests.faults.nights import Night
from tests.faults.runs import Run, audit
from tests.nights import ask

pytestmark = pytest.mark.faults

ANSWERS = "SELECT alert_id, status, matches FROM crossmatches_unique ORDER BY ALL"


def test_folder(night: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """A run ahead of time with a catalog that is down, then a rematch and a rerun in what is, for its rows, the past."""
    warehouse, undisturbed = tmp_path / "warehouse", tmp_path / "undisturbed"
    stars = as_allwise(pq.read_table(night.folder / "catalog.parquet"))
    jumped = 0

    def run(place: Path, command: str, *words: object, hours: tuple[int, ...] = ()) -> None:
        nonlocal jumped
        child = ("--clock_every_secs", "0.7", "--clock_hours", *map(str, hours)) if hours else ()
        one = Run(tmp_path / "log", command, "--warehouse", place, "--crossmatch_url", server.url, *words, child=child)
        assert one.end() == 0, one.said
        jumped += one.said.count("the clock jumps")

    with CatalogServer({"II/328/allwise": stars}) as server:
        ingest = ("--input", night.archive, "--crossmatch", ALLWISE)
        run(undisturbed, "ingest", *ingest)
        server.fail(Fault("502"))
        run(warehouse, "ingest", *ingest, hours=(5, -2, 40))
        between = audit("--input", night.archive, "--warehouse", warehouse)
        assert set(between.faults) == {"failed_crossmatch"}
        server.heal()
        run(warehouse, "rematch", hours=(-30, 1))
        assert ask(warehouse, ANSWERS) == ask(undisturbed, ANSWERS)
        run(warehouse, "ingest", *ingest, hours=(-50, 3))
        run(warehouse, "rematch", hours=(-1,))
    assert ask(warehouse, ANSWERS) == ask(undisturbed, ANSWERS)
    assert jumped >= 6
    verdict = audit("--input", night.archive, "--warehouse", warehouse, "--crossmatch", ALLWISE, "--stamps")
    tell(
        "the clock jumps by hours and days during ingest, rematch and rerun, folder",
        jumped,
        verdict,
        "answers as of an undisturbed run",
    )
    verdict.must_be_whole()
