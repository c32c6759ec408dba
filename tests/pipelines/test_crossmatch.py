"""Whole runs with a catalog service that works, and with one that fails in each of its ways."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import time_machine

from alerts.catalogs.cds import gate
from alerts.catalogs.known import KNOWN
from pipelines import rematch, status
from simulation.catalog_server.catalog import ServedCatalog
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.files import from_file
from simulation.catalog_server.server import CatalogServer
from tests.crossmatching import ALLWISE, as_allwise
from tests.nights import ask, by_hand, rows, run, simulated, truth

SIM = "X/1/sim"
"""The simulator's stars in a catalog that we do not know."""
ALERTS, COPIES = 300, 30
UNIQUE = "SELECT * EXCLUDE (asked_at) FROM crossmatches_unique ORDER BY ALL"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("--alerts", str(ALERTS), "--duplicates", str(COPIES), "--damaged", "10", "--seed", "8", "--archive", "tar")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


@pytest.fixture(scope="module")
def archive(night: Path) -> Path:
    return next(night.glob("*.tar"))


@pytest.fixture(scope="module")
def catalogs(night: Path) -> dict[str, ServedCatalog]:
    stars = night / "catalog.parquet"
    return {"II/328/allwise": as_allwise(pq.read_table(stars)), SIM: from_file(stars)}


@pytest.fixture
def server(catalogs: dict[str, ServedCatalog]) -> Iterator[CatalogServer]:
    with CatalogServer(catalogs) as server:
        yield server


def flags(server: CatalogServer, *catalogs: str, more: tuple[str, ...] = (), deadline_secs: float = 60) -> tuple[str, ...]:
    """A deadline that no answer misses, however busy the machine is, but where answers that never come are meant."""
    named = [word for one in catalogs for word in ("--crossmatch", one)]
    return (*named, "--crossmatch_url", server.url, "--crossmatch_deadline_secs", str(deadline_secs), *more)


@pytest.fixture(scope="module")
def undisturbed(archive: Path, catalogs: dict[str, ServedCatalog], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse of a run whose service never failed."""
    warehouse = tmp_path_factory.mktemp("undisturbed")
    with CatalogServer(catalogs) as server:
        assert run(warehouse, archive, flags=flags(server, ALLWISE)) == 0
    return warehouse


def states(warehouse: Path) -> dict[str, int]:
    return dict(ask(warehouse, "SELECT status, count(*) FROM crossmatches_unique GROUP BY 1"))


def asked_about(night: Path) -> list[dict]:
    return [one for one in truth(night) if one["kind"] == "good"]


def test_every_alert_has_the_state_that_the_simulator_gave_it(night: Path, undisturbed: Path) -> None:
    found = {
        alert_id: (status, matches)
        for alert_id, status, matches in ask(undisturbed, "SELECT alert_id, status, matches FROM crossmatches_unique")
    }
    expected = asked_about(night)
    assert len(found) == len(expected) == ALERTS
    for one in expected:
        state, matches = found[one["alert_id"]]
        assert state == ("matched" if one["has_catalog_star"] else "no_match")
        if one["has_catalog_star"]:
            assert matches[0]["separation_arcsec"] == pytest.approx(one["separation_arcsec"], abs=1e-3)
            assert matches[0]["source_id"]
        else:
            assert matches == []
    # A copy of a packet is a row of its own; readers see one.
    assert ask(undisturbed, "SELECT count(*) FROM crossmatches") == [(ALERTS + COPIES,)]
    assert ask(undisturbed, "SELECT count(DISTINCT (survey, alert_id, catalog)) FROM crossmatches_unique") == [(ALERTS,)]


def test_the_summary_says_what_was_asked(
    archive: Path, server: CatalogServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, archive, flags=flags(server, ALLWISE)) == 0
    said = capsys.readouterr().out
    counts = states(tmp_path)
    line = next(line for line in said.splitlines() if ALLWISE in line)
    numbers = [int(word.replace(",", "")) for word in line.replace(";", "").split() if word.replace(",", "").isdigit()]
    matched, no_match, failed, calls, positions, cached = numbers
    assert matched + no_match == ALERTS + COPIES
    assert counts["matched"] <= matched
    assert (failed, calls) == (0, len(server.calls))
    assert positions == server.positions_asked - calls  # a canary in each
    assert positions + cached == ALERTS + COPIES
    (kept,) = ask(tmp_path, "SELECT counts->'catalogs'->>'$.*.calls' FROM runs")
    assert kept == ([str(calls)],)


FAULTS = [
    Fault("500"),
    Fault("502"),
    Fault("503"),
    Fault("504"),
    Fault("html_in_200"),
    Fault("other_columns"),
    Fault("other_columns_empty"),
    Fault("missing_column"),
    Fault("cut"),
    Fault("cut_at_line"),
    Fault("cut_chunked"),
    Fault("cut_unlengthed"),
    Fault("slow", secs=20),
    Fault("dripping_body", secs=0.1),
    Fault("dripping_headers", secs=0.1),
    Fault("hanging"),
    Fault("closed"),
    Fault("truncated", rows=3),
    Fault("outside_radius"),
    Fault("foreign_index"),
    Fault("shifted_index"),
    Fault("empty"),
]


def test_whatever_fails_costs_no_alert_and_is_made_good(
    archive: Path,
    catalogs: dict[str, ServedCatalog],
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same catalog under as many names as there are faults, each name failing in its own way, and once in none."""
    names = {fault.kind: f"X/2/{fault.kind}" for fault in FAULTS} | {"none": "X/2/none"}
    monkeypatch.setattr(gate, "FIRST_PAUSE_SECS", 0.1)
    for name in names.values():
        monkeypatch.setitem(KNOWN, f"vizier:{name}", KNOWN[ALLWISE])
    with CatalogServer(dict.fromkeys(names.values(), catalogs["II/328/allwise"])) as server:
        given = flags(server, *(f"vizier:{name}" for name in names.values()), deadline_secs=2.5)
        server.fail(*(replace(fault, only=names[fault.kind]) for fault in FAULTS))
        assert run(tmp_path, archive, flags=given) == 0
        assert rows(tmp_path, "ztf_alerts").equals(rows(undisturbed, "ztf_alerts"))
        found = ask(
            tmp_path, "SELECT catalog, status, count(*) FROM crossmatches_unique WHERE status <> 'no_match' GROUP BY 1, 2"
        )
        expected = {(f"vizier:{names[fault.kind]}", "failed", ALERTS) for fault in FAULTS}
        assert set(found) - expected == {("vizier:X/2/none", "matched", states(undisturbed)["matched"])}
        assert expected <= set(found)
        bare = "SELECT catalog, error FROM crossmatches WHERE status = 'failed' AND (length(error) < 20 OR len(matches) > 0)"
        assert ask(tmp_path, bare) == []
        assert ask(tmp_path, "SELECT count(*) FROM crossmatches WHERE (error IS NULL) = (status = 'failed')") == [(0,)]
        assert server.most_in_flight <= 2
        server.heal()
        assert rematch.run(["--warehouse", str(tmp_path), "--crossmatch_url", server.url]) == 0
        assert server.most_in_flight <= 2
        mended = "SELECT * EXCLUDE (asked_at, catalog) FROM crossmatches_unique {} ORDER BY ALL"
        for name in names.values():
            assert ask(tmp_path, mended.format(f"WHERE catalog = 'vizier:{name}'")) == ask(undisturbed, mended.format(""))
        calls = len(server.calls)
        assert rematch.run(["--warehouse", str(tmp_path), *given]) == 0
        assert len(server.calls) == calls


def test_after_a_ban_nobody_calls(archive: Path, server: CatalogServer, undisturbed: Path, tmp_path: Path) -> None:
    given = flags(server, ALLWISE, f"vizier:{SIM}")
    server.fail(Fault("403"))
    assert run(tmp_path, archive, flags=given) == 0
    assert rows(tmp_path, "ztf_alerts").equals(rows(undisturbed, "ztf_alerts"))
    assert states(tmp_path) == {"failed": 2 * ALERTS}
    # Two may have been under way when the first came back; of the other catalog nobody asked any more.
    assert 1 <= len(server.calls) <= 2
    assert {call.catalog for call in server.calls} == {"II/328/allwise"}
    server.heal()
    assert rematch.run(["--warehouse", str(tmp_path), *flags(server, ALLWISE)]) == 0
    assert ask(tmp_path, UNIQUE.replace("ORDER", f"WHERE catalog = '{ALLWISE}' ORDER")) == ask(undisturbed, UNIQUE)


def test_a_failure_now_and_then_is_tried_again(archive: Path, server: CatalogServer, undisturbed: Path, tmp_path: Path) -> None:
    server.fail(Fault("503", times=1))
    assert run(tmp_path, archive, flags=flags(server, ALLWISE)) == 0
    assert states(tmp_path) == states(undisturbed)


def test_a_catalog_in_a_file_gives_what_the_service_gives(night: Path, archive: Path, undisturbed: Path, tmp_path: Path) -> None:
    assert run(tmp_path, archive, flags=("--crossmatch", f"file:{night / 'catalog.parquet'}")) == 0
    compared = (
        "SELECT alert_id, status, list_transform(matches, m -> (m.source_id, round(m.separation_arcsec, 5))) "
        "FROM crossmatches_unique ORDER BY ALL"
    )
    assert ask(tmp_path, compared) == ask(undisturbed, compared)


def test_a_new_catalog_is_asked_about_an_old_night(
    night: Path, archive: Path, server: CatalogServer, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, archive) == 0
    other_night = ("--night", "2001-01-01..2001-02-01")
    assert rematch.run(["--warehouse", str(tmp_path), *other_night, *flags(server, ALLWISE)]) == 0
    assert "nothing to ask" in capsys.readouterr().out
    assert rematch.run(["--warehouse", str(tmp_path), *flags(server, ALLWISE)]) == 0
    assert ask(tmp_path, UNIQUE) == ask(undisturbed, UNIQUE)
    # Another radius is another question.
    wider = ALLWISE + "?radius_arcsec=60"
    assert rematch.run(["--warehouse", str(tmp_path), *flags(server, wider)]) == 0
    assert ask(tmp_path, "SELECT DISTINCT radius_arcsec FROM crossmatches_unique") == [(60.0,)]
    assert ask(tmp_path, "SELECT count(*) FROM crossmatches") == [(2 * ALERTS,)]


def test_the_cache_changes_nothing(archive: Path, server: CatalogServer, undisturbed: Path, tmp_path: Path) -> None:
    assert run(tmp_path, archive, flags=flags(server, ALLWISE, more=("--crossmatch_cache_arcsec", "0"))) == 0
    assert ask(tmp_path, UNIQUE) == ask(undisturbed, UNIQUE)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("--crossmatch", "2mass"), "names no catalog"),
        (("--crossmatch", "file:nowhere.parquet"), "nowhere.parquet"),
        (("--crossmatch", "simbad", "--crossmatch", "simbad?radius_arcsec=1"), "given twice"),
        (("--crossmatch", "simbad", "--radius_arcsec", "181"), "at most 180"),
        (("--crossmatch", "simbad?radius_arcsec=178", "--crossmatch_epoch", "observed"), "it may be 175"),
        (("--crossmatch", "simbad", "--crossmatch_concurrency", "0"), "1 to 16"),
        (("--crossmatch", "simbad", "--max_wait_secs", "0"), "above 0"),
        (("--crossmatch", "simbad", "--crossmatch_url", "localhost"), "http"),
        (("--crossmatch", "simbad", "--crossmatch_url", "http://"), "http"),
        (("--crossmatch", "simbad", "--crossmatch_url", "http://[::1"), "is no http:// or https:// address"),
        (("--crossmatch", "simbad", "--crossmatch_deadline_secs", "inf"), "at most 3600"),
        (("--crossmatch", "simbad", "--max_wait_secs", "nan"), "at most 3600"),
        (("--crossmatch", "simbad", "--crossmatch_cache_arcsec", "nan"), "0 to 180"),
        (("--crossmatch", "simbad", "--crossmatch_concurrency", "100000"), "1 to 16"),
        (("--crossmatch", "vizier:II/246/out?canary=1"), "canary"),
        (("--crossmatch", "vizier:II/246/out?epoch=soon"), "epoch"),
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    archive: Path, tmp_path: Path, given: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "w", archive, flags=given) == status.WRONG_OPTIONS
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not list((tmp_path / "w").rglob("*.parquet"))


def test_a_rematch_asks_as_it_was_asked(
    night: Path, archive: Path, server: CatalogServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Canary, ids and epoch are not in the table; the run that failed knows them."""
    star = pq.read_table(night / "catalog.parquet").slice(3, 1).to_pylist()[0]
    named = f"vizier:{SIM}?ra=ra_deg&dec=dec_deg&id=source_id&canary={star['ra_deg']!r},{star['dec_deg']!r}"
    given = flags(server, named, more=("--crossmatch_epoch", "observed"))
    server.fail(Fault("empty"))
    assert run(tmp_path, archive, flags=given) == 0
    service = ("--warehouse", str(tmp_path), "--crossmatch_url", server.url)
    assert rematch.run(service) == 0
    assert states(tmp_path) == {"failed": ALERTS}
    server.heal()
    assert rematch.run(service) == 0
    assert ask(tmp_path, "SELECT count(*) FROM crossmatches_unique WHERE len(matches) > 0 AND matches[1].source_id IS NULL") == [
        (0,)
    ]
    assert set(states(tmp_path)) == {"matched", "no_match"}
    assert ask(tmp_path, "SELECT DISTINCT options->>'crossmatch_epoch' FROM runs") == [("observed",)]
    # Who does not know how it was asked is not allowed to guess.
    shutil.rmtree(tmp_path / "runs")
    by_hand(tmp_path)
    server.fail(Fault("502"))
    again = ("--warehouse", str(tmp_path), *given, "--again")
    assert rematch.run(again) == 0
    shutil.rmtree(tmp_path / "runs")
    by_hand(tmp_path)
    capsys.readouterr()
    assert rematch.run(service) == status.WRONG_OPTIONS
    assert "no run says how it was asked" in capsys.readouterr().err


def test_a_rematch_asks_each_catalog_at_its_own_epoch(night: Path, archive: Path, server: CatalogServer, tmp_path: Path) -> None:
    """One failed in a run that asked at the observed epoch, the other in one that did not, whichever comes first."""
    catalogs = {ALLWISE: "observed", f"vizier:{SIM}": "catalog"}
    parameters = "?ra=ra_deg&dec=dec_deg&id=source_id"
    for order in (list(catalogs), list(catalogs)[::-1]):
        place = tmp_path / order[0].replace("/", "_")
        server.fail(Fault("502"))
        for name in order:
            named = name + parameters * (name != ALLWISE)
            more = ("--crossmatch_epoch", catalogs[name], "--max_alerts", "30")
            assert run(place, archive, flags=flags(server, named, more=more)) == 0
        server.heal()
        first = ask(place, "SELECT max(started_at) FROM runs")[0][0]
        assert rematch.run(["--warehouse", str(place), "--crossmatch_url", server.url]) == 0
        asked = ask(
            place, f"SELECT options->>'$.crossmatch[0]', options->>'crossmatch_epoch' FROM runs WHERE started_at > '{first}'"
        )
        assert {name.partition("?")[0]: epoch for name, epoch in asked} == catalogs
        assert "failed" not in states(place)


def test_what_failed_while_the_clock_was_ahead_is_asked_again_and_answered(
    archive: Path, server: CatalogServer, undisturbed: Path, tmp_path: Path
) -> None:
    """The newest row of an alert counts, and the answer must be that one."""
    server.fail(Fault("502"))
    with time_machine.travel(datetime.now(timezone.utc) + timedelta(hours=5)):
        assert run(tmp_path, archive, flags=flags(server, ALLWISE)) == 0
    assert states(tmp_path) == {"failed": ALERTS}
    server.heal()
    assert rematch.run(["--warehouse", str(tmp_path), "--crossmatch_url", server.url]) == 0
    assert ask(tmp_path, UNIQUE) == ask(undisturbed, UNIQUE)


def test_several_radii_that_failed_are_asked_each(archive: Path, server: CatalogServer, tmp_path: Path) -> None:
    lsst = simulated(tmp_path / "lsst", "--survey", "lsst", "--alerts", "30", "--seed", "3")
    warehouse = tmp_path / "w"
    server.fail(Fault("502"))
    assert run(warehouse, archive, flags=flags(server, ALLWISE)) == 0
    assert run(warehouse, lsst, flags=flags(server, f"{ALLWISE}?radius_arcsec=2")) == 0
    server.heal()
    radii = "SELECT survey, radius_arcsec, count(*) FROM crossmatches_unique WHERE status {} 'failed' GROUP BY 1, 2 ORDER BY 1"
    assert rematch.run(["--warehouse", str(warehouse), "--crossmatch_url", server.url, "--survey", "lsst"]) == 0
    assert ask(warehouse, radii.format("=")) == [("ztf", 5.0, ALERTS)]
    server.fail(Fault("502"))
    assert run(warehouse, lsst, flags=flags(server, f"{ALLWISE}?radius_arcsec=2")) == 0
    server.heal()
    assert rematch.run(["--warehouse", str(warehouse), "--crossmatch_url", server.url]) == 0
    assert ask(warehouse, radii.format("=")) == []
    assert ask(warehouse, radii.format("<>")) == [("lsst", 2.0, 30), ("ztf", 5.0, ALERTS)]


def test_a_catalog_file_with_bad_rows_costs_answers_not_the_run(
    archive: Path, server: CatalogServer, undisturbed: Path, tmp_path: Path
) -> None:
    good = "\n".join(f"{number},{number % 360}.5,{number % 90}.5" for number in range(200_000))
    (tmp_path / "bad.csv").write_text(f"id,ra,dec\n{good}\n1,2\n")
    assert run(tmp_path / "w", archive, flags=flags(server, ALLWISE, f"file:{tmp_path}/bad.csv")) == 0
    found = dict(ask(tmp_path / "w", "SELECT catalog, count(*) FROM crossmatches_unique WHERE status = 'failed' GROUP BY 1"))
    assert found == {f"file:{tmp_path}/bad.csv": ALERTS}
    assert ask(tmp_path / "w", UNIQUE.replace("ORDER", f"WHERE catalog = '{ALLWISE}' ORDER")) == ask(undisturbed, UNIQUE)


def test_a_file_is_the_same_catalog_from_every_folder(
    night: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(night)
    assert run(tmp_path, archive, flags=("--crossmatch", "file:catalog.parquet")) == 0
    assert ask(tmp_path, "SELECT DISTINCT catalog FROM crossmatches") == [(f"file:{night}/catalog.parquet",)]


@pytest.mark.parametrize("workers", ["2"])
def test_a_ban_stops_the_other_processes_too(archive: Path, server: CatalogServer, tmp_path: Path, workers: str) -> None:
    server.fail(Fault("403"))
    more = ("--direct_num_workers", workers, "--crossmatch_concurrency", "4")
    assert run(tmp_path, archive, flags=flags(server, ALLWISE, f"vizier:{SIM}", more=more)) == 0
    assert states(tmp_path) == {"failed": 2 * ALERTS}
    assert 1 <= len(server.calls) <= 4
    first_refused = min(call.ended_secs for call in server.calls)
    # Those under way may end; what begins after the first refusal has had time to see the mark.
    assert [call for call in server.calls if call.begun_secs > first_refused + 0.5] == []


@pytest.mark.parametrize("warehouse", ["nowhere", "s3://bucket/folder"])
def test_a_rematch_of_nothing_is_refused(tmp_path: Path, warehouse: str, capsys: pytest.CaptureFixture[str]) -> None:
    place = warehouse if "://" in warehouse else str(tmp_path / warehouse)
    assert rematch.run(["--warehouse", place]) == status.WRONG_OPTIONS
    assert place in capsys.readouterr().err
    assert not (tmp_path / warehouse).exists()


@pytest.mark.parametrize("night_flag", ["yesterday", "2026-11-02..2026-11-01", "2026-01-01..2026-01-02..2026-01-03"])
def test_a_rematch_says_what_a_night_is(undisturbed: Path, night_flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert rematch.run(["--warehouse", str(undisturbed), "--night", night_flag]) == status.WRONG_OPTIONS
    assert "2026-11-01..2026-11-23" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--again",), "--again is given without --crossmatch or --watchlist; say which catalogs to ask again"),
        (
            ("--runner", "SparkRunner", "--spark_master_url", "spark://a:7077"),
            "a rematch runs on this machine, which reads the warehouse; leave it out",
        ),
    ],
)
def test_a_rematch_says_what_it_lacks(
    undisturbed: Path, words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rematch.run(["--warehouse", str(undisturbed), *words]) == status.WRONG_OPTIONS
    assert says in capsys.readouterr().err


def test_flags_of_one_command_are_unknown_to_another(archive: Path, tmp_path: Path) -> None:
    assert run(tmp_path, archive, flags=("--night", "2026-11-01")) == status.WRONG_OPTIONS


def test_a_catalog_that_nobody_has_listed(
    night: Path, archive: Path, server: CatalogServer, undisturbed: Path, tmp_path: Path
) -> None:
    star = pq.read_table(night / "catalog.parquet").slice(3, 1).to_pylist()[0]
    named = f"vizier:{SIM}?ra=ra_deg&dec=dec_deg&id=source_id&canary={star['ra_deg']!r},{star['dec_deg']!r}"
    assert run(tmp_path, archive, flags=flags(server, named)) == 0
    compared = "SELECT alert_id, status, list_transform(matches, m -> m.source_id) FROM crossmatches_unique ORDER BY ALL"
    assert ask(tmp_path, compared) == ask(undisturbed, compared)
    assert ask(tmp_path, "SELECT DISTINCT json_keys(matches[1].columns::JSON) FROM crossmatches WHERE status = 'matched'") == [
        (["source_id", "ra_deg", "dec_deg", "mag"],)
    ]
    # Without a word about its columns: separations are the service's own, ids and places are not known.
    assert run(tmp_path / "bare", archive, flags=flags(server, f"vizier:{SIM}")) == 0
    bare = "SELECT alert_id, status, len(matches) FROM crossmatches_unique ORDER BY ALL"
    assert ask(tmp_path / "bare", bare) == ask(undisturbed, bare)
    assert ask(tmp_path / "bare", "SELECT count(*) FROM crossmatches WHERE matches[1].source_id IS NOT NULL") == [(0,)]


def test_states_of_several_catalogs_do_not_mix(night: Path, archive: Path, server: CatalogServer, tmp_path: Path) -> None:
    assert run(tmp_path, archive, flags=flags(server, ALLWISE, "vizier:X/1/none", f"file:{night / 'catalog.parquet'}")) == 0
    found = Counter()
    for catalog, state, number in ask(tmp_path, "SELECT catalog, status, count(*) FROM crossmatches_unique GROUP BY 1, 2"):
        found[catalog.split(":")[0] + catalog[-4:], state] = number
    assert found["vizierwise", "matched"] == found["filequet", "matched"] > 0
    assert found["viziernone", "failed"] == ALERTS
