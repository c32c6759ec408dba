"""Catalogs of services behind a stream's rounds: rounds do not wait for them, and no alert is forgotten."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import warehouses
from pipelines.catalog_loop import OpenNights
from pipelines.ingest import run
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer
from tests.crossmatching import ALLWISE, as_allwise
from tests.nights import simulated
from warehouses import QueryError
from warehouses.unmatched import UNANSWERED, Unmatched, Wanted

ROOT = Path(__file__).parents[2]
NIGHT = date(2026, 9, 17)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "60", "--seed", "8", "--archive", "tar")


@pytest.fixture
def server(night: Path) -> Iterator[CatalogServer]:
    with CatalogServer({"II/328/allwise": as_allwise(pq.read_table(night / "catalog.parquet"))}) as server:
        yield server


@pytest.fixture
def folder(night: Path, tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    (archive,) = night.glob("*.tar")
    shutil.copy(archive, made)
    os.utime(made / archive.name, (time.time() - 3600,) * 2)
    return made


def words(server: CatalogServer, folder: Path, place: Path, *others: str) -> list[str]:
    asked = ["--crossmatch", ALLWISE, "--crossmatch_url", server.url]
    return ["--watch", str(folder), "--warehouse", str(place), "--every_secs", "0.2", *asked, *others]


def states(place: Path) -> dict[str, int]:
    try:
        with warehouses.at(str(place)) as opened:
            rows = opened.query("SELECT status, COUNT(*) AS n FROM crossmatches GROUP BY 1").to_pylist()
    except QueryError:
        return {}
    return {row["status"]: row["n"] for row in rows}


def test_all_are_asked_about_once_and_who_reads_to_the_end_waits_for_it(
    server: CatalogServer, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "w"
    assert run(words(server, folder, place, "--once")) == 0
    assert sum(states(place).values()) == 60
    assert "failed" not in states(place)
    asked = server.positions_asked
    with warehouses.at(str(place)) as opened:
        runs = opened.query("SELECT alerts_written, options FROM runs ORDER BY started_at").to_pylist()
    assert [row["alerts_written"] for row in runs] == [60, 0]
    assert ALLWISE in json.loads(runs[1]["options"])["crossmatch"][0]
    # Nothing new: nobody is asked.
    assert run(words(server, folder, place, "--once")) == 0
    assert server.positions_asked == asked


def test_rounds_go_on_while_nobody_answers_and_all_is_answered_afterwards(
    server: CatalogServer, folder: Path, tmp_path: Path
) -> None:
    place = tmp_path / "w"
    server.fail(Fault("closed"))
    assert run(words(server, folder, place, "--once")) == 0
    with warehouses.at(str(place)) as opened:
        assert opened.query("SELECT COUNT(*) AS n FROM ztf_alerts").to_pylist() == [{"n": 60}]
    # What could not be asked is no row: it is asked again.
    assert states(place) == {}
    server.heal()
    assert run(words(server, folder, place, "--once")) == 0
    assert sum(states(place).values()) == 60
    assert "failed" not in states(place)


def test_a_filter_on_a_catalog_is_asked_when_it_has_answered_and_about_each_alert_once(
    server: CatalogServer, folder: Path, night: Path, tmp_path: Path
) -> None:
    """Others are asked with the round, and are not held up by a service that is down."""
    place, filters = tmp_path / "w", tmp_path / "filters"
    filters.mkdir()
    matched = f"EXISTS (SELECT 1 FROM UNNEST(matches) AS m WHERE m.catalog = '{ALLWISE}' AND m.status = 'matched')"
    (filters / "seen_by_wise.sql").write_text(f"-- surveys: ztf\nSELECT ra_deg FROM alerts WHERE {matched}\n")
    (filters / "positive.sql").write_text("-- surveys: ztf\nSELECT ra_deg FROM alerts WHERE candidate.isdiffpos\n")
    given = ("--once", "--filters", str(filters))
    server.fail(Fault("closed"))
    assert run(words(server, folder, place, *given)) == 0
    assert seen(place) == {"positive": 60}
    server.heal()
    assert run(words(server, folder, place, *given)) == 0
    assert seen(place) == {"positive": 60, "seen_by_wise": 60}
    with warehouses.at(str(place)) as opened:
        told = opened.query("SELECT alert_id FROM verdicts WHERE filter = 'seen_by_wise' ORDER BY 1").to_pylist()
        assert told == opened.query("SELECT alert_id FROM crossmatches WHERE status = 'matched' ORDER BY 1").to_pylist()
        assert 0 < len(told) < 60
    # More come, and only these are asked about.
    more = simulated(tmp_path / "more", "--alerts", "20", "--seed", "9", "--archive", "tar")
    (archive,) = more.glob("*.tar")
    shutil.copy(archive, folder / "more.tar")
    os.utime(folder / "more.tar", (time.time() - 3600,) * 2)
    assert run(words(server, folder, place, *given)) == 0
    assert seen(place) == {"positive": 80, "seen_by_wise": 80}


def seen(place: Path) -> dict[str, int]:
    """How many alerts filters were asked about, by their names."""
    with warehouses.at(str(place)) as opened:
        rows = opened.query(
            "SELECT filter, CAST(SUM(seen) AS INT64) AS seen FROM filter_counts GROUP BY 1 ORDER BY 1"
        ).to_pylist()
    return {row["filter"]: row["seen"] for row in rows}


def test_a_killed_stream_forgets_no_night(server: CatalogServer, folder: Path, tmp_path: Path) -> None:
    """Its asking ends with it, in the middle of a call that nobody answers; who goes on asks."""
    place = tmp_path / "w"
    server.fail(Fault("slow", secs=30))
    command = [sys.executable, "-W", "ignore", "-m", "broker", "ingest", *words(server, folder, place)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "round 1" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    # Its standard error is open until all its processes have ended.
    process.communicate(timeout=20)
    assert states(place) == {}
    server.heal()
    assert run(words(server, folder, place, "--once")) == 0
    assert sum(states(place).values()) == 60


def test_another_turn_asks_about_others(server: CatalogServer, folder: Path, tmp_path: Path) -> None:
    """Else so many of which nothing is known would stand before the rest of a night for ever."""
    place = str(tmp_path / "w")
    assert run(["--watch", str(folder), "--warehouse", place, "--once"]) == 0
    found = []
    for turn in (0, 1_009, 2_018):
        wanted = Wanted("ztf", NIGHT, ALLWISE, 5.0, UNANSWERED, most=20, turn=turn)
        found.append({one for rows in Unmatched(place).read(wanted) for one in rows.column("alert_id").to_pylist()})
    assert [len(some) for some in found] == [20, 20, 20]
    assert len(set().union(*found)) > 20


def test_nights_are_kept_until_they_are_through(tmp_path: Path) -> None:
    with warehouses.at(str(tmp_path / "w")) as place:
        place.prepare(["ztf"])
        backlog = OpenNights.kept(place, "s", ["ztf"])
        backlog.named(json.dumps({"run_id": "r2", "nights": {"ztf": ["2026-09-16", "2026-09-17"]}}))
        ((night, named), other) = backlog.newest_first()
        assert night == ("ztf", NIGHT)
        assert other[0] == ("ztf", date(2026, 9, 16))
        # Named again while it is asked about: it is not through.
        backlog.named(json.dumps({"run_id": "r3", "nights": {"ztf": ["2026-09-17", "2026-09-17"]}}))
        backlog.through(night, named)
        backlog.through(*other)
        backlog.keep(place)
        again = OpenNights.kept(place, "s", ["ztf"])
        assert list(again.nights) == [("ztf", NIGHT)]
        assert again.newest_run == "r3"
