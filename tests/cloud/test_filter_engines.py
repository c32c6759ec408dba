"""Filters in BigQuery, as far as its emulator goes: the statement is one that the client sends, and its answer the pipeline's."""

from __future__ import annotations

import contextlib
import math
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pytest
from google.api_core.exceptions import BadRequest
from google.cloud import bigquery

from alerts.filters.engines.bigquery_sql import bigquery_sql
from alerts.filters.engines.writer import Relation
from alerts.filters.parse import parse
from alerts.filters.row import row_of
from alerts.surveys import SURVEYS
from tests.alerts.filters.engines import by_python, differences, kind_of
from tests.alerts.filters.rows import odd_batch
from tests.alerts.filters.written import GOOD, ODD
from tests.emulators.cloud import Cloud

NOT_EMULATED = ("POW(", "MOD(", "candidate.ra * candidate.dec", "ABS((SELECT", "'$.plx') IS NULL")
"""The emulator has no SAFE.POW nor SAFE of a subquery, raises of the least whole number, its SAFE_MULTIPLY may be infinite, and
its JSON_VALUE is another of some row, of which nobody has looked why. Google's own engine is none of that
(``tests.alerts.filters.test_engines``)."""
EMULATED = [each for each in (*GOOD, *ODD) if not any(part in each for part in NOT_EMULATED)]


@pytest.fixture(scope="module")
def table(cloud: Cloud) -> str:
    """A table of BigQuery with the rows of what values can be."""
    rows, name = odd_batch(), f"{cloud.project}.{cloud.dataset()}.rows"
    with contextlib.closing(cloud.client()) as client:
        client.create_dataset(name.rsplit(".", 1)[0])
        made = bigquery.Table(name, schema=[column(field.name, field.type) for field in rows.schema])
        client.create_table(made)
        lines = [{field.name: sent(row[field.name], field.type) for field in rows.schema} for row in rows.to_pylist()]
        assert client.insert_rows_json(made, lines) == []
    return name


def column(name: str, arrow: pa.DataType) -> bigquery.SchemaField:
    mode, kind = ("REPEATED", arrow.value_type) if pa.types.is_list(arrow) else ("NULLABLE", arrow)
    if pa.types.is_struct(kind):
        return bigquery.SchemaField(name, "RECORD", mode, fields=[column(field.name, field.type) for field in kind])
    return bigquery.SchemaField(name, kind_of(kind, set(), name), mode)


def sent(held: Any, arrow: pa.DataType) -> Any:
    """A value as ``insertAll`` takes it."""
    if pa.types.is_list(arrow):
        return [sent(each, arrow.value_type) for each in held or []]
    if held is None:
        return None
    if pa.types.is_struct(arrow):
        return {field.name: sent(held.get(field.name), field.type) for field in arrow}
    if isinstance(held, float) and not math.isfinite(held):
        return "NaN" if math.isnan(held) else "Infinity" if held > 0 else "-Infinity"
    if isinstance(held, (date, datetime)):
        return held.isoformat()
    # Numbers of 64 bits are no numbers of JSON.
    return str(held) if isinstance(held, int) and not isinstance(held, bool) else held


def test_what_bigquery_says_of_an_alert_is_what_the_pipeline_says(cloud: Cloud, table: str) -> None:
    rows, row = odd_batch(), row_of(SURVEYS["ztf"])
    relation = Relation(f"`{table}`", rows.schema)
    queries = {each: parse(f"SELECT object_id AS o, candidate.fid AS f FROM alerts WHERE {each}", row) for each in EMULATED}
    expected = dict(zip(queries, by_python(list(queries.values()), rows), strict=True))
    wrong: dict[str, Any] = {}
    ids = rows.column("alert_id").to_pylist()
    for condition, query in queries.items():
        try:
            said = {each["alert_id"]: each for each in cloud.rows(bigquery_sql(query, relation))}
        except BadRequest as error:
            wrong[condition] = str(error)
            continue
        told = [(said[number]["verdict"], tuple(said[number]["outputs"].values())) for number in ids]
        found = differences(expected[condition], told)
        if found:
            wrong[condition] = found[:3]
    assert wrong == {}
    assert len(queries) > 70
