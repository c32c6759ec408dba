"""A batch is gone when it has been written: nothing in the pipeline holds it, nor a cycle of references."""

from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from pipelines import ingest, sources
from tests.nights import simulated
from transforms import decode as step

_BATCH_PACKETS = 20


def test_no_more_than_two_decoded_batches_of_a_thread_live_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = 12
    night = simulated(tmp_path / "night", "--alerts", str(batches * _BATCH_PACKETS), "--seed", "3")
    monkeypatch.setattr(sources, "BATCH_PACKETS", _BATCH_PACKETS)
    alive: set[int] = set()
    most: list[int] = []
    threads: set[int] = set()
    decode = step.decode

    def watched(*given: Any, **options: Any) -> Any:
        threads.add(threading.get_ident())
        decoded = decode(*given, **options)
        for rows in decoded.rows.values():
            number = len(most)
            alive.add(number)
            weakref.finalize(rows, alive.discard, number)
            most.append(len(alive))
        return decoded

    monkeypatch.setattr(step, "decode", watched)
    # Python's collector would free what hangs in cycles, sooner or later.
    gc.disable()
    try:
        assert ingest.run(["--input", str(next(night.glob("*.tar.gz"))), "--warehouse", str(tmp_path / "warehouse")]) == 0
    finally:
        gc.enable()
    assert len(most) == batches
    # Beam's worker does a bundle on a thread, and may have begun the next one on another.
    assert max(most) <= 2 * len(threads) < batches
