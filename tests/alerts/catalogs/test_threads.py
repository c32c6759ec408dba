"""What threads share: the interleavings that would go wrong are made to happen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.catalogs.cache import AnchorCache
from alerts.catalogs.catalog import Candidates, Unavailable
from alerts.catalogs.cds import client as cds
from alerts.catalogs.cds.client import CdsCatalog, Service
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.spec import parse_spec
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.files import from_file
from simulation.catalog_server.server import CatalogServer

WAIT_SECS = 30


STARS = np.random.default_rng(3).uniform(10, 11, (2, 40))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[CatalogServer]:
    names = [f"s{number}" for number in range(STARS.shape[1])]
    pq.write_table(pa.table({"ra": STARS[0], "dec": STARS[1], "name": names}), tmp_path / "stars.parquet")
    with CatalogServer({"X/1/stars": from_file(tmp_path / "stars.parquet")}) as running:
        yield running


class _Halving(CdsCatalog):
    """Waits between the two halves of a question for what another thread is to do meanwhile."""

    def __init__(self, *arguments: Any, meanwhile: Callable[[], None]) -> None:
        super().__init__(*arguments)
        self._meanwhile, self.calls = meanwhile, 0

    def _ask_once(self, *arguments: Any) -> Candidates:
        if threading.current_thread().name == "halving":
            self.calls += 1
            if self.calls == 2:
                self._meanwhile()
        return super()._ask_once(*arguments)


def test_an_answer_on_its_way_is_judged_by_what_its_own_call_knew(server: CatalogServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread's question is halved; before the second half another's fails, which forgets the columns that were learned."""
    monkeypatch.setattr(cds, "MAX_ROWS", 20)
    spec = parse_spec("vizier:X/1/stars?ra=ra&dec=dec&id=name", 5.0)

    def another_fails() -> None:
        server.fail(Fault("503"))
        with ThreadPoolExecutor(1) as other, pytest.raises(Unavailable):
            other.submit(catalog.search, ra[:1], dec[:1], 5.0, None).result(WAIT_SECS)
        server.heal()

    service = Service(Gate(4), server.url, 5.0, longest_pause_secs=0.01)
    catalog = _Halving(spec, service, meanwhile=another_fails)
    ra, dec = STARS
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(catalog.search(ra, dec, 5.0, None))
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=ask, name="halving")
    thread.start()
    thread.join(WAIT_SECS)
    assert catalog.calls > 2
    [answer] = found
    assert isinstance(answer, Candidates), answer
    assert sorted(set(answer.position.tolist())) == list(range(40))


def test_an_answer_that_is_being_entered_is_not_dropped_by_another_thread() -> None:
    """Between the coming of an answer and its entry another thread enters its own, and tidies up."""
    asked, entered = threading.Event(), threading.Event()

    class Slow(AnchorCache):
        def _keep(self, *arguments: Any) -> None:
            if threading.current_thread().name == "slow":
                asked.set()
                assert entered.wait(WAIT_SECS)
            super()._keep(*arguments)

    cache = Slow(1.0, 1000.0)
    sources = pa.RecordBatch.from_pydict({"n": list(range(5))})

    def ask(ra_deg: Any, dec_deg: Any) -> Candidates:
        return Candidates(np.zeros(5, np.int64), sources)

    def search(name: str) -> None:
        cache.candidates([name], np.array([10.0]), np.array([10.0]), ask)

    thread = threading.Thread(target=search, args=("A",), name="slow")
    thread.start()
    assert asked.wait(WAIT_SECS)
    search("B")
    entered.set()
    thread.join(WAIT_SECS)
    # Both are kept, both are counted, and so both can be let go of.
    assert set(cache._kept) == {"A", "B"}
    assert {one.block for one in cache._kept.values()} == set(cache._blocks)
    assert cache._sources == 10
