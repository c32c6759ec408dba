"""What each kind of step of a filter takes, beside the weights of ``alerts.filters.cost``.

    python -m benchmarks.filter_costs

Each kind is timed by itself over 256 alerts and over sixteen times as many:
of the two follows what a batch takes and what a row. Decoding is timed beside them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from alerts.avro.decode import decode
from alerts.avro.patience import PATIENCE
from alerts.filters.batches import Batch
from alerts.filters.cost import BATCH, DECODING, WEIGHTS, Kind, StepWeight, kind_of
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.steps import Steps
from alerts.surveys import survey
from benchmarks.apart import quiet
from benchmarks.contenders import batches
from benchmarks.filters import whole
from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import simulated
from benchmarks.tables import MarkdownTable

_TIMES, _LARGER = 41, 16
_NAMES = ("ra", "dec", "magpsf", "sigmapsf", "fwhm", "elong", "sky", "chinr", "sharpnr", "rb")
_ENTRY = "FROM UNNEST(prv_candidates) AS p"
EXPRESSIONS: dict[Kind, Sequence[str]] = {
    "constant": [f"object_id = '{name}'" for name in _NAMES],
    "field": [f"candidate.{name} > 1" for name in _NAMES],
    "text field": ["object_id = 'a'", "candidate.isdiffpos", "schema_version = 'a'", "candidate.ssnamenr = 'a'"],
    "operation": [f"candidate.{name} > {number} AND candidate.rb < {number}" for number, name in enumerate(_NAMES)],
    "function": [f"{function}(candidate.{name}) > 1" for function in ("LN", "SQRT", "SIN") for name in _NAMES],
    "text operation": [f"object_id {how} 'ZTF{number}%'" for number in range(5) for how in ("LIKE", "=")],
    "one by one": ["SAFE_CAST(object_id AS FLOAT64) > 1", "SAFE_CAST(schema_version AS FLOAT64) > 1"],
    "entries": [f"(SELECT COUNT(*) {_ENTRY}) > 1"],
    "aggregate": [f"(SELECT {how}(p.{name}) {_ENTRY}) > 1" for how in ("MIN", "AVG") for name in ("jd", "magpsf", "ra")],
    "first": [f"(SELECT p.{name} {_ENTRY} ORDER BY p.jd LIMIT 1) > 1" for name in ("magpsf", "ra", "dec")],
}
"""Of each kind some that differ, among whose steps are some of that kind."""
_KIND_OF: dict[Kind, Kind] = {"entries": "aggregate"}
"""The entries of an array are opened by the first step that goes over them: here one that counts them."""
_OF_ENTRIES = ("entries", "aggregate", "first")
_COLUMNS = ("of a batch", "kept", "of 1,000 rows", "kept, of 1,000 rows")


def micros(rows: pa.RecordBatch) -> dict[Kind, tuple[float, int]]:
    """Of each kind microseconds of a step over a batch, without the steps that it is made of, and the rows that it goes over."""
    row = row_of(survey("ztf"))
    found: dict[Kind, tuple[float, int]] = {}
    for kind, texts in EXPRESSIONS.items():
        program = Steps({text: parse(f"SELECT alert_id FROM alerts WHERE {text}", row) for text in texts})
        wanted = [number for number, step in enumerate(program.steps) if kind_of(step) == _KIND_OF.get(kind, kind)]
        steps = [number for number in wanted if program.scalars[number] is None]
        times = [_secs(rows, program, steps, is_first=kind == "entries") for _ in range(_TIMES)]
        found[kind] = statistics.median(times) / len(steps) * 1e6, _entries(rows) if kind in _OF_ENTRIES else rows.num_rows
    return found


def _secs(rows: pa.RecordBatch, program: Steps, steps: Sequence[int], *, is_first: bool) -> float:
    """CPU seconds of some steps in a new batch."""
    batch = Batch(rows, program)
    for number in steps:
        for part in () if is_first else program.steps[number].parts:
            batch.value(part)
    begin = time.process_time()
    for number in steps:
        batch.value(number)
    return time.process_time() - begin


def _entries(rows: pa.RecordBatch) -> int:
    return len(rows.column("prv_candidates").flatten())


def weights(few: pa.RecordBatch) -> dict[Kind, StepWeight]:
    """What a batch and a row take, of two sizes."""
    many = pa.Table.from_batches([few] * _LARGER).combine_chunks().to_batches()[0]
    small, large = micros(few), micros(many)
    found = {}
    for kind, (took, rows) in small.items():
        per_row = max(0.0, (large[kind][0] - took) / (large[kind][1] - rows))
        found[kind] = StepWeight(max(0.0, took - per_row * rows), per_row)
    return found


def table(archives: Path) -> MarkdownTable:
    """Measured and kept."""
    made = MarkdownTable("Steps of filters, microseconds", ["step", *_COLUMNS])
    packets = {name: next(iter(batches(simulated(archives, name, BATCH).packets(BATCH)))) for name in DECODING}
    for kind, weight in weights(whole(decode(packets["ztf"]).rows["ztf"], survey("ztf"))).items():
        kept = WEIGHTS[kind]
        cells = (weight.batch, kept.batch, 1000 * weight.row, 1000 * kept.row)
        made.add_row({"step": kind, **dict(zip(_COLUMNS, cells, strict=True))})
    for name, batch in packets.items():
        took = statistics.median(_secs_of(lambda batch=batch: decode(batch)) for _ in range(_TIMES)) * 1e6 / len(batch)  # type: ignore[misc]
        made.add_row(
            {
                "step": f"decoding everything of an alert of {name}",
                **dict.fromkeys(_COLUMNS),
                _COLUMNS[2]: 1000 * took,
                _COLUMNS[3]: 1000 * DECODING[name],
            }
        )
    return made


def _secs_of(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def main() -> int:
    """Measure and print; gives the exit status."""
    quiet()
    PATIENCE.begin()
    print(f"{sentence(facts())}\n")
    with tempfile.TemporaryDirectory() as folder:
        print(table(Path(folder)).to_markdown())
    return 0


if __name__ == "__main__":
    sys.exit(main())
