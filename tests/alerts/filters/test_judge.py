"""Verdicts on batches: each alert has exactly one of three, and who fails fails alone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pytest

from alerts.filters.judge import Judged, judge
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.filters.steps import Steps
from alerts.filters.tree import Query
from alerts.surveys import SURVEYS
from tests.alerts.filters.rows import MATCHES

ROW = row_of(SURVEYS["ztf"])
COLUMNS = (
    "alert_id, candidate.fid, candidate.drb AS score, object_id, night, observed_at, candidate.isdiffpos AS up, NULL AS nothing"
)


def query(condition: str, columns: str = "alert_id") -> Query:
    return parse(f"SELECT {columns} FROM alerts WHERE {condition}", ROW)


def batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    candidate = pa.struct([("fid", pa.int32()), ("drb", pa.float64()), ("isdiffpos", pa.string())])
    fields = [("alert_id", pa.int64()), ("object_id", pa.string()), ("night", pa.date32()), ("candidate", candidate)]
    return pa.RecordBatch.from_pylist(
        rows, pa.schema([*fields, ("observed_at", pa.timestamp("us", "UTC")), ("matches", MATCHES)])
    )


def alert(number: int, drb: float | None = 0.9, columns: str = "{}") -> dict[str, Any]:
    source = {"source_id": "s", "separation_arcsec": 1.0, "columns": columns}
    return {
        "alert_id": 2**60 + number,
        "object_id": f"ZTF{number}",
        "night": date(2026, 11, 29),
        "observed_at": datetime(2026, 11, 29, 6, tzinfo=UTC),
        "candidate": {"fid": number % 3, "drb": drb, "isdiffpos": "t"},
        "matches": [{"catalog": "simbad", "status": "matched", "radius_arcsec": 5.0, "sources": [source]}],
    }


def one(found: dict[str, Judged]) -> Judged:
    (judged,) = found.values()
    return judged


def test_each_alert_has_one_verdict_and_null_is_told() -> None:
    rows = batch([alert(0, 0.95), alert(1, 0.1), alert(2, None), alert(3, float("nan")), alert(4, 0.99)])
    judged = one(judge(rows, Steps({"good": query("candidate.drb > 0.9", COLUMNS)})))
    assert judged.passed.tolist() == [True, False, False, False, True]
    assert judged.rejected.tolist() == [False, True, True, True, False]
    assert judged.by_null.tolist() == [False, False, True, True, False]
    assert judged.counts == {"seen": 5, "passed": 2, "rejected": 3, "rejected_by_null": 2, "failed": 0}
    told = dict(zip(COLUMNS.replace("candidate.", "").split(", "), judged.columns, strict=True))
    assert told["alert_id"].to_pylist() == [2**60, 2**60 + 4]
    assert told["fid"].to_pylist() == [0, 1]
    assert told["drb AS score"].to_pylist() == [0.95, 0.99]
    assert told["object_id"].to_pylist() == ["ZTF0", "ZTF4"]
    assert told["night"].to_pylist() == [date(2026, 11, 29)] * 2
    assert told["observed_at"].to_pylist() == [datetime(2026, 11, 29, 6, tzinfo=UTC)] * 2
    assert told["isdiffpos AS up"].to_pylist() == [True, True]
    assert told["NULL AS nothing"].to_pylist() == [None, None]


BY_MATCH = "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE JSON_VALUE(s.columns, '$.otype') = 'QSO')"


@pytest.mark.parametrize("broken", [[0], [6], [2, 3], list(range(7))])
def test_who_fails_fails_alone(broken: list[int]) -> None:
    rows = batch([alert(number, columns="no json" if number in broken else '{"otype":"QSO"}') for number in range(7)])
    found = judge(rows, Steps({"by_match": query(BY_MATCH), "plain": query("candidate.drb > 0.5")}))
    judged = found["by_match"]
    assert list(judged.failures) == broken
    assert all("JSONDecodeError" in why for why in judged.failures.values())
    assert judged.passed.tolist() == [number not in broken for number in range(7)]
    assert not judged.rejected.any()
    assert judged.columns[0].to_pylist() == [2**60 + number for number in range(7) if number not in broken]
    assert judged.counts["seen"] == judged.counts["passed"] + judged.counts["rejected"] + judged.counts["failed"] == 7
    assert found["plain"].passed.all()


@pytest.mark.parametrize("condition", ["NULL", "TRUE", "FALSE", "candidate.drb > 0.5"])
def test_conditions_that_are_constants_and_batches_that_are_empty(condition: str) -> None:
    for count in (0, 3):
        judged = one(judge(batch([alert(number) for number in range(count)]), Steps({"x": query(condition, COLUMNS)})))
        assert judged.counts["seen"] == count
        assert judged.counts["passed"] == (0 if condition in ("NULL", "FALSE") else count)
        assert judged.counts["rejected_by_null"] == (count if condition == "NULL" else 0)
        assert len(judged.columns[0]) == judged.counts["passed"]
