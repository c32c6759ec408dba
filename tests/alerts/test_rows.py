"""Rows as dictionaries for the sinks that want them: nothing is rounded on the way."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from typing import Any

import pytest

from alerts import rows as rows_of
from alerts.avro.decode import decode
from alerts.avro.packets import Packet, open_packets
from alerts.avro.wire_schemas import WireSchemas
from tests.alerts.making import container, ztf_record
from tests.compare import assert_row_equals_record


@pytest.fixture
def record() -> dict[str, Any]:
    record = ztf_record(2_560_123_456_789_012_345, jd=2461109.5, distnr=math.nan, ssdistnr=-999.0, sgscore1=None)
    record["fp_hists"] = None
    return record


@pytest.fixture
def batch(record) -> Any:
    packets = [one for one in open_packets(container([record]), "n.avro", WireSchemas()) if isinstance(one, Packet)]
    return decode(packets, ingested_at=datetime(2026, 3, 10, 4, 5, 6, 789, tzinfo=timezone.utc)).rows["ztf"]


def test_the_rows_of_a_batch_are_the_packets(batch, record):
    (row,) = batch.to_pylist()
    assert_row_equals_record(row, record, "ztf")


def test_json_rows_can_be_sent_as_json_and_are_exact(batch, record):
    (row,) = rows_of.json_rows(batch)
    told = json.loads(json.dumps(row, allow_nan=False))
    assert told["alert_id"] == told["candidate"]["candid"] == "2560123456789012345"
    assert told["candidate"]["distnr"] == "NaN"
    assert told["candidate"]["ssdistnr"] == -999.0
    assert told["candidate"]["sgscore1"] is None
    assert (told["fp_hists"], told["null_arrays"]) == ([], ["fp_hists"])
    assert [one["jd"] for one in told["prv_candidates"]] == [one["jd"] for one in record["prv_candidates"]]
    assert told["night"] == "2026-03-10"
    assert told["observed_at"] == "2026-03-10T00:00:00+00:00"
    assert told["ingested_at"] == "2026-03-10T04:05:06.000789+00:00"
