"""Filters asked about what is in a warehouse: the same verdicts as when it came in, and nothing twice."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from broker import cli
from pipelines import refilter, rematch
from tests.nights import ask, run, simulated
from tests.pipelines.test_filters import BRIGHT, FADING, RAISES, audited, counts, folder, verdicts

ALERTS, COPIES = 60, 4
NEAR = (
    "SELECT (SELECT COUNT(*) FROM UNNEST(matches) AS m) AS catalogs FROM alerts "
    "WHERE EXISTS (SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE s.separation_arcsec < 3)"
)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--duplicates", str(COPIES), "--seed", "9")


def asked(warehouse: Path, filters: Path, *flags: str) -> int:
    return refilter.run(["--warehouse", str(warehouse), "--filters", str(filters), *flags])


@pytest.fixture(scope="module")
def place(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse without filters, and one that had them from the first; both were asked again."""
    made = tmp_path_factory.mktemp("place")
    filters = folder(made / "filters", bright=BRIGHT, fading=FADING, raises=RAISES)
    flags = ("--no_cutouts", "--crossmatch", f"file:{night / 'catalog.parquet'}?ra=ra_deg&dec=dec_deg")
    assert run(made / "plain", night, flags=flags) == 0
    assert asked(made / "plain", filters) == 0
    assert run(made / "with", night, flags=(*flags, "--filters", str(filters))) == 0
    return made


@pytest.mark.parametrize("name", ["bright", "fading", "raises"])
@pytest.mark.parametrize("status", ["passed", "failed"])
def test_verdicts_are_those_of_the_run_that_asked_when_they_came_in(place: Path, name: str, status: str):
    once = sorted(set(verdicts(place / "with", name, status)))
    assert verdicts(place / "plain", name, status) == once
    columns = "SELECT DISTINCT alert_id, columns FROM verdicts WHERE status = 'passed' AND filter = 'bright' ORDER BY ALL"
    assert ask(place / "plain", columns) == ask(place / "with", columns)
    # Each alert once, as the view shows them: copies are asked about when they come in, and not again.
    assert counts(place / "plain", name)[0] == ALERTS
    assert counts(place / "with", name)[0] == ALERTS + COPIES


def test_asked_again_it_asks_nothing_but_what_failed_or_came_since(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    assert run(tmp_path / "w", night, flags=("--no_cutouts", "--max_alerts", "30")) == 0
    ((alerts,),) = ask(tmp_path / "w", "SELECT COUNT(*) FROM ztf_alerts_unique")
    for told in (f"of {alerts} ztf alerts", "there is nothing to ask"):
        assert asked(tmp_path / "w", filters) == 0
        assert told in capsys.readouterr().out
    assert asked(tmp_path / "w", filters, "--again") == 0
    assert "there is nothing" not in capsys.readouterr().out
    folder(filters, raises=RAISES)
    for _ in range(2):
        assert asked(tmp_path / "w", filters) == 0
        assert "there is nothing" not in capsys.readouterr().out
    assert run(tmp_path / "w", night, flags=("--no_cutouts",)) == 0
    (filters / "raises.py").unlink()
    assert asked(tmp_path / "w", filters) == 0
    assert f"of {ALERTS} ztf alerts" in capsys.readouterr().out
    unique = "SELECT COUNT(*), COUNT(DISTINCT (alert_id, packet_digest, filter, filter_version)) FROM verdicts_unique"
    ((number, different),) = ask(tmp_path / "w", unique)
    assert number == different > 0


def test_a_filter_sees_what_catalogs_have_answered_and_says_of_when_that_is(place: Path, tmp_path: Path):
    filters = folder(tmp_path / "filters", near=NEAR)
    assert asked(place / "plain", filters) == 0
    near = "FROM crossmatches_unique WHERE list_min([s.separation_arcsec for s in matches]) < 3"
    assert [row[0] for row in verdicts(place / "plain", "near")] == [
        row[0] for row in ask(place / "plain", f"SELECT alert_id {near} ORDER BY 1")
    ]
    newest = ask(place / "plain", f"SELECT alert_id, asked_at {near} ORDER BY 1")
    assert ask(place / "plain", "SELECT alert_id, matched_at FROM verdicts WHERE filter = 'near' ORDER BY 1") == newest
    assert ask(place / "plain", "SELECT COUNT(matched_at) FROM verdicts WHERE filter <> 'near'") == [(0,)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--warehouse", "nowhere", "--filters", "f"), "holds no"),
        (("--warehouse", "nowhere"), "--filters is missing"),
        (("--filters", "f", "--input", "x"), "a refilter reads the warehouse"),
        (("--filters", "f", "--night", "2026-13-01"), "--night 2026-13-01 is no night"),
        (("--filters", "f", "--crossmatch", "simbad"), "--crossmatch does nothing in broker refilter"),
    ],
)
def test_what_cannot_be_asked_is_told(
    words: tuple[str, ...], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "f", bright=BRIGHT)
    assert cli.main(["refilter", *words]) == 2
    assert told in capsys.readouterr().err


def unique(warehouse: Path, name: str) -> list[tuple]:
    """What readers see of a filter: status, and how many."""
    return ask(warehouse, f"SELECT status, COUNT(*) FROM verdicts_unique WHERE filter = '{name}' GROUP BY 1 ORDER BY 1")


def test_what_is_rejected_now_does_not_stand_as_passed_or_failed(night: Path, tmp_path: Path):
    """Nobody had asked the catalog: the filter has failed on all. Then it is asked, and most are rejected."""
    catalog = f"file:{night / 'catalog.parquet'}?ra=ra_deg&dec=dec_deg"
    filters = folder(tmp_path / "filters", near=NEAR)
    assert run(tmp_path / "w", night, flags=("--no_cutouts",)) == 0
    assert asked(tmp_path / "w", filters) == 0
    assert unique(tmp_path / "w", "near") == [("failed", ALERTS)]
    assert rematch.run(["--warehouse", str(tmp_path / "w"), "--crossmatch", catalog]) == 0
    assert asked(tmp_path / "w", filters) == 0
    near = "FROM crossmatches_unique WHERE list_min([s.separation_arcsec for s in matches]) < 3"
    ((passed,),) = ask(tmp_path / "w", f"SELECT COUNT(*) {near}")
    assert 0 < passed < ALERTS
    assert unique(tmp_path / "w", "near") == [("passed", passed)]
    # Who was asked about the whole night stands for all before.
    shown = ask(tmp_path / "w", "SELECT SUM(seen)::BIGINT, SUM(failed)::BIGINT FROM filter_counts_unique")
    assert shown == [(ALERTS, 0)]
    assert audited(night, tmp_path / "w")["accounted_for"]


def test_alerts_that_came_since_are_asked_about_though_they_are_as_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    filters, place = folder(tmp_path / "filters", bright=BRIGHT), tmp_path / "in"
    place.mkdir()
    for seed in ("21", "22"):
        made = simulated(tmp_path / seed, "--alerts", "20", "--seed", seed)
        shutil.copy(next(made.glob("*.tar.gz")), place / "night.tar.gz")
        assert run(tmp_path / "w", place, flags=("--no_cutouts",)) == 0
        capsys.readouterr()
        assert asked(tmp_path / "w", filters) == 0
        assert "of 20 ztf alerts" in capsys.readouterr().out


SLOW = """
import os, time

def passes(alerts):
    time.sleep(30 if os.environ.get("SLOW") else 0)
    return [True] * alerts.num_rows
"""


def test_what_was_put_aside_and_made_up_for_is_no_fault_where_alerts_were_sent_twice(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    filters = folder(tmp_path / "filters", slow=SLOW)
    monkeypatch.setenv("SLOW", "1")
    flags = ("--filters", str(filters), "--no_cutouts", "--alerts_per_write", "15")
    assert run(tmp_path / "w", night, flags=flags) == 0
    assert audited(night, tmp_path / "w")["counts"]["faults"]["not_judged"] == 1
    monkeypatch.delenv("SLOW")
    assert asked(tmp_path / "w", filters) == 0
    assert unique(tmp_path / "w", "slow") == [("passed", ALERTS)]
    assert audited(night, tmp_path / "w")["accounted_for"]
