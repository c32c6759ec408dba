"""Filters in a run: what they say is in the tables, counted, part of the account and of the audit; none disturbs another."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import shutil
from pathlib import Path

import pytest

from alerts.avro.layout import EVERYTHING
from broker import audit
from pipelines.filters import ReadAgain, filters_of
from pipelines.options import BrokerOptions, parse
from simulation.catalog_server import CatalogServer
from tests.nights import ask, run, simulated
from warehouses.folder.compact import compact
from warehouses.folder.views import Views

ALERTS, COPIES = 90, 6
NEAR = (
    "SELECT (SELECT COUNT(*) FROM UNNEST(matches) AS m) AS catalogs FROM alerts WHERE EXISTS "
    "(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE m.catalog = '{}' AND s.separation_arcsec < 3)"
)
BRIGHT = "SELECT alert_id, ra_deg AS ra, observed_at FROM alerts WHERE candidate.magpsf < 19.20 AND candidate.isdiffpos"
FADING = "SELECT features.r.slope_mag_per_day AS fade FROM alerts WHERE features.r.slope_mag_per_day > 0.05"
RAISES = """
def passes(alerts):
    if any(number % 10 == 3 for number in digits(alerts)):
        raise ValueError("it ends with 3")
    return [number % 2 == 0 for number in digits(alerts)]

def digits(alerts):
    return [int(digest.hex(), 16) for digest in alerts.column("packet_digest").to_pylist()]
"""
WAITS = """
import time

def passes(alerts):
    time.sleep(3600)
"""
COMPUTES = """
def passes(alerts):
    while True:
        pass
"""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags = ("--alerts", str(ALERTS), "--duplicates", str(COPIES), "--damaged", "3", "--seed", "7")
    return simulated(tmp_path_factory.mktemp("night"), *flags)


def folder(place: Path, surveys: str = "ztf", **texts: str) -> Path:
    """A folder of filters by their names; those that begin with ``def`` or ``import`` are Python."""
    place.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        if "def passes" in text:
            (place / f"{name}.py").write_text(f"# surveys: {surveys}\n{text}")
        else:
            (place / f"{name}.sql").write_text(f"-- surveys: {surveys}\n{text}\n")
    return place


def audited(night: Path, warehouse: Path) -> dict:
    """What ``broker audit`` reports."""
    parser = argparse.ArgumentParser()
    audit.add_arguments(parser)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        words = ["--input", str(night), "--warehouse", str(warehouse), "--no_cutouts", "--format", "json"]
        audit.main(parser.parse_args(words))
    return json.loads(said.getvalue())


@pytest.fixture(scope="module")
def judged(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The warehouse of a run with two filters and one that fails on some alerts."""
    place = tmp_path_factory.mktemp("judged")
    filters = folder(place / "filters", bright=BRIGHT, fading=FADING, raises=RAISES)
    assert run(place / "w", night, flags=("--filters", str(filters), "--no_cutouts")) == 0
    return place / "w"


def verdicts(warehouse: Path, name: str, status: str = "passed") -> list[tuple]:
    return ask(
        warehouse, f"SELECT alert_id, packet_digest FROM verdicts WHERE filter = '{name}' AND status = '{status}' ORDER BY ALL"
    )


def counts(warehouse: Path, name: str) -> tuple:
    """Seen, passed, failed, rejected, rejected by NULL."""
    sums = ", ".join(f"SUM({each})::BIGINT" for each in ("seen", "passed", "failed", "rejected", "rejected_by_null"))
    (found,) = ask(warehouse, f"SELECT {sums} FROM filter_counts WHERE filter = '{name}'")
    return found


def test_verdicts_are_what_the_condition_says_of_the_rows(judged: Path):
    bright = "FROM ztf_alerts WHERE candidate.magpsf < 19.20 AND candidate.isdiffpos IN ('t', '1')"
    assert verdicts(judged, "bright") == ask(judged, f"SELECT alert_id, packet_digest {bright} ORDER BY ALL")
    fading = "FROM ztf_features WHERE features.r.slope_mag_per_day > 0.05"
    assert verdicts(judged, "fading") == ask(judged, f"SELECT alert_id, packet_digest {fading} ORDER BY ALL")
    assert 0 < len(verdicts(judged, "bright")) < ALERTS
    assert 0 < len(verdicts(judged, "fading")) < ALERTS


def test_columns_go_along_in_json_that_loses_nothing(judged: Path):
    told = ask(
        judged,
        "SELECT v.columns, a.alert_id, a.ra_deg, strftime(a.observed_at, '%Y-%m-%dT%H:%M:%S') FROM verdicts AS v "
        "JOIN ztf_alerts AS a USING (alert_id, packet_digest) WHERE v.filter = 'bright'",
    )
    assert told
    for columns, alert_id, ra_deg, observed_at in told:
        found = json.loads(columns)
        assert (found["alert_id"], found["ra"]) == (str(alert_id), ra_deg)
        assert found["observed_at"].startswith(observed_at)


def test_an_alert_that_a_filter_fails_on_has_failed_and_no_other(judged: Path):
    digests = ask(judged, "SELECT alert_id, packet_digest FROM ztf_alerts ORDER BY ALL")
    number = {digest: int(bytes(digest).hex(), 16) for _, digest in digests}
    failing = [row for row in digests if number[row[1]] % 10 == 3]
    assert failing
    assert verdicts(judged, "raises", "failed") == failing
    assert verdicts(judged, "raises") == [row for row in digests if number[row[1]] % 2 == 0 and number[row[1]] % 10 != 3]
    assert ask(judged, "SELECT DISTINCT error FROM verdicts WHERE status = 'failed'") == [("ValueError: it ends with 3",)]


@pytest.mark.parametrize("name", ["bright", "fading", "raises"])
def test_what_was_seen_is_what_has_passed_failed_and_was_rejected(judged: Path, name: str):
    seen, passed, failed, rejected, by_null = counts(judged, name)
    assert seen == ALERTS + COPIES == passed + failed + rejected
    assert (passed, failed) == (len(verdicts(judged, name)), len(verdicts(judged, name, "failed")))
    unknown = {
        "bright": "SELECT COUNT(*) FROM ztf_alerts WHERE (candidate.magpsf < 19.20) IS NOT FALSE AND candidate.isdiffpos IS NULL",
        "fading": "SELECT COUNT(*) FROM ztf_features WHERE features.r.slope_mag_per_day IS NULL",
        "raises": "SELECT 0",
    }
    assert by_null == ask(judged, unknown[name])[0][0]


def test_the_account_tells_of_filters_and_is_kept(judged: Path):
    (told,) = ask(judged, "SELECT counts FROM runs")[0]
    by_name = {each["filter"]: each for each in json.loads(told)["filters"]}
    assert set(by_name) == {"bright", "fading", "raises"}
    for name, each in by_name.items():
        assert tuple(each[key] for key in ("seen", "passed", "failed", "rejected", "rejected_by_null")) == counts(judged, name)
        assert each["verdicts"] == each["passed"] + each["failed"]
        assert each["not_asked"] == 0


@pytest.mark.parametrize(("text", "told"), [(WAITS, "longer than"), (COMPUTES, "longer than")], ids=["waits", "computes"])
@pytest.mark.timeout(120)
def test_a_filter_that_takes_too_long_is_put_aside_at_no_cost_to_the_others(night: Path, tmp_path: Path, text: str, told: str):
    filters = folder(tmp_path / "filters", bright=BRIGHT, endless=text)
    flags = ("--filters", str(filters), "--no_cutouts", "--alerts_per_write", "20", "--direct_num_workers", "1")
    assert run(tmp_path / "w", night, flags=flags) == 0
    seen, passed, failed, rejected, _ = counts(tmp_path / "w", "endless")
    assert (seen, passed, rejected) == (failed, 0, 0)
    assert 0 < failed < ALERTS
    ((error,),) = ask(tmp_path / "w", "SELECT DISTINCT error FROM verdicts WHERE filter = 'endless'")
    assert told in error
    assert counts(tmp_path / "w", "bright")[0] == ALERTS + COPIES
    report = audited(night, tmp_path / "w")
    assert [fault["filter"] for fault in report["faults"]["not_judged"]] == ["endless"]
    assert report["faults"]["wrong_verdicts"] == []
    (kept,) = ask(tmp_path / "w", "SELECT counts FROM runs")[0]
    by_name = {each["filter"]: each for each in json.loads(kept)["filters"]}
    assert by_name["endless"]["not_asked"] == ALERTS + COPIES - failed
    assert by_name["bright"]["not_asked"] == 0


CHANGES = """
import numpy as np

def passes(alerts):
    ids = np.frombuffer(alerts.column("alert_id").buffers()[1], dtype="i8")
    ids[:] = 7
    return [True] * alerts.num_rows
"""
LEAVES = """
import sys

def passes(alerts):
    sys.exit(0)
"""
ODD_ERROR = """
class Odd(Exception):
    def __str__(self):
        raise ValueError("no")

def passes(alerts):
    raise Odd
"""


@pytest.mark.parametrize("text", [CHANGES, LEAVES, ODD_ERROR], ids=["writes to its input", "leaves", "an error without words"])
def test_whatever_a_filter_in_python_does_is_its_own_affair(judged: Path, night: Path, tmp_path: Path, text: str):
    filters = folder(tmp_path / "filters", bright=BRIGHT, bad=text)
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts")) == 0
    ids = "SELECT alert_id FROM ztf_alerts ORDER BY 1"
    assert ask(tmp_path / "w", ids) == ask(judged, ids)
    assert verdicts(tmp_path / "w", "bright") == verdicts(judged, "bright")
    assert counts(tmp_path / "w", "bad") == (ALERTS + COPIES, 0, ALERTS + COPIES, 0, 0)


SEES = """
def passes(alerts):
    names = alerts.schema.names
    return ["science" not in names and "features" in names] * alerts.num_rows
"""


def test_a_filter_in_python_sees_the_columns_of_the_table_and_no_stamps(night: Path, tmp_path: Path):
    assert run(tmp_path / "w", night, flags=("--filters", str(folder(tmp_path / "filters", sees=SEES)))) == 0
    assert counts(tmp_path / "w", "sees")[1] == ALERTS + COPIES


def test_what_editors_and_file_systems_leave_is_no_filter(night: Path, tmp_path: Path):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    (filters / "bright.sql").write_bytes(b"\xef\xbb\xbf" + (filters / "bright.sql").read_bytes())
    (filters / "._bright.sql").write_bytes(b"\x00\x05\x16\x07")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", "--max_alerts", "5")) == 0
    assert ask(tmp_path / "w", "SELECT DISTINCT filter FROM filter_counts") == [("bright",)]


def test_verdicts_are_those_of_a_run_without_the_filter_that_fails(judged: Path, night: Path, tmp_path: Path):
    filters = folder(tmp_path / "filters", bright=BRIGHT)
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts")) == 0
    assert verdicts(tmp_path / "w", "bright") == verdicts(judged, "bright")


def test_a_run_again_replaces_the_alerts_and_keeps_what_was_said(night: Path, tmp_path: Path):
    first, second = folder(tmp_path / "f1", bright=BRIGHT), folder(tmp_path / "f2", bright=BRIGHT, fading=FADING)
    for filters in (first, second):
        assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts")) == 0
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM ztf_alerts") == [(ALERTS + COPIES,)]
    unique = "SELECT filter, COUNT(*) FROM verdicts_unique GROUP BY 1 ORDER BY 1"
    each = "SELECT filter, COUNT(DISTINCT (alert_id, packet_digest)) FROM verdicts GROUP BY 1 ORDER BY 1"
    assert ask(tmp_path / "w", unique) == ask(tmp_path / "w", each)
    shown = ask(tmp_path / "w", "SELECT filter, SUM(seen)::BIGINT FROM filter_counts_unique GROUP BY 1 ORDER BY 1")
    assert shown == [("bright", ALERTS + COPIES), ("fading", ALERTS + COPIES)]


def test_a_change_of_filters_is_a_row_of_their_history(night: Path, tmp_path: Path):
    flags = ("--no_cutouts", "--max_alerts", "5")
    for texts in ({"bright": BRIGHT}, {"bright": BRIGHT}, {"bright": BRIGHT.replace("19.20", "19.10")}, {"fading": FADING}):
        filters = tmp_path / "filters"
        for old in filters.glob("*.sql"):
            old.unlink()
        folder(filters, **texts)
        assert run(tmp_path / "w", night, flags=("--filters", str(filters), *flags)) == 0
    history = ask(tmp_path / "w", "SELECT filter, valid_from, valid_until, text, who FROM filter_history_unique ORDER BY 2")
    assert [(row[0], row[2] is None) for row in history] == [("bright", False), ("bright", False), ("fading", True)]
    (_, begun, ended, text, who), (_, again, _, _, _), _ = history
    assert begun < ended == again
    assert text == f"-- surveys: ztf\n{BRIGHT}\n"
    assert who
    assert len(ask(tmp_path / "w", "SELECT * FROM filter_history")) == 5


@pytest.mark.parametrize(
    ("texts", "flags", "told"),
    [
        ({}, (), "holds no filter"),
        ({"bright": "SELECT alert_id FROM alerts WHERE candidate.magpfs < 18"}, (), "bright.sql:2:"),
        ({"bright": "SELECT alert_id FROM alerts WHERE candidate.magpsf < candidate.magpsf"}, (), "was another one meant?"),
        ({"fading": FADING}, ("--no_features",), "fading asks for features"),
        ({"many": "SELECT alert_id FROM alerts WHERE ARRAY_LENGTH(prv_candidates) > 3"}, ("--no_history",), "prv_candidates"),
        ({"near": "SELECT alert_id FROM alerts WHERE ARRAY_LENGTH(matches) > 3"}, (), "near asks for matches, and no catalog"),
        ({"near": NEAR.format("simbad")}, ("--crossmatch", "vizier:II/246/out"), "near asks for simbad, which is not asked"),
        ({"odd": "import sys\nsys.exit(0)\ndef passes(alerts): pass"}, (), "odd.py cannot be read: SystemExit: 0"),
        ({"odd": "def passes(alerts:"}, (), "odd.py cannot be read: SyntaxError"),
        ({"odd": "def passes_not(alerts): pass"}, (), "odd.py has no function passes"),
        ({"bright": BRIGHT}, ("--max_filter_us", "0"), "--max_filter_us is 0"),
    ],
)
def test_what_cannot_be_asked_is_told_before_anything_starts(
    night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], texts: dict[str, str], flags: tuple[str, ...], told: str
):
    filters = folder(tmp_path / "filters", **texts)
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), *flags)) == 2
    assert told in capfd.readouterr().err
    assert not (tmp_path / "w").exists()


def test_a_filter_that_does_not_hold_its_own_packets_is_not_run(night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    filters = folder(
        tmp_path / "filters", faint="SELECT alert_id FROM alerts WHERE candidate.magpsf > 25 AND candidate.isdiffpos"
    )
    (filters / "faint" / "passes").mkdir(parents=True)
    shutil.copy(next(night.glob("*.tar.gz")), filters / "faint" / "passes")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters))) == 2
    said = capfd.readouterr().err
    assert "faint/passes" in said
    assert "candidate.magpsf > 25" in said


def test_filters_of_another_survey_are_not_asked(night: Path, tmp_path: Path):
    filters = folder(tmp_path / "filters", "lsst", south="SELECT alert_id FROM alerts WHERE dec_deg < 0")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts")) == 0
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM filter_counts") == [(0,)]


def test_between_rounds_a_folder_that_cannot_be_read_changes_nothing(tmp_path: Path):
    place = folder(tmp_path / "filters", bright=BRIGHT)
    options = parse(["--filters", str(place), "--input", "x"]).view_as(BrokerOptions)
    again = ReadAgain(options, filters_of(options, EVERYTHING, features=True), EVERYTHING, features=True)
    before = again()
    assert before is not None
    folder(place, bright="SELECT alert_id FROM alerts WHERE no_such_thing > 3")
    assert again() == before
    folder(place, bright=BRIGHT.replace("19.20", "19.10"))
    after = again()
    assert after is not None
    assert after.versions != before.versions
    for file in place.glob("*.sql"):
        file.unlink()
    assert again() == after


def test_small_files_of_what_filters_said_are_put_together_and_nothing_is_lost(night: Path, tmp_path: Path):
    for number in range(3):
        filters = folder(tmp_path / "filters", bright=BRIGHT.replace("19.20", f"19.{number}0"))
        assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", "--max_alerts", "40")) == 0
    tables = ("verdicts", "filter_counts", "filter_history")
    before = {table: ask(tmp_path / "w", f"SELECT * FROM {table} ORDER BY ALL") for table in tables}
    assert all(before.values())
    compact(str(tmp_path / "w"))
    for table in tables:
        assert Views.newest(str(tmp_path / "w")).manifest.of(table).num_rows == 1
        assert ask(tmp_path / "w", f"SELECT * FROM {table} ORDER BY ALL") == before[table]


def test_what_catalogs_have_answered_is_asked_behind_the_run_and_never_holds_the_others_up(night: Path, tmp_path: Path):
    catalog = f"file:{night / 'catalog.parquet'}"
    filters = folder(tmp_path / "filters", bright=BRIGHT, near=NEAR.format(catalog))
    flags = ("--filters", str(filters), "--no_cutouts", "--crossmatch", f"{catalog}?ra=ra_deg&dec=dec_deg")
    assert run(tmp_path / "w", night, flags=flags) == 0
    near = "FROM crossmatches_unique WHERE list_min([s.separation_arcsec for s in matches]) < 3"
    passed = ask(tmp_path / "w", f"SELECT alert_id {near} ORDER BY 1")
    assert [row[:1] for row in verdicts(tmp_path / "w", "near")] == passed
    assert 0 < len(passed) < ALERTS
    assert counts(tmp_path / "w", "near")[:4] == (ALERTS, len(passed), 0, ALERTS - len(passed))
    assert counts(tmp_path / "w", "bright")[0] == ALERTS + COPIES
    newest = ask(tmp_path / "w", f"SELECT alert_id, asked_at {near} ORDER BY 1")
    assert ask(tmp_path / "w", "SELECT alert_id, matched_at FROM verdicts WHERE filter = 'near' ORDER BY 1") == newest
    runs = ask(tmp_path / "w", "SELECT run_id, status FROM runs ORDER BY run_id")
    assert [status for _, status in runs] == ["done", "done"]
    assert runs[1][0] == f"{runs[0][0]}-behind"
    history = ask(tmp_path / "w", "SELECT filter FROM filter_history_unique WHERE valid_until IS NULL ORDER BY 1")
    assert history == [("bright",), ("near",)]


def test_of_what_a_catalog_has_not_answered_there_is_no_verdict_until_it_has(night: Path, tmp_path: Path):
    nothing_near = NEAR.format("simbad").replace("WHERE EXISTS", "WHERE NOT EXISTS")
    filters = folder(tmp_path / "filters", far=nothing_near)
    with CatalogServer({}) as service:
        flags = ("--filters", str(filters), "--no_cutouts", "--crossmatch", "simbad", "--crossmatch_url", service.url)
        assert run(tmp_path / "w", night, flags=flags) == 0
    assert counts(tmp_path / "w", "far") == (ALERTS, 0, ALERTS, 0, 0)
    assert ask(tmp_path / "w", "SELECT DISTINCT status, error FROM verdicts") == [("failed", "simbad has not answered")]
