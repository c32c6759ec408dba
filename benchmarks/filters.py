"""Filters: what a hundred of them cost over a batch, beside decoding it.

    python -m benchmarks.filters

Seventy ask for plain columns, twenty for features, ten for the history or for matches; made at random, and the same in each run.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from alerts.avro.decode import decode
from alerts.avro.patience import PATIENCE
from alerts.features.compute import features_of
from alerts.filters.judge import judge
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.steps import Steps
from alerts.surveys import Survey, survey
from benchmarks.apart import quiet
from benchmarks.contenders import batches
from benchmarks.features import filled
from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import Sample, real, simulated
from benchmarks.tables import MarkdownTable
from benchmarks.timing import ROUNDS, TURN_SECS, taking_turns

AT_MOST = 512
OVER_DECODING = "100 filters over decoding everything"
_KINDS = {"plain": 70, "features": 20, "history": 7, "matches": 3}
_COLUMNS = ("decoding everything, µs per alert", "100 filters, µs per alert", OVER_DECODING, "50 filters over 100")


def cost(samples: Iterable[Sample], rounds: int = ROUNDS) -> MarkdownTable:
    """CPU of a hundred filters beside that of decoding the same batches, by sample, in turns; and that of every other one."""
    PATIENCE.begin()
    table = MarkdownTable("A hundred filters, in batches of 256", ["sample", *_COLUMNS])
    for sample in samples:
        known = survey(sample.survey)
        made = [filled(batch) for batch in batches(sample.packets(AT_MOST))]
        rows = [whole(decode(batch).rows[sample.survey], known) for batch in made]
        texts = conditions(known)
        every, half = steps(texts, known), steps(texts[::2], known)
        timings = taking_turns(
            {
                "decode": lambda made=made: sum(len(batch) for batch in made if decode(batch)),  # type: ignore[misc]
                "all": lambda rows=rows, every=every: sum(part.num_rows for part in rows if judge(part, every)),  # type: ignore[misc]
                "half": lambda rows=rows, half=half: sum(part.num_rows for part in rows if judge(part, half)),  # type: ignore[misc]
            },
            rounds,
            turn_secs=TURN_SECS,
        )
        over = 1 / timings["all"].times_faster(timings["decode"])
        part = 1 / timings["half"].times_faster(timings["all"])
        cells = (timings["decode"].micros, timings["all"].micros, over, part)
        table.add_row({"sample": sample.name, **dict(zip(_COLUMNS, cells, strict=True))})
    return table


def steps(texts: Sequence[str], known: Survey) -> Steps:
    """Filters of these conditions, with two columns each."""
    row = row_of(known)
    return Steps(
        {f"filter_{number}": parse(f"SELECT alert_id, ra_deg FROM alerts WHERE {text}", row) for number, text in enumerate(texts)}
    )


def conditions(known: Survey, seed: int = 1) -> list[str]:
    """A hundred conditions, of all kinds in turn."""
    rng, own = random.Random(seed), known.photometry.series if known.photometry else ()
    record, history = own[0], next(series for series in own[1:] if series.kind == "detection")
    numbers = [field.name for field in known.by_field[record.name].fields if field.type == "FLOAT64"]
    entry = f"p.{history.value[0]}"
    makers: dict[str, Callable[[], str]] = {
        "plain": lambda: " AND ".join(
            [f"{record.name}.{name} {rng.choice('<>')} {rng.uniform(0, 20):.2f}" for name in rng.sample(numbers, 5)]
            + [f"NOT COALESCE({record.name}.{rng.choice(numbers)} > 0.76, FALSE)"]
        ),
        "features": lambda: " AND ".join(
            f"features.{rng.choice('gr')}.{name} {rng.choice('<>')} {rng.uniform(-1, 5):.2f}"
            for name in rng.sample(["slope_mag_per_day", "span_days", "mean_njy", "n_detections", "amplitude_mag"], 3)
        ),
        "history": lambda: (
            f"(SELECT COUNT(*) FROM UNNEST({history.name}) AS p WHERE {entry} < {rng.uniform(16, 20):.1f} "
            f"AND p.{history.band[0]} = {record.name}.{record.band[0]}) >= {rng.randint(1, 4)} "
            f"AND (SELECT MAX({entry}) FROM UNNEST({history.name}) AS p) < {rng.uniform(16, 20):.1f}"
        ),
        "matches": lambda: (
            "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE m.catalog = 'simbad' "
            f"AND s.separation_arcsec < {rng.uniform(1, 5):.1f})"
        ),
    }
    return [maker() for kind, maker in makers.items() for _ in range(_KINDS[kind])]


def whole(rows: pa.RecordBatch, known: Survey) -> pa.RecordBatch:
    """Rows with their features, and matches of a source for two of three."""
    source = {"source_id": "x", "separation_arcsec": 1.5}
    told: list[Any] = [[{"catalog": "simbad", "sources": [source] * (number % 3)}] for number in range(rows.num_rows)]
    features = features_of(rows, known).to_struct_array()
    return pa.RecordBatch.from_arrays([*rows.columns, features, pa.array(told)], [*rows.schema.names, "features", "matches"])


def main() -> int:
    """Measure and print; gives the exit status."""
    quiet()
    print(f"{sentence(facts())}\n")
    with tempfile.TemporaryDirectory() as folder:
        samples = [*(simulated(Path(folder), name, AT_MOST) for name in ("ztf", "lsst")), *real()]
        print(cost(samples).to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
