"""The light curve of an object over BigQuery is the one that its packets give."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from alerts.avro.decode import decode
from alerts.avro.inputs import read_input
from alerts.avro.packets import Packet
from alerts.avro.records import read_datum
from alerts.avro.wire_schemas import WireSchemas
from alerts.json_text import to_json
from alerts.light_curve import light_curve
from alerts.surveys import SURVEYS
from broker import warehouse
from tests.conftest import RealData
from tests.emulators.cloud import Cloud
from warehouses.bigquery.tables import prepare

NIGHTS = {"ztf": "ztf/nightly/ztf_public_20200202.tar.gz", "lsst": "lsst/nightly/lsst_test_v9_0.tar.gz"}


def packets_of(path: Path, survey: str) -> list[Packet]:
    """Those of the object with most packets, or with the longest history; the newest first."""
    with path.open("rb") as file:
        found = [one for one in read_input(file, str(path), WireSchemas()) if isinstance(one, Packet)]
    records = [(one, read_datum(one)) for one in found]
    if survey == "lsst":
        return [max(records, key=lambda one: len(one[1]["prvDiaForcedSources"] or []))[0]]
    names = [record["objectId"] for _, record in records]
    wanted = max(names, key=names.count)
    chosen = sorted((one for one in records if one[1]["objectId"] == wanted), key=lambda one: -one[1]["candidate"]["jd"])
    return [packet for packet, _ in chosen]


@pytest.mark.parametrize("survey", NIGHTS)
def test_a_light_curve_over_bigquery(cloud: Cloud, real_data: RealData, survey: str) -> None:
    dataset, packets = cloud.dataset(), packets_of(real_data / NIGHTS[survey], survey)
    rows = decode(packets).rows[survey].select(list(SURVEYS[survey].alerts_table.by_name)).to_pylist()
    with contextlib.closing(cloud.client()) as client:
        prepare(client, dataset, [survey])
        given: list[dict[str, Any]] = [{name: value for name, value in row.items() if value is not None} for row in rows]
        sent = [json.loads(to_json(row)) for row in given]
        assert client.insert_rows_json(f"{cloud.project}.{dataset}.{survey}_alerts", sent) == []
    name = rows[0]["object_id"]
    with contextlib.closing(warehouse.open(f"bigquery://{cloud.project}/{dataset}")) as opened:
        found = opened.light_curve(name)
        assert opened.alerts_of(name).column("n_points").to_pylist()[0] > 1
    expected = light_curve([read_datum(one) for one in packets], SURVEYS[survey], name)
    assert found.num_rows >= 5
    assert found.to_pylist() == expected.to_pylist()
