"""Rows of features: one for each alert, whatever is wrong with another, and a version that stands for what they are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from alerts.features import compute, table
from alerts.features.compute import features_of
from alerts.features.definitions import of_alerts, of_bands
from alerts.features.table import features_table_of, fields_of, made_of, rows_of, version
from alerts.surveys import SURVEYS
from alerts.tables import own_tables
from tests.alerts.making import ingest
from tests.conftest import OURS
from tests.warehouses.commits import alerts

ZTF = SURVEYS["ztf"]


def test_rows_are_those_of_the_alerts_with_their_features() -> None:
    rows = alerts(count=6)
    made = rows_of(rows, ZTF, "the run")
    assert made.failures == ()
    assert made.rows.schema == features_table_of(ZTF).arrow_schema
    for name in ("alert_id", "packet_digest", "object_id", "object_kind", "night", "observed_at"):
        assert made.rows.column(name).equals(rows.column(name))
    assert made.rows.column("features").equals(features_of(rows, ZTF).to_struct_array())
    assert set(made.rows.column("version").to_pylist()) == {version(ZTF)}
    assert set(made.rows.column("run_id").to_pylist()) == {"the run"}
    assert rows_of(rows.slice(0, 0), ZTF, "the run").rows.num_rows == 0


@pytest.mark.parametrize("odd", [{0}, {5}, {1, 2, 4}, {*range(6)}])
def test_an_odd_alert_has_no_features_and_costs_no_other_its_own(odd: set[int], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = alerts(count=6)
    whole = rows_of(rows, ZTF, "run").rows.column("features").to_pylist()
    ids = rows.column("alert_id").to_pylist()
    fails_at(monkeypatch, {ids[number] for number in odd})
    made = rows_of(rows, ZTF, "run")
    assert made.rows.column("alert_id").to_pylist() == ids
    assert made.rows.column("features").to_pylist() == [None if number in odd else whole[number] for number in range(6)]
    assert [failure.alert_id for failure in made.failures] == [ids[number] for number in sorted(odd)]
    assert {failure.problem for failure in made.failures} == {"ZeroDivisionError: odd"}


def fails_at(monkeypatch: pytest.MonkeyPatch, odd: set[int]) -> None:
    """No packet is known that does it: one does here."""

    def fails(rows: pa.RecordBatch, survey: Any) -> pa.RecordBatch:
        if odd & {*rows.column("alert_id").to_pylist()}:
            raise ZeroDivisionError("odd")
        return features_of(rows, survey)

    monkeypatch.setattr(compute, "features_of", fails)


@pytest.mark.parametrize("place", [(float("inf"), 0.0), (10.0, -91.0), (361.0, 0.0), (float("nan"), 5.0), (3.0, None)])
def test_what_is_no_place_on_the_sky_has_no_latitude(place: tuple[float, float | None]) -> None:
    rows = pa.RecordBatch.from_pylist([{"ra_deg": ra, "dec_deg": dec} for ra, dec in ((0.0, 90.0), place)])
    pole, odd = features_of(rows, ZTF).to_pylist()
    assert pole["glat_deg"] == pytest.approx(27.128, abs=1e-3)
    assert (odd["glat_deg"], odd["elat_deg"]) == (None, None)


def test_a_survey_whose_brightness_nobody_has_told_has_no_features() -> None:
    unknown = replace(ZTF, photometry=None)
    assert rows_of(alerts(), unknown, "run") is None
    assert [own.name for own in own_tables(unknown)] == ["ztf_alerts", "ztf_cutouts"]
    assert all(len(own_tables(survey)) == 3 for survey in SURVEYS.values())


@pytest.mark.parametrize(
    "changed", [{"name": "other"}, {"unit": "other"}, {"formula": "other"}, {"points": "limits"}, {"least": 9}]
)
def test_another_formula_unit_or_name_is_another_version(changed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {name: version(survey) for name, survey in SURVEYS.items()}
    assert all(len(told) == 12 and int(told, 16) for told in versions.values())
    for name, defined in (("of_bands", of_bands(ZTF)), ("of_alerts", of_alerts(ZTF))):
        with monkeypatch.context() as patch:
            patch.setattr(table, name, lambda _, some=defined: (*some[:-1], replace(some[-1], **changed)))
            assert version.__wrapped__(ZTF) != versions["ztf"]
            patch.setattr(table, name, lambda _, some=defined: (*some[:-1], replace(some[-1], sign="said better")))
            assert version.__wrapped__(ZTF) == versions["ztf"]


def test_what_is_named_is_all_that_features_are_made_of() -> None:
    """Of real packets of all surveys: what BigQuery reads of stored ones is no more."""
    seen = set()
    for path in sorted(path for path in OURS.rglob("*") if path.suffix in (".avro", ".bin", ".gz")):
        for name, rows in ingest(path.read_bytes(), path.name).decoded.rows.items():
            survey = SURVEYS[name]
            named = [(column, narrowed(rows.column(column), fields_of(survey, column))) for column in made_of(survey)]
            narrow = pa.RecordBatch.from_arrays([array for _, array in named], names=[column for column, _ in named])
            assert features_of(narrow, survey).equals(features_of(rows, survey)), path
            seen.add(name)
    assert {"ztf", "lsst", "decam"} <= seen


def narrowed(records: pa.Array, fields: tuple[str, ...]) -> pa.Array:
    """Records with some of their fields; as BigQuery makes them, none is NULL as a whole."""
    if not fields:
        return records
    if pa.types.is_list(records.type):
        return pa.ListArray.from_arrays(records.offsets, narrowed(records.values, fields))
    return pa.StructArray.from_arrays([pc.struct_field(records, name) for name in fields], names=list(fields))
