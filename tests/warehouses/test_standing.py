"""Which rows of an earlier run stand for a run's: by their source, however many inputs there are."""

from __future__ import annotations

from typing import Any

from warehouses.standing import Standing, of_run_sql


def test_a_question_does_not_grow_with_the_inputs() -> None:
    """BigQuery takes 10,000 parameters and a text of 1 MB; a folder may hold more files than that."""
    values: dict[str, Any] = {}
    inputs = tuple(f"gs://bucket/night/{number}.avro" for number in range(50_000))
    sql = of_run_sql("run_id", "ztf_alerts", [Standing("ztf_alerts", "earlier", inputs), Standing("other", "x")], values)
    assert len(sql) < 500
    assert len(values) == 2
    assert sql.count("{") == 3


def test_all_of_a_run() -> None:
    values: dict[str, Any] = {}
    assert of_run_sql("run_id", "t", [], values) == "run_id = {run_id}"
    assert of_run_sql("run_id", "t", [Standing("t", "a")], values) == "(run_id = {run_id} OR (run_id = {run_0}))"
    assert values == {"run_0": "a"}
