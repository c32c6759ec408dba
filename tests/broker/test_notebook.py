"""docs/notebook.md, run as it stands: against servers on this machine that speak like ZTF's archive and CDS X-Match."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import astropy.units as u
import nbformat
import numpy as np
import pytest
from astropy.table import Table

from alerts.catalogs.catalog import BadCatalog, Unavailable
from broker import alert_ingestion, ztf_archive
from broker import xmatch as xm
from broker.archive.errors import NoLocalData
from broker.archive.local import data_folder, local_archives
from pipelines.errors import OptionsError
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer
from tests.broker.archive_server import ArchiveServer
from tests.broker.notebook import ALERTS, NOTEBOOK, PAGE, TWOMASS, notebook_of, run_in_kernel, surroundings, twomass
from tests.nights import ask, simulated


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ArchiveServer]:
    night = simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--seed", "12")
    folder = tmp_path_factory.mktemp("archive")
    shutil.copy(next(night.glob("*.tar.gz")), folder / "ztf_public_20260917.tar.gz")
    with ArchiveServer(folder) as server:
        yield server


@pytest.fixture
def here(archive: ArchiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and the archive's address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PITT_BROKER_ZTF_URL", archive.url)
    monkeypatch.setenv("PITT_BROKER_DATA", str(tmp_path / "data"))
    monkeypatch.delenv(alert_ingestion.WAREHOUSE, raising=False)
    return tmp_path


@pytest.fixture
def downloaded(here: Path) -> Path:
    ztf_archive.download_data(progress=False)
    return here


@pytest.fixture
def service(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CatalogServer]:
    with CatalogServer({"II/246/out": twomass(local_archives(data_folder(None))[0])}) as server:
        monkeypatch.setenv(xm.XMATCH_URL, server.url)
        yield server


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """The page as a notebook, run in a kernel; and the folder where it ran."""
    folder = tmp_path_factory.mktemp("kernel")
    notebook = notebook_of(PAGE.read_text(encoding="utf-8"))
    place = folder / "here"
    place.mkdir()
    with surroundings(folder) as environment:
        return run_in_kernel(notebook, place, environment), place


def test_the_notebook_is_the_page(shown: tuple[Any, Path]) -> None:
    kept = nbformat.read(NOTEBOOK, 4)
    page = notebook_of(PAGE.read_text(encoding="utf-8"))
    assert [(cell.cell_type, cell.source) for cell in kept.cells] == [(cell.cell_type, cell.source) for cell in page.cells], (
        "docs/notebook.md has changed: make notebook"
    )
    # What the kept one shows is of the same kind as what its cells show now.
    assert [kinds(cell) for cell in kept.cells] == [kinds(cell) for cell in shown[0].cells]


def kinds(cell: Any) -> list[str]:
    return [kind for output in cell.get("outputs", []) for kind in sorted(output.get("data", {"text": ""}))]


def test_every_cell_shows_something_in_a_kernel_and_nothing_is_loud(shown: tuple[Any, Path]) -> None:
    cells = [cell for cell in shown[0].cells if cell.cell_type == "code"]
    assert len(cells) == 8
    for cell in cells:
        assert cell.outputs, cell.source
        for output in cell.outputs:
            assert output.output_type in ("execute_result", "stream")
            text = output.get("text") or "".join(str(value) for kind, value in output.data.items() if kind.startswith("text"))
            # Nothing is fetched from elsewhere to be seen.
            assert "<script" not in text
            assert "http" not in text
            assert not re.search("Warning|WARNING|Error|ERROR|INFO|DEBUG", text), text
    pictures = [cell.source for cell in cells if "image/png" in kinds(cell)]
    assert [re.search(r"plot_\w+(?=\(.*\Z)", source).group() for source in pictures] == [  # type: ignore[union-attr]
        "plot_stamps",
        "plot_light_curve",
        "plot_sky",
    ]


def test_bars_end_at_100_per_cent_in_a_kernel(shown: tuple[Any, Path]) -> None:
    first = next(cell for cell in shown[0].cells if cell.cell_type == "code")
    bars = [line for output in first.outputs if output.get("name") == "stderr" for line in output.text.splitlines() if line]
    assert [re.sub(r":.*", "", bar) for bar in bars] == [
        "ztf_public_20260917.tar.gz",
        "indexing ztf_public_20260917.tar.gz",
    ]
    assert all("100%" in bar for bar in bars), bars


def test_what_the_notebook_did_is_there(shown: tuple[Any, Path]) -> None:
    # Ingested three times into one folder: the night is there once.
    query = "SELECT count(*), count(DISTINCT alert_id) FROM ztf_alerts"
    assert ask(shown[1] / "warehouse", query) == [(ALERTS, ALERTS)]
    assert len(Table.read(shown[1] / "alerts_radec.csv")) == ALERTS
    assert not list((shown[1]).glob("beam*"))


def test_positions_of_alerts(downloaded: Path) -> None:
    table = xm.get_alerts_ra_dec(fout="radec.csv", max_alerts=7)
    assert len(table) == 7
    assert table["candid"].dtype == np.int64
    assert table["ra"].unit == u.deg
    again = Table.read("radec.csv")
    assert again["candid"].tolist() == table["candid"].tolist()
    assert (again["ra"] == table["ra"]).all()
    assert len(xm.get_alerts_ra_dec()) == ALERTS
    assert len(xm.get_alerts_ra_dec(max_alerts=None)) == ALERTS


def test_matches_of_a_table_or_a_file(service: CatalogServer, tmp_path: Path) -> None:
    table = xm.get_alerts_ra_dec()
    found = xm.get_xmatches(table, TWOMASS)
    assert found["separation_arcsec"].unit == u.arcsec
    assert found["Jmag"].unit == u.mag
    assert found["Hmag"].mask.all()
    assert found["source_id"][0].startswith("0")
    near = found[found["candid"] == table["candid"][3]]
    assert near["separation_arcsec"].min() == pytest.approx(1.0, abs=1e-3)
    assert near["source_dec_deg"][0] - near["dec"][0] == pytest.approx(1 / 3600, abs=1e-6)
    # The same catalog in a file.
    stars = Table({"name": found["source_id"], "ra": found["source_ra_deg"], "dec": found["source_dec_deg"]})
    stars.filled("").write(tmp_path / "stars.csv", format="ascii.csv")
    of_file = xm.get_xmatches(table, f"file:{tmp_path}/stars.csv?id=name")
    assert set(of_file["source_id"]) == set(found["source_id"])
    assert "ra_2" in of_file.colnames


def test_no_match_is_an_empty_table_and_a_failure_is_an_error(service: CatalogServer) -> None:
    nowhere = Table({"ra": [10.0], "dec": [-80.0]})
    found = xm.get_xmatches(nowhere, TWOMASS)
    assert len(found) == 0
    assert "2MASS" in found.colnames
    service.fail(Fault("empty"))
    with pytest.raises(Unavailable, match="canary"):
        xm.get_xmatches(nowhere, TWOMASS)


@pytest.mark.parametrize(
    ("table", "catalog", "error", "says"),
    [
        (Table({"x": [1.0]}), TWOMASS, ValueError, "known to hold positions; say which with ra=.*; it has x"),
        (Table({"ra": [1.0, 361.0], "dec": [0.0, 0.0]}), TWOMASS, ValueError, r"row 1 \(from 0\) of the table .* ra 361 deg"),
        (Table({"ra": [np.nan], "dec": [0.0]}), TWOMASS, ValueError, "row 0 .* no position, 'ra' is nan"),
        (Table({"ra": [1.0], "dec": [0.0]}), "2mass", BadCatalog, "names no catalog"),
        (Table({"ra": [1.0], "dec": [0.0]}), "file:nowhere.parquet", BadCatalog, "nowhere.parquet"),
    ],
)
def test_wrong_questions(service: CatalogServer, table: Table, catalog: str, error: type[Exception], says: str) -> None:
    calls = len(service.calls)
    with pytest.raises(error, match=says):
        xm.get_xmatches(table, catalog)
    assert len(service.calls) == calls


def test_units_of_the_first_table_are_heeded(service: CatalogServer) -> None:
    first = xm.get_alerts_ra_dec(max_alerts=1)
    radians = Table({"ra": first["ra"].to(u.rad), "dec": first["dec"].to(u.rad)})
    assert len(xm.get_xmatches(radians, TWOMASS)) == len(xm.get_xmatches(first, TWOMASS)) == 1


def test_ingestion_says_where_to_get_a_night(here: Path) -> None:
    with pytest.raises(NoLocalData, match="download_data"):
        alert_ingestion.batch_ingest_alerts()


def test_the_first_alerts_only(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(alert_ingestion.WAREHOUSE, str(downloaded / "other"))
    summary = alert_ingestion.stream_ingest_alerts(4, max_alerts=10, survey="ztf")
    assert (summary.records_read, summary.alerts) == (10, 10)
    first = [one["candid"] for one, _ in zip(ztf_archive.iter_alerts(), range(10), strict=False)]
    assert {row[0] for row in ask(downloaded / "other", "SELECT alert_id FROM ztf_alerts")} == set(first)


def test_wrong_arguments_are_said(downloaded: Path) -> None:
    with pytest.raises(OptionsError, match="alerts_per_write is 0"):
        alert_ingestion.batch_ingest_alerts(0)
    with pytest.raises(OptionsError, match="max_alerts is -1"):
        alert_ingestion.batch_ingest_alerts(max_alerts=-1)
    with pytest.raises(OptionsError, match="temp_location"):
        alert_ingestion.batch_ingest_alerts(warehouse="bigquery://testproject/alerts")
