"""The notebook's snippets on a real night, into BigQuery; every service stands on this machine, in the real one's words."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from alerts.catalogs.known import KNOWN
from broker import alert_ingestion
from broker import xmatch as xm
from simulation.catalog_server.catalog import Declared, ServedCatalog
from simulation.catalog_server.server import CatalogServer
from tests.broker.archive_server import ArchiveServer
from tests.broker.notebook import PAGE, TWOMASS
from tests.conftest import RealData
from tests.emulators.cloud import Cloud

NIGHT, ALERTS = "ztf_public_20231012.tar.gz", 24


def test_a_real_night_into_bigquery(cloud: Cloud, real_data: RealData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = cloud.dataset()
    archive = tmp_path / "archive"
    archive.mkdir()
    shutil.copy(real_data / f"ztf/nightly/{NIGHT}", archive)
    known = KNOWN[TWOMASS]
    assert known.canary
    own: dict[str, Any] = {"2MASS": ["canary"], "RAJ2000": [known.canary[0]], "DEJ2000": [known.canary[1]]}
    stars = pa.table({name: own.get(name, pa.nulls(1, kind)) for name, kind in known.columns.items()})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PITT_BROKER_DATA", str(tmp_path / "data"))
    monkeypatch.setenv(alert_ingestion.WAREHOUSE, f"bigquery://{cloud.project}/{dataset}")
    monkeypatch.setenv(alert_ingestion.TEMP_LOCATION, cloud.folder())
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    with (
        ArchiveServer(archive) as server,
        CatalogServer({"II/246/out": ServedCatalog(stars, Declared("RAJ2000", "DEJ2000"))}) as service,
    ):
        monkeypatch.setenv("PITT_BROKER_ZTF_URL", server.url)
        monkeypatch.setenv(xm.XMATCH_URL, service.url)
        for block in blocks:
            # The others ask a folder.
            if "./warehouse" not in block:
                exec(block, names)
    assert names["summary"].alerts == ALERTS
    table = f"`{cloud.project}.{dataset}.ztf_alerts{{}}`"
    # Three runs, each of which appended; readers see each alert once.
    assert cloud.rows(f"SELECT COUNT(*) AS n FROM {table.format('')}") == [{"n": 3 * ALERTS}]
    assert cloud.rows(f"SELECT COUNT(*) AS n FROM {table.format('_unique')}") == [{"n": ALERTS}]
    assert names["alert_data"]["candid"] in {
        row["alert_id"] for row in cloud.rows(f"SELECT alert_id FROM {table.format('_unique')}")
    }
    assert len(names["xm_table"]) == 0
