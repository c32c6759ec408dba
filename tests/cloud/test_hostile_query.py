"""A warehouse in BigQuery, asked to do more than to give rows."""

from __future__ import annotations

import pytest

from broker import warehouse
from broker.warehouse import QueryError
from tests.emulators.cloud import Cloud
from warehouses.bigquery.tables import prepare


@pytest.fixture(scope="module")
def place(cloud: Cloud) -> str:
    dataset = cloud.dataset()
    prepare(cloud.client(), dataset, ["ztf"])
    return f"bigquery://{cloud.project}/{dataset}"


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM ztf_alerts WHERE TRUE",
        "DROP TABLE ztf_alerts",
        "SELECT 1; DROP TABLE ztf_alerts",
        "SELECT 1; DELETE FROM ztf_alerts WHERE TRUE;",
        "WITH a AS (SELECT 1) SELECT * FROM a; CREATE TABLE x AS SELECT 1",
        r"SELECT 'a\\'; DROP TABLE ztf_alerts -- '",
        "SELECT '' '' ; DROP TABLE ztf_alerts; --'",
        "SELECT 1 -- '\n; DROP TABLE ztf_alerts -- '",
        "SELECT 1 # '\n; DROP TABLE ztf_alerts -- '",
        "SELECT 1 /* ' */; DROP TABLE ztf_alerts -- '",
        "SELECT `a'`; DROP TABLE ztf_alerts; SELECT '`'",
        "SELECT '\n'; DROP TABLE ztf_alerts; SELECT '",
        'SELECT """ " """; DROP TABLE ztf_alerts -- "',
        "EXPORT DATA OPTIONS (uri = 'gs://b/x*', format = 'CSV') AS SELECT 1",
        "BEGIN SELECT 1; END",
        "SELECT \ud800",
    ],
)
def test_what_does_more_than_give_rows_is_refused(place: str, sql: str) -> None:
    with warehouse.open(place) as opened:
        before = opened.tables
        with pytest.raises(QueryError):
            opened.query(sql)
    with warehouse.open(place) as opened:
        assert opened.tables == before


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 AS a",
        "WITH a AS (SELECT 1 AS a) SELECT * FROM a;",
        "SELECT 1 AS a ; \n",
        "SELECT ';' AS a",
        'SELECT """;"a;""" AS a',
        r"SELECT 'it\'s;' AS a",
        "SELECT 1 AS a -- ; and so on",
    ],
)
def test_what_gives_rows_is_answered(place: str, sql: str) -> None:
    with warehouse.open(place) as opened:
        assert opened.query(sql).num_rows == 1


@pytest.mark.parametrize("name", ["x' OR '1'='1", "'; DROP TABLE ztf_alerts; --", "{object_id}", "@object_id", "\\"])
def test_an_object_is_a_value_and_no_sql(place: str, name: str) -> None:
    # Behind the tests above, which have left the tables alone.
    with warehouse.open(place) as opened:
        assert opened.alerts_of(name).num_rows == 0
