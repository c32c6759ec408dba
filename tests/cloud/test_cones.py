"""Cones over BigQuery: exactly the rows within the radius, by brute force over all of them."""

from __future__ import annotations

import contextlib
import json

from alerts.json_text import to_json
from broker import warehouse
from tests.broker.test_cones import check_cones, placed_alerts, some_cones
from tests.emulators.cloud import Cloud
from transforms.bigquery_tables import prepare


def test_cones_over_bigquery(cloud: Cloud) -> None:
    dataset, alerts = cloud.dataset(), placed_alerts()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
        given = [{name: value for name, value in row.items() if value is not None} for row in alerts.to_pylist()]
        rows = [json.loads(to_json(row)) for row in given]
        assert client.insert_rows_json(f"{cloud.project}.{dataset}.ztf_alerts", rows) == []
    with contextlib.closing(warehouse.open(f"bigquery://{cloud.project}/{dataset}")) as opened:
        check_cones(opened, alerts, some_cones(200))
