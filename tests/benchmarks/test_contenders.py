"""The benchmark compares like with like: whoever is measured makes the same alerts of the same packets."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from benchmarks import contenders
from benchmarks.catalog import write_catalog
from benchmarks.decoding import NAIVE, decoding
from benchmarks.jobs import Given, naive_in_a_loop, naive_in_beam, ours_in_a_loop, ours_in_beam
from benchmarks.peers import INSTALL
from benchmarks.samples import Sample, cut, members, simulated
from benchmarks.stages import stages
from tests.nights import ask, rows
from transforms import read

SOURCES = 50_000
"""Of a catalog whose size only the time depends on, which is not looked at here; the benchmark has a million."""
PACKAGES = ("pittgoogle-client", "fink-client", "lsst-alert-packet")


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each contender once: what it makes is looked at here, not how long it takes."""
    for module in ("decoding", "stages"):
        monkeypatch.setattr(f"benchmarks.{module}.TURN_SECS", 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def night(folder: Path) -> Sample:
    return simulated(folder, "ztf", 60)


@pytest.fixture(scope="module")
def catalog(folder: Path, night: Sample) -> Path:
    return write_catalog(night.archive.parent / "catalog.parquet", folder / "catalog.parquet", SOURCES)


@pytest.mark.parametrize("survey", ["ztf", "lsst"])
def test_everybody_decodes_all_packets(survey: str, folder: Path) -> None:
    # A decoder that gives another number of alerts than there are packets raises.
    table = decoding([simulated(folder / "decoded", survey, 20)], rounds=1)
    names = [row["decoder"] for row in table.rows]
    assert names[0] == NAIVE
    assert {f"ours, {want}" for want in contenders.PROJECTIONS} < set(names)
    for package in PACKAGES:
        assert any(
            name.startswith(package) for name in names
        ) or f"{package} is not installed and was not measured: {INSTALL}" in (table.notes)


def test_batches_are_those_of_the_pipeline() -> None:
    assert (contenders.BATCH_PACKETS, contenders.BATCH_BYTES) == (read.BATCH_PACKETS, read.BATCH_BYTES)


def test_every_stage_deals_with_all_alerts(night: Sample, catalog: Path, folder: Path) -> None:
    table = stages([night], catalog, folder, rounds=1)
    micros = {row["stage"]: row[night.name] for row in table.rows}
    assert len(micros) == 19
    assert all(value > 0 for value in micros.values())
    assert micros["of that, the envelope"] < micros["decoding opened packets, everything"]


@pytest.mark.parametrize("everything", [False, True])
def test_the_plain_loop_writes_what_the_pipeline_writes(everything: bool, night: Sample, catalog: Path, tmp_path: Path) -> None:
    given = Given(night.archive, night.survey, catalog, everything)
    ours_in_beam(given, tmp_path / "beam")
    ours_in_a_loop(given, tmp_path / "loop")
    for table in ("ztf_alerts", "crossmatches", *(["ztf_cutouts"] if everything else [])):
        without = ("run_id", "ingested_at", "source", "asked_at")
        assert rows(tmp_path / "beam", table, without).equals(rows(tmp_path / "loop", table, without))
    assert (tmp_path / "beam" / "ztf_cutouts").exists() == (tmp_path / "loop" / "ztf_cutouts").exists() == everything


@pytest.mark.parametrize("job", [naive_in_beam, naive_in_a_loop])
@pytest.mark.parametrize("everything", [False, True])
def test_the_naive_ways_have_the_same_alerts_and_matches(
    job, everything: bool, night: Sample, catalog: Path, tmp_path: Path
) -> None:
    given = Given(night.archive, night.survey, catalog, everything)
    job(given, tmp_path / "naive")
    ours_in_a_loop(given, tmp_path / "ours")
    columns = "candidate.candid, candidate.magpsf, match" + (", len(prv_candidates), cutoutScience" if everything else "")
    naive = duckdb.sql(f"SELECT {columns} FROM '{tmp_path}/naive/*.parquet' ORDER BY 1").fetchall()
    alerts = ask(tmp_path / "ours", "SELECT alert_id, candidate.magpsf FROM ztf_alerts ORDER BY 1")
    matches = ask(tmp_path / "ours", "SELECT matches[1].source_id FROM crossmatches ORDER BY alert_id")
    assert [row[:2] for row in naive] == alerts
    assert [row[2:3] for row in naive] == matches
    assert any(row[2] for row in naive)
    if everything:
        assert all(row[4]["stampData"] for row in naive)


def test_the_catalog_has_the_nights_stars_among_all_others(catalog: Path, night: Sample) -> None:
    of_the_night = night.archive.parent / "catalog.parquet"
    shared = f"SELECT count(*) FROM '{catalog}' SEMI JOIN '{of_the_night}' USING (source_id, ra_deg, dec_deg)"
    assert duckdb.sql(f"SELECT count(*) FROM '{catalog}'").fetchall() == [(SOURCES,)]
    assert duckdb.sql(shared).fetchall() == duckdb.sql(f"SELECT count(*) FROM '{of_the_night}'").fetchall()


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar"])
def test_an_archive_of_any_size_holds_the_same_packets_under_other_names(suffix: str, night: Sample, tmp_path: Path) -> None:
    original = [data for _, data in members(night.archive)]
    made = list(members(cut(night.archive, 100, tmp_path, suffix)))
    assert [data for _, data in made] == [*original, *original[:40]]
    assert len({name for name, _ in made}) == 100
