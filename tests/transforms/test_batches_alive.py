"""A batch is gone when it has been written: nothing in the pipeline holds it, nor a cycle of references."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest

from pipelines import ingest, sources
from tests.nights import simulated
from transforms import decode as step

_BATCH_PACKETS = 40


def test_no_more_than_two_decoded_batches_live_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = 6
    night = simulated(tmp_path / "night", "--alerts", str(batches * _BATCH_PACKETS), "--seed", "3")
    monkeypatch.setattr(sources, "BATCH_PACKETS", _BATCH_PACKETS)
    alive: set[int] = set()
    most: list[int] = []
    decode = step.decode

    def watched(*given: Any, **options: Any) -> Any:
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
    assert max(most) <= 2
