"""What Python computes of the first alerts of a run is what numba computes, to the bit."""

from __future__ import annotations

import pyarrow as pa
import pytest

from alerts.avro.patience import FastavroFirst
from alerts.features import unhurried
from alerts.features.compute import features_of
from alerts.surveys import SURVEYS, Survey
from tests.alerts.features.made import batch, lsst_rows, ztf_rows
from tests.alerts.making import ingest
from tests.conftest import OURS


def both_ways(rows: pa.RecordBatch, survey: Survey, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = features_of(rows, survey)
    with monkeypatch.context() as young:
        begun = FastavroFirst(lambda: False, clock=lambda: 0.0)
        young.setattr(unhurried, "PATIENCE", begun)
        young.setattr(unhurried.Later, "dispatcher", None)
        found = features_of(rows, survey)
    # By their texts, in which -0.0 is not 0.0.
    assert repr(found.to_pylist()) == repr(compiled.to_pylist())


def test_made_light_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        both_ways(batch(ztf_rows(400, seed), SURVEYS["ztf"]), SURVEYS["ztf"], monkeypatch)
        both_ways(batch(lsst_rows(200, seed), SURVEYS["lsst"]), SURVEYS["lsst"], monkeypatch)


def test_real_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    for path in sorted(path for path in OURS.rglob("*") if path.suffix in (".avro", ".bin", ".gz")):
        for name, rows in ingest(path.read_bytes(), path.name).decoded.rows.items():
            both_ways(rows, SURVEYS[name], monkeypatch)
            seen += rows.num_rows
    assert seen > 30
