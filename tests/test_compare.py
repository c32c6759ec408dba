"""The comparison of rows with packets must itself be able to fail."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

from tests.alerts.making import ZTF_SCHEMA, container, ingest, ztf_record
from tests.compare import assert_row_equals_record

Row = dict[str, Any]


def a_ztf_schema_of_tomorrow() -> Any:
    """ZTF 4.02 with a field that no known version has, in the candidate and in its history."""
    schema = copy.deepcopy(ZTF_SCHEMA)
    fields = {field["name"]: field for field in schema["fields"]}
    fields["candidate"]["type"]["fields"].append({"name": "photoz", "type": ["null", "double"]})
    history = next(branch for branch in fields["prv_candidates"]["type"] if branch != "null")
    history["items"]["fields"].append({"name": "visit", "type": "long"})
    return schema


@pytest.fixture
def record() -> Row:
    record = ztf_record(magpsf=18.5, sgscore1=None, ssdistnr=-999.0, distnr=math.nan, photoz=0.25)
    for number, one in enumerate(record["prv_candidates"]):
        one["visit"] = 2**60 + number
    record["fp_hists"] = None
    return record


@pytest.fixture
def row(record) -> Row:
    (row,) = ingest(container([record], a_ztf_schema_of_tomorrow())).rows
    return row


def test_a_row_equals_its_packet(row, record):
    assert_row_equals_record(row, record, "ztf")


def test_a_row_without_stamps_equals_its_packet(row, record):
    alert = {name: value for name, value in row.items() if name not in ("science", "template", "difference")}
    assert_row_equals_record(alert, record, "ztf")


def rounded(value: int) -> int:
    return int(float(value))


ALTERATIONS: dict[str, Callable[[Row], object]] = {
    "id rounded by a float": lambda row: row.update(alert_id=rounded(row["alert_id"])),
    "id as a float": lambda row: row.update(alert_id=float(row["alert_id"])),
    "id in the candidate rounded": lambda row: row["candidate"].update(candid=rounded(row["candidate"]["candid"])),
    "sentinel made null": lambda row: row["candidate"].update(ssdistnr=None),
    "null made sentinel": lambda row: row["candidate"].update(sgscore1=-999.0),
    "NaN made null": lambda row: row["candidate"].update(distnr=None),
    "null made NaN": lambda row: row["candidate"].update(sgscore1=math.nan),
    "magnitude changed in the last place": lambda row: row["candidate"].update(magpsf=math.nextafter(18.5, 19)),
    "history lost an entry": lambda row: row["prv_candidates"].pop(),
    "history turned round": lambda row: row["prv_candidates"].reverse(),
    "history entry changed": lambda row: row["prv_candidates"][1].update(jd=2458000.5),
    "null array said to be empty": lambda row: row.update(null_arrays=[]),
    "full array said to be null": lambda row: row["null_arrays"].append("prv_candidates"),
    "null array stays null": lambda row: row.update(fp_hists=None),
    "stamp cut": lambda row: row.update(science=row["science"][:-1]),
    "stamps exchanged": lambda row: row.update(science=row["template"], template=row["science"]),
    "unknown field lost": lambda row: row.update(extra=None),
    "unknown field changed": lambda row: row.update(extra=row["extra"].replace("0.25", "0.5")),
    "unknown id as a number": lambda row: row.update(extra=row["extra"].replace(f'"{2**60}"', str(2**60))),
    "known field in extra too": lambda row: row.update(extra=row["extra"][:-1] + ', "candidate.magpsf": 18.5}'),
    "time off by two microseconds": lambda row: row.update(observed_at=row["observed_at"].replace(microsecond=2)),
    "another night": lambda row: row.update(night=row["night"].replace(day=1)),
    "another object": lambda row: row.update(object_id="ZTF18gfedcba"),
    "position of the object": lambda row: row.update(ra_deg=row["ra_deg"] + 1e-9),
    "not found by position": lambda row: row.update(healpix29=None),
    "another version": lambda row: row.update(schema_version="4.1"),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_a_row_that_differs_is_found(row, record, alteration):
    ALTERATIONS[alteration](row)
    with pytest.raises(AssertionError):
        assert_row_equals_record(row, record, "ztf")
