"""Cones over BigQuery: exactly the rows within the radius, by brute force over all of them."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pyarrow as pa

from alerts.json_text import to_json
from alerts.positions import cone_ranges, separation_arcsec
from broker import warehouse
from broker.warehouse import ranges_sql
from tests.emulators.cloud import Cloud
from tests.warehouses.test_cones import check_cones, placed_alerts, some_cones
from warehouses.bigquery.tables import prepare

AT_ONCE = 10
"""Cones that one statement asks about."""


def test_cones_over_bigquery(cloud: Cloud) -> None:
    dataset, alerts = cloud.dataset(), placed_alerts()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, ["ztf"])
        given = [{name: value for name, value in row.items() if value is not None} for row in alerts.to_pylist()]
        rows = [json.loads(to_json(row)) for row in given]
        assert client.insert_rows_json(f"{cloud.project}.{dataset}.ztf_alerts", rows) == []
    cones = some_cones(200)
    with contextlib.closing(warehouse.open(f"bigquery://{cloud.project}/{dataset}")) as opened:
        check_cones(opened, alerts, cones[:12])
        for first in range(0, len(cones), AT_ONCE):
            check_conditions(opened, alerts, cones[first : first + AT_ONCE])


def check_conditions(opened: warehouse.Warehouse, alerts: pa.Table, cones: np.ndarray) -> None:
    """What the condition of each cone leaves out is outside: with the cut by separation it is what brute force finds."""
    asked = [ranges_sql(cone_ranges(ra_deg % 360, dec_deg, radius_arcsec)) for ra_deg, dec_deg, radius_arcsec in cones.tolist()]
    parts = [f"SELECT {number} AS cone, alert_id FROM ztf_alerts WHERE {one}" for number, one in enumerate(asked)]
    found = opened.query(" UNION ALL ".join(parts)).to_pylist()
    near: list[set[int]] = [set() for _ in asked]
    for row in found:
        near[row["cone"]].add(row["alert_id"])
    ra, dec, ids = (alerts.column(name).to_numpy() for name in ("ra_deg", "dec_deg", "alert_id"))
    for kept, cone in zip(near, cones.tolist(), strict=True):
        inside = set(ids[separation_arcsec(ra, dec, *cone[:2]) <= cone[2]].tolist())
        assert inside <= kept
        if cone[2] < 36_000:
            assert len(kept) < len(ids) / 4, "a condition that lets the whole sky pass would pass too"
