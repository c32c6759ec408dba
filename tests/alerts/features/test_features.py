"""Features equal plain loops over the same definitions, for every real packet and for made light curves of all kinds."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from alerts.features.compute import features_of
from alerts.surveys import SURVEYS, Survey
from tests.alerts.features import loops
from tests.alerts.features.made import batch, lsst_rows, ztf_rows
from tests.alerts.making import ingest
from tests.conftest import RealData

SUFFIXES = ("avro", "tar.gz")
ASKED = ("ra_deg", "dec_deg")


def inputs(real_data: RealData) -> list[Path]:
    return [path for suffix in SUFFIXES for path in real_data.glob(f"**/*.{suffix}") if "catalogs" not in path.parts]


def asked_of(rows: pa.RecordBatch, survey: Survey) -> pa.RecordBatch:
    """What features are made of, so that it need not all become Python's."""
    names = [column.name for series in survey.photometry.series if (column := survey.by_field.get(series.name))]
    return rows.select([*ASKED, *names])


def check(rows: pa.RecordBatch, survey: Survey) -> None:
    asked = asked_of(rows, survey)
    found, expected = features_of(asked, survey).to_pylist(), asked.to_pylist()
    places = loops.latitudes(expected)
    faults = []
    for ours, row, (glat_deg, elat_deg) in zip(found, expected, places, strict=True):
        assert ours.pop("glat_deg") == pytest.approx(glat_deg, abs=1e-9)
        assert ours.pop("elat_deg") == pytest.approx(elat_deg, abs=1e-5)
        faults += loops.differences(ours, loops.features(row, survey))
    assert faults[:20] == []


def test_real_packets(real_data: RealData) -> None:
    seen: dict[str, int] = {}
    for path in inputs(real_data):
        decoded = ingest(path.read_bytes(), path.name).decoded
        for name, rows in decoded.rows.items():
            check(rows, SURVEYS[name])
            # The facts of the surveys name all their bands.
            assert set(features_of(rows, SURVEYS[name]).column("n_other_bands").to_pylist()) == {0}, path
            seen[name] = seen.get(name, 0) + rows.num_rows
    assert {"ztf", "lsst", "decam", "pgir", "winter"} <= seen.keys()


def test_made_light_curves_in_magnitudes() -> None:
    rows = ztf_rows(5000, seed=1)
    check(batch(rows, SURVEYS["ztf"]), SURVEYS["ztf"])


def test_made_light_curves_in_fluxes() -> None:
    rows = lsst_rows(5000, seed=2)
    check(batch(rows, SURVEYS["lsst"]), SURVEYS["lsst"])
