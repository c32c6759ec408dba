"""The base alone: a night goes through it without what the extras bring, and who needs one of them is told which."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from alerts.extras import extra_of
from tests.deploy.sources import ROOT

BROUGHT = {
    "matplotlib": "notebook",
    "sqlalchemy": "notebook",
    "duckdb_sqlalchemy": "notebook",
    "scipy": "test",
    "cramjam": "test",
}
"""Packages that the base does without, as they are imported, and what brings each."""
_WITHOUT = f"""
import sys
for name in {[*BROUGHT, "sqlalchemy_bigquery"]!r}:
    sys.modules[name] = None  # as if it were not installed
from broker import cli
"""


def without_extras(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a folder, in a process that finds none of them."""
    command = [sys.executable, "-c", _WITHOUT + program]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


def test_a_night_is_made_ingested_asked_and_audited_without_them(tmp_path: Path) -> None:
    done = without_extras(
        """
for words in (
    "simulate --alerts 20 --out night",
    "ingest --input night --warehouse w --crossmatch file:night/catalog.parquet",
    "query --warehouse w --object none",
    "query --warehouse w --out a.csv",
    "audit --input night --warehouse w",
    "compact --warehouse w",
    "replay --warehouse w",
    "completion bash",
):
    words = words.split()
    words += ["SELECT alert_id FROM ztf_alerts_unique"] if "a.csv" in words else []
    assert cli.main(words) == 0, words
import broker.ztf_archive, broker.xmatch, broker.alert_ingestion
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "a.csv").read_text().count("\n") == 21


@pytest.mark.parametrize(
    ("program", "says"),
    [
        (
            "assert cli.main(['plot', 'sky', '--night', '2026-09-17', '--out', 'a.png']) == 2",
            "broker plot: matplotlib .* pip install 'pitt-broker\\[notebook\\]'",
        ),
        ("assert cli.main(['catalog-server']) == 2", "broker catalog-server: scipy .* pip install 'pitt-broker\\[test\\]'"),
        ("import broker.orm", "MissingExtra: sqlalchemy is not installed, which this needs: pip install 'pitt-broker.notebook.'"),
        ("import warehouses; warehouses.at('w').engine()", "MissingExtra: duckdb_sqlalchemy .*notebook"),
        ("import warehouses; warehouses.at('bigquery://p/d').engine()", "MissingExtra: sqlalchemy_bigquery .*notebook"),
        ("from broker import ztf_archive; ztf_archive.plot_stamps({})", "MissingExtra: matplotlib .*notebook"),
    ],
)
def test_who_needs_one_is_told_which(program: str, says: str, tmp_path: Path) -> None:
    assert re.search(says, without_extras(program, tmp_path).stderr)


def test_extras_are_those_of_the_distribution() -> None:
    assert {name: extra_of(name) for name in BROUGHT} == BROUGHT
    with pytest.raises(LookupError):
        extra_of("numpy")
    base = [line for line in metadata.requires("pitt-broker") or [] if "extra ==" not in line]
    assert not [line for line in base if line.replace("-", "_").lower().startswith(tuple(BROUGHT))]


def test_every_room_tells_type_checkers_that_it_is_typed() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/py.typed")}
    assert rooms == {"alerts", "audit", "broker", "pipelines", "schemas", "simulation", "streams", "transforms", "warehouses"}
