"""Features of light curves: what they cost beside decoding, and whether light-curve says the same where it has the formula.

    python -m benchmarks.features

light-curve (GPL) is installed where peers are measured, '.[bench]', and nowhere else; without it the comparison says so.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.avro.decode import decode
from alerts.avro.packets import Packet
from alerts.avro.patience import PATIENCE
from alerts.features.compute import features_of
from alerts.features.definitions import of_curves
from alerts.features.points import MEASURED, Points, points_of, read
from alerts.light_curve import facts_of
from alerts.surveys import Survey, survey
from benchmarks.apart import quiet
from benchmarks.contenders import batches
from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import Sample, real, simulated
from benchmarks.tables import MarkdownTable
from benchmarks.timing import ROUNDS, TURN_SECS, taking_turns

AT_MOST = 1024
OVER_DECODING = "features over decoding everything"
_COLUMNS = ("points an alert", "decoding everything, µs per alert", "features, µs per alert", OVER_DECODING)
_SAME = {
    "mean": "Mean",
    "std": "StandardDeviation",
    "amplitude": "Amplitude",
    "weighted_mean": "WeightedMean",
    "chi2_per_dof": "ReducedChi2",
    "span": "Duration",
    "slope": "LinearFit",
    "slope_err": "LinearFit",
}
"""Names of ``alerts.features.curves.VALUES``, and what light-curve calls the same formula."""
_PLACE = {"slope_err": 1}
"""Which of the numbers that light-curve gives."""
_TOLERANCE = 1e-6
"""Of the numbers, or of the largest in the curve: differences of magnitudes lose digits that both have begun with."""
Curve = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def cost(samples: Iterable[Sample], rounds: int = ROUNDS) -> MarkdownTable:
    """CPU of features beside that of decoding the same batches, by sample, in turns."""
    PATIENCE.begin()
    table = MarkdownTable("Features of light curves, in batches of 256", ["sample", *_COLUMNS])
    for sample in samples:
        made = [filled(batch) for batch in batches(sample.packets(AT_MOST))]
        known = survey(sample.survey)
        decoded = [decode(batch).rows[sample.survey] for batch in made]
        spent = taking_turns(
            {
                "decode": lambda made=made: sum(len(batch) for batch in made if decode(batch)),  # type: ignore[misc]
                "features": lambda decoded=decoded, known=known: sum(  # type: ignore[misc]
                    features_of(rows, known).num_rows for rows in decoded
                ),
            },
            rounds,
            turn_secs=TURN_SECS,
        )
        alerts = sum(rows.num_rows for rows in decoded)
        points = sum(len(found.days) for rows in decoded for found in _kinds(rows, known)) / alerts
        cells = (
            round(points),
            spent["decode"].micros,
            spent["features"].micros,
            1 / spent["features"].times_faster(spent["decode"]),
        )
        table.add_row({"sample": sample.name, **dict(zip(_COLUMNS, cells, strict=True))})
    return table


def filled(batch: list[Packet]) -> list[Packet]:
    """A batch as a night has them: few real packets are on this machine, and a batch of 20 is dearer for each of them."""
    return (batch * (256 // len(batch) + 1))[:256]


def _kinds(rows: pa.RecordBatch, known: Survey) -> list[Points]:
    told = read(rows, known)
    return [points_of(told, kind, rows.num_rows) for kind in ("detection", "forced")]


def same_as_light_curve(samples: Iterable[Sample]) -> MarkdownTable:
    """A row for each formula that both have: of how many curves light-curve has an answer, and how many of these are not ours."""
    columns = ["feature", "of light-curve", "curves", "other by more than 1e-6", "largest difference"]
    table = MarkdownTable("Features beside light-curve's", columns)
    try:
        import light_curve  # noqa: PLC0415 - of an extra
    except ImportError as error:
        table.notes.append(f"Not compared: {error}; pip install --constraint constraints.txt '.[bench]'.")
        return table
    found: dict[str, list[float]] = {name: [] for name in _SAME}
    for sample in samples:
        for batch in batches(sample.packets(AT_MOST)):
            for curve, ours in _curves(decode(batch).rows[sample.survey], survey(sample.survey)):
                for name, theirs in _SAME.items():
                    value = float(getattr(light_curve, theirs)()(*curve, fill_value=np.nan)[_PLACE.get(name, 0)])
                    if not np.isnan(value):  # its lines take three points
                        found[name].append(_difference(ours[name], value, curve))
    for name, theirs in _SAME.items():
        differences = np.array(found[name])
        other = int((~(differences <= _TOLERANCE)).sum())
        cells = (f"`{name}`", theirs, len(differences), other, f"{differences.max(initial=0.0):.1e}")
        table.add_row(dict(zip(columns, cells, strict=True)))
    return table


def _difference(ours: float | None, theirs: float, curve: Curve) -> float:
    """Over the larger of the number and what the curve has of digits to lose."""
    if ours is None:
        return np.inf
    time, value, _ = curve
    scale = max(abs(ours), 1e-9 * float(np.abs(value).max()) / max(float(np.ptp(time)), 1e-9))
    return abs(ours - theirs) / scale if ours != theirs else 0.0


def _curves(rows: pa.RecordBatch, known: Survey) -> Iterator[tuple[Curve, dict[str, Any]]]:
    """The light curves of two points or more that all have an error and a time of their own, with our features of each."""
    told, features = read(rows, known), features_of(rows, known).to_pylist()
    detections, forced = (points_of(told, kind, rows.num_rows) for kind in ("detection", "forced"))
    for kind, definitions in of_curves(known).items():
        points = forced if kind == "forced" else detections
        value, error = (points.mag, points.mag_err) if kind == "mag" else (points.flux_njy, points.flux_err_njy)
        used = (points.kind == MEASURED) & ~np.isnan(value) & (error > 0)
        if any(name not in definitions for name in _SAME):
            continue
        for alert, row in enumerate(features):
            among = slice(points.starts[alert], points.starts[alert + 1])
            for band, name in enumerate(facts_of(known).band_names):
                chosen = used[among] & (points.band[among] == band)
                time = points.days[among][chosen]
                ours = {ours: row[name][definition.name] for ours, definition in definitions.items()}
                if len(time) == ours["n"] > 1 and (np.diff(time) > 0).all():
                    yield (time, value[among][chosen], error[among][chosen]), ours


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit status."""
    del argv
    quiet()
    print(f"{sentence(facts())}\n")
    with tempfile.TemporaryDirectory() as folder:
        samples = [*(simulated(Path(folder), name, AT_MOST) for name in ("ztf", "lsst")), *real()]
        for table in (cost(samples), same_as_light_curve(samples)):
            print(f"{table.to_markdown()}\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
