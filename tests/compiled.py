"""What numba compiles, half a minute in a fresh clone with two of pytest's workers at it, is compiled by one of them."""

from __future__ import annotations

import fcntl
from pathlib import Path

import numpy as np
import pyarrow as pa

from alerts.avro.encode import encode
from alerts.catalogs.files.sky_index import SkyIndex
from schemas.tables import DEAD_LETTERS
from tests.alerts.attacks import warm_up


def compile_all() -> None:
    """Call each function that numba compiles, which keeps it beside its source for the next process."""
    warm_up()
    nowhere = np.zeros(1)
    SkyIndex(nowhere, nowhere).pairs(nowhere, nowhere, 1.0)
    encode(pa.RecordBatch.from_pylist([], DEAD_LETTERS.arrow_schema), DEAD_LETTERS)


def compile_one_by_one(lock: Path) -> None:
    """The same, while no other process that names this file does: who comes later reads what the first has kept."""
    with lock.open("w", encoding="ascii") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        compile_all()
