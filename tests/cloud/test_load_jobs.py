"""Whether files were loaded: a job that failed is one thing, an answer about it that failed another."""

from __future__ import annotations

import pytest
from google.api_core.exceptions import Forbidden, NotFound
from google.cloud import bigquery

from tests.emulators.cloud import Cloud
from tests.warehouses.commits import ZTF, alerts
from transforms.load_files import avro_file
from warehouses.bigquery.append import AppendRefused
from warehouses.bigquery.load_files import _job_id, is_loaded, load
from warehouses.bigquery.tables import prepare
from warehouses.files import create_file

TABLE = ZTF.alerts_table


def load_file(cloud: Cloud, content: bytes) -> str:
    name = f"{cloud.bucket}/loads/{len(content)}.avro"
    with create_file(name) as file:
        file.write(content)
    return name


@pytest.fixture
def table(cloud: Cloud) -> str:
    dataset = cloud.dataset()
    client = cloud.client()
    prepare(client, dataset, ["ztf"])
    client.close()
    return f"{cloud.project}.{dataset}.{TABLE.name}"


def test_files_count_as_not_loaded_only_where_their_job_failed(cloud: Cloud, table: str) -> None:
    """Who takes a question that was refused for a job that failed loads the same rows by other files: twice."""
    good = load_file(cloud, avro_file(TABLE, alerts().select(TABLE.arrow_schema.names)))
    client: bigquery.Client = cloud.client()
    load(client, table, [good])
    assert is_loaded(client, table, [good])
    project, dataset, name = table.split(".")
    running = {
        "jobReference": {"projectId": project, "jobId": _job_id([good]), "location": "US"},
        "configuration": {"load": {"destinationTable": {"projectId": project, "datasetId": dataset, "tableId": name}}},
        "status": {"state": "RUNNING"},
    }
    cloud.faults.fail(1, "GET .*/jobs/broker-", 200, answer=running)
    cloud.faults.fail(1, "GET .*/jobs/broker-", 403)
    with pytest.raises(Forbidden):
        is_loaded(client, table, [good])
    assert is_loaded(client, table, [good])
    bad = load_file(cloud, b"no Avro")
    with pytest.raises(AppendRefused):
        load(client, table, [bad])
    with pytest.raises(NotFound):
        is_loaded(client, table, [bad])
    client.close()
