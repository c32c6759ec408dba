"""What goes wrong with filters elsewhere: each kind is found where it is, and not where it is not."""

from __future__ import annotations

import pytest

from alerts.filters.check import check
from alerts.filters.findings import Finding
from alerts.filters.parse import parse
from alerts.filters.row import NO_LISTS, Lists, row_of
from alerts.surveys import SURVEYS

POSITIVE = "candidate.isdiffpos AND "
AGED = "features.age_jdstarthist_days < 5 AND "


def findings(condition: str, survey: str = "ztf", lists: Lists = NO_LISTS) -> list[Finding]:
    facts = SURVEYS[survey]
    return check(parse(f"SELECT alert_id FROM alerts WHERE {condition}", row_of(facts, lists)), facts, lists)


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        # Never or always true.
        (POSITIVE + "candidate.magpsf < 18 AND candidate.magpsf > 19", "the condition is never true"),
        (POSITIVE + "candidate.magpsf BETWEEN 19 AND 18", "the condition is never true"),
        ("candidate.fid = 1 AND candidate.fid = 2", "the condition is never true"),
        ("18 <= candidate.jd AND candidate.jd < 18", "the condition is never true"),
        ("night > DATE '2026-11-02' AND night <= DATE '2026-11-02'", "the condition is never true"),
        ("object_id = 'a' AND object_id = 'b'", "the condition is never true"),
        ("EXISTS(SELECT 1 FROM UNNEST(fp_hists) AS f WHERE f.rcid > 3 AND f.rcid < 2)", "the condition is never true"),
        ("candidate.rcid > 3 OR candidate.rcid <= 5", "every alert with a candidate.rcid is"),
        ("candidate.rcid >= 3 OR candidate.rcid < 3", "every alert with a candidate.rcid is"),
        ("TRUE", "the condition asks for no field"),
        ("1 < 2 AND NOT FALSE", "the condition asks for no field"),
        # A column twice.
        ("candidate.drb > candidate.drb", "both sides of > are candidate.drb; was another one meant?"),
        ("features.g.mean_njy - features.g.mean_njy > 1", "both sides of - are features.g.mean_njy"),
        ("candidate.ra / candidate.ra > 5", "both sides of / are candidate.ra"),
        # Sentinels.
        ("candidate.ssdistnr = -999", "candidate.ssdistnr is NULL where the packet has -999"),
        ("candidate.ssdistnr IN (-999.0, 3)", "candidate.ssdistnr is NULL where the packet has -999.0"),
        ("candidate.ssnamenr != 'null'", "candidate.ssnamenr is NULL where the packet has 'null'"),
        ("EXISTS(SELECT 1 FROM UNNEST(fp_hists) AS f WHERE f.forcediffimflux > -99999)", "is NULL where the packet has -99999"),
        ("candidate.drb = NULL", "nothing is = NULL; write candidate.drb IS NULL"),
    ],
)
def test_what_cannot_be_right_is_an_error(condition: str, said: str) -> None:
    errors = [finding.message for finding in findings(condition) if finding.is_error]
    assert any(said in message for message in errors), errors


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ("candidate.fid = 1 AND candidate.drb > 0.5 AND candidate.fid = 1", "(candidate.fid = 1) stands there twice"),
        ("COALESCE(candidate.drb, candidate.drb) > 0.5", "candidate.drb stands there twice"),
        # Units.
        ("candidate.distnr < 1.5", "candidate.distnr is in units of 1.012 arcsec; candidate.distnr_arcsec is in arcsec"),
        ("features.g.brightest_njy < 20", "brightest_njy is a flux: as a magnitude 20 would be 36,308 nJy"),
        (POSITIVE + "candidate.magpsf < 1000", "magpsf is a magnitude, and 1000 is none"),
        ("candidate.jd > 60000", "jd is a Julian Date such as 2460000.5, and 60000 is none"),
        ("candidate.chipsf > -9999", "-9999 stands for none in many packets"),
        # Signs.
        ("candidate.magpsf < 18", "candidate.magpsf is the magnitude of the difference, also of sources that are fainter"),
        (
            POSITIVE + "(SELECT MIN(p.magpsf) FROM UNNEST(prv_candidates) AS p) < 18",
            "prv_candidates.magpsf is the magnitude of the difference",
        ),
        # Ages.
        ("features.age_history_days < 5", "what is older looks young; ask for age_jdstarthist_days, too"),
        # NULL.
        ("NOT candidate.sgscore1 > 0.5", "where candidate.sgscore1 is NULL, NOT of it is NULL, too"),
        ("NOT (candidate.fid = 1 AND features.g.span_days > 3)", "where features.g.span_days is NULL, NOT of it is NULL, too"),
        ("candidate.distpsnr1 > 2", "where there is nothing near, candidate.distpsnr1 is NULL and the alert does not pass"),
        ("10 <= candidate.ssdistnr", "where there is nothing near, candidate.ssdistnr is NULL"),
    ],
)
def test_what_is_suspicious_is_a_warning(condition: str, said: str) -> None:
    found = findings(condition)
    assert not any(finding.is_error for finding in found)
    assert any(said in finding.message for finding in found), found


@pytest.mark.parametrize(
    "condition",
    [
        POSITIVE + "candidate.magpsf BETWEEN 18 AND 19",
        "candidate.fid = 1 OR candidate.fid = 2",
        "candidate.fid = 1 AND candidate.rcid = 2",
        "candidate.rcid > 5 OR candidate.rcid <= 3",
        "candidate.drb > candidate.rb",
        "candidate.ssdistnr IS NULL",
        "candidate.distnr_arcsec < 1.5",
        "features.g.brightest_njy > 36000 AND features.g.brightest_mag < 20",
        POSITIVE + "(SELECT MIN(p.magpsf) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos) < 18",
        AGED + "features.age_history_days < 5",
        "NOT COALESCE(candidate.sgscore1 > 0.5, FALSE)",
        "NOT (candidate.sgscore1 > 0.5) IS TRUE",
        "NOT candidate.isdiffpos",
        "COALESCE(candidate.distpsnr1 > 2, TRUE)",
        "candidate.distpsnr1 < 2",
        "(candidate.fid = 1 AND candidate.drb > 0.5) OR (candidate.fid = 2 AND candidate.drb > 0.7)",
    ],
)
def test_what_is_right_is_not_spoken_of(condition: str) -> None:
    assert findings(condition) == []


def test_fluxes_of_lsst_are_no_magnitudes() -> None:
    assert "psfFlux is a flux: as a magnitude 20 would be 36,308 nJy" in findings("diaSource.psfFlux > 20", "lsst")[0].message
    assert findings("diaSource.psfFlux > 36308", "lsst") == []
    assert "midpointMjdTai is an MJD" in findings("diaSource.midpointMjdTai > 2460000.5", "lsst")[0].message


def test_an_event_with_a_time_is_asked_for_its_time() -> None:
    lists = Lists(regions=("gw", "field"), maps=("gw",), timed=("gw",))
    assert "regions.gw has an event with a time" in findings("regions.gw", lists=lists)[0].message
    assert "regions.gw has an event with a time" in findings("regions.gw_level < 0.9", lists=lists)[0].message
    assert findings("regions.gw AND regions.gw_days_since < 10", lists=lists) == []
    assert findings("regions.field", lists=lists) == []


def test_a_finding_points_into_the_text() -> None:
    text = "SELECT alert_id FROM alerts WHERE candidate.isdiffpos AND\n  candidate.distnr < 1.5"
    facts = SURVEYS["ztf"]
    (finding,) = check(parse(text, row_of(facts)), facts, NO_LISTS)
    head = "near:2:3: warning: candidate.distnr is in units of 1.012 arcsec; candidate.distnr_arcsec is in arcsec"
    assert finding.told("near", text).startswith(f"{head}\n    candidate.distnr < 1.5\n    ^^^^^^^^^^^^^^^^")


def columns_told(columns: str) -> list[str]:
    query = parse(f"SELECT {columns} FROM alerts WHERE candidate.drb > 0.5", row_of(SURVEYS["ztf"]))
    return [finding.message for finding in check(query, SURVEYS["ztf"], NO_LISTS) if "columns_truncated" in finding.message]


def test_columns_that_no_header_may_hold_are_spoken_of() -> None:
    assert columns_told("candidate.drb AS drb, object_id") == []
    many = ", ".join(f"candidate.drb + {number} AS column_{number:02d}" for number in range(40))
    (told,) = columns_told(many)
    # 39 bytes each and two braces: the twenty-seventh is one too many.
    assert told.startswith("with column_26 the columns may be longer than 1,024 bytes as JSON")
    assert columns_told(", ".join(many.split(", ")[:26])) == []
