"""Days since an event and to the first detection, against packets read one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy.time import Time

from alerts.features.compute import features_of
from alerts.lists.regions.times import (
    age_of_first_detection_days,
    columns_for_first_detection,
    days_since,
    days_to_first_detection,
)
from alerts.surveys import SURVEYS
from tests.alerts.features.made import batch as made_batch
from tests.alerts.features.made import lsst_rows, ztf_rows
from tests.alerts.filters.rows import real
from tests.conftest import OURS, RealData

EVENT = datetime(2018, 5, 1, 12, tzinfo=UTC)


def batches(real_data: RealData, survey: str) -> list[pa.RecordBatch]:
    found = list(real(real_data, survey, (OURS,)))
    assert sum(batch.num_rows for batch in found) > 10
    return found


def ztf_first_jd(row: Mapping[str, Any]) -> float:
    """The earliest time of a detection in a packet of ZTF: of a positive or negative magnitude, in g, r or i."""
    own = row["candidate"]
    times = [own["jd"], *(p["jd"] for p in row["prv_candidates"] or () if p["magpsf"] is not None and p["fid"] in (1, 2, 3))]
    start = own["jdstarthist"]
    return min([*times, *([start] if start is not None and start > 0 else [])])


def lsst_first_mjd(row: Mapping[str, Any]) -> float:
    flags = ("psfFlux_flag", "pixelFlags_bad", "pixelFlags_saturated", "pixelFlags_cr")
    good = [
        p["midpointMjdTai"]
        for p in row["prvDiaSources"] or ()
        if p["psfFlux"] is not None and math.isfinite(p["psfFlux"]) and not any(p.get(flag) for flag in flags)
    ]
    # Samples of early versions have seconds since 1970.
    return min(time if time < 1e8 else 40587 + time / 86400 for time in [row["diaSource"]["midpointMjdTai"], *good])


def test_ztf_by_its_packets(real_data: RealData) -> None:
    told, before = 0, set()
    for batch in batches(real_data, "ztf"):
        event = Time(EVENT)
        found = days_to_first_detection(batch, SURVEYS["ztf"], EVENT).to_pylist()
        since = days_since(batch, EVENT).to_pylist()
        for row, days, own_days in zip(batch.to_pylist(), found, since, strict=True):
            assert days == pytest.approx(ztf_first_jd(row) - event.jd, abs=2e-9 + 1e-4 / 86400)
            assert own_days == pytest.approx(row["candidate"]["jd"] - event.jd, abs=2e-9 + 1e-4 / 86400)
            told += 1
            before.add(days < own_days)
    assert told > 10
    assert before == {True, False}


def test_lsst_is_in_tai(real_data: RealData) -> None:
    """37 s before UTC; astropy says so."""
    event, before = datetime(2025, 1, 1, tzinfo=UTC), set()
    for batch in batches(real_data, "lsst"):
        found = days_to_first_detection(batch, SURVEYS["lsst"], event).to_pylist()
        since = days_since(batch, event).to_pylist()
        for row, days, own_days in zip(batch.to_pylist(), found, since, strict=True):
            if "midpointMjdTai" not in row["diaSource"] or row["diaSource"]["midpointMjdTai"] is None:
                continue
            first = Time(lsst_first_mjd(row), format="mjd", scale="tai").utc
            assert days == pytest.approx(first.mjd - Time(event).mjd, abs=1e-9)
            before.add(days < own_days)
    assert before == {True, False}


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_it_is_what_features_say(survey: str, real_data: RealData) -> None:
    facts = SURVEYS[survey]
    for batch in batches(real_data, survey):
        features = features_of(batch, facts)
        ages = [features.column("age_history_days").to_numpy(zero_copy_only=False)]
        if facts.photometry is not None and facts.photometry.first_found:
            ages.append(features.column(f"age_{facts.photometry.first_found}_days").to_numpy(zero_copy_only=False))
        expected = np.fmax(0, np.fmax.reduce(ages))
        np.testing.assert_array_equal(age_of_first_detection_days(batch, facts), expected)


@pytest.mark.parametrize(("survey", "rows"), [("ztf", ztf_rows), ("lsst", lsst_rows)])
def test_it_is_what_features_say_of_whatever_can_be_sent(survey: str, rows: Any) -> None:
    """Points of unknown bands, with flags, without magnitude, times that are none, and several of one point among them."""
    batch, facts = made_batch(rows(400, 8), SURVEYS[survey]), SURVEYS[survey]
    features = features_of(batch, facts)
    names = [name for name in ("age_history_days", "age_jdstarthist_days") if name in features.schema.names]
    ages = [features.column(name).to_numpy(zero_copy_only=False) for name in names]
    found = age_of_first_detection_days(batch, facts)
    np.testing.assert_array_equal(found, np.fmax(0, np.fmax.reduce(ages)))
    assert 20 < np.count_nonzero(found) < len(found)


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_the_columns_that_it_names_are_enough(survey: str, real_data: RealData) -> None:
    named: dict[str, set[str]] = {}
    for column, *field in columns_for_first_detection(SURVEYS[survey]):
        named.setdefault(column, set()).update(field)
    assert not {"fp_hists", "prvDiaForcedSources"} & set(named)
    for batch in batches(real_data, survey):
        rows = [{name: _pruned(row[name], named[name]) for name in named} for row in batch.to_pylist()]
        schema = pa.schema([(name, _pruned_type(batch.schema.field(name).type, named[name])) for name in named])
        less = pa.RecordBatch.from_pylist(rows, schema)
        whole = days_to_first_detection(batch, SURVEYS[survey], EVENT)
        assert days_to_first_detection(less, SURVEYS[survey], EVENT).equals(whole)


def _pruned(held: Any, names: set[str]) -> Any:
    if isinstance(held, list):
        return [_pruned(each, names) for each in held]
    return {name: value for name, value in held.items() if name in names} if isinstance(held, dict) else held


def _pruned_type(kind: pa.DataType, names: set[str]) -> pa.DataType:
    if pa.types.is_list(kind):
        return pa.list_(_pruned_type(kind.value_type, names))
    return pa.struct([field for field in kind if field.name in names]) if pa.types.is_struct(kind) else kind


def test_what_is_not_known_is_null(real_data: RealData) -> None:
    batch = batches(real_data, "ztf")[0].slice(0, 2)
    assert days_since(batch, None).to_pylist() == [None, None]
    assert days_to_first_detection(batch, SURVEYS["ztf"], None).to_pylist() == [None, None]
    times = pa.array([None, datetime(2018, 5, 2, tzinfo=UTC)], pa.timestamp("us", "UTC"))
    number = batch.schema.get_field_index("observed_at")
    late = batch.set_column(number, "observed_at", times)
    assert days_since(late, EVENT).to_pylist() == [None, 0.5]
    assert days_to_first_detection(late, SURVEYS["ztf"], EVENT).to_pylist()[0] is None


@pytest.mark.parametrize(("survey", "history"), [("ztf", "prv_candidates"), ("lsst", "prvDiaSources")])
def test_where_the_history_was_not_kept_the_first_detection_is_not_known(survey: str, history: str, real_data: RealData) -> None:
    batch, facts = batches(real_data, survey)[0], SURVEYS[survey]
    known = days_to_first_detection(batch, facts, EVENT)
    number, kind = batch.schema.get_field_index(history), batch.schema.field(history).type
    assert known.null_count == 0
    assert days_to_first_detection(batch.drop_columns([history]), facts, EVENT).null_count == batch.num_rows
    # Beside alerts of other runs it is NULL; an array without entries is one that the packet has.
    without = batch.set_column(number, history, pa.nulls(batch.num_rows, kind))
    assert days_to_first_detection(without, facts, EVENT).null_count == batch.num_rows
    empty = batch.set_column(number, history, pa.array([[]] * batch.num_rows, kind))
    assert days_to_first_detection(empty, facts, EVENT).null_count == 0


def test_days_are_exact_to_the_microsecond() -> None:
    at = datetime(2026, 11, 1, 5, 13, 22, 123457, tzinfo=UTC)
    batch = pa.RecordBatch.from_pydict({"observed_at": pa.array([at], pa.timestamp("us", "UTC"))})
    (days,) = days_since(batch, datetime(2026, 11, 1, 5, 13, 22, 123456, tzinfo=UTC)).to_pylist()
    assert days == 1e-6 / 86400
