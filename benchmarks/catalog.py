"""A catalog of a million sources for the runs: those of a simulated night, and others evenly over the sky."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SOURCES = 1_000_000


def write_catalog(stars: Path, out: Path, sources: int = SOURCES) -> Path:
    """``stars`` (``catalog.parquet`` of a simulated night) and others, to so many in all."""
    own = pq.read_table(stars, columns=["source_id", "ra_deg", "dec_deg"])
    dice = np.random.default_rng(1)
    count = sources - own.num_rows
    others = {
        "source_id": [f"other{number}" for number in range(count)],
        "ra_deg": dice.uniform(0, 360, count),
        "dec_deg": np.degrees(np.arcsin(dice.uniform(-1, 1, count))),
    }
    pq.write_table(pa.concat_tables([own, pa.table(others, own.schema)]), out)
    return out
