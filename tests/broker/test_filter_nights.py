"""``broker filter try`` and ``explain``: what a filter makes of nights in a folder, and why of one alert."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from broker import cli
from tests.broker.test_features import features
from tests.nights import ask, run, simulated, truth

FILTER = """-- about: real, positive, seen before, no known asteroid near; a star of a catalog within 5 arcsec
-- surveys: ztf
SELECT candidate.magpsf AS mag, features.n_bands
FROM alerts
WHERE candidate.isdiffpos AND candidate.drb > 0.2
  AND NOT COALESCE(candidate.ssdistnr < 10, FALSE) AND features.age_jdstarthist_days > 1
  AND (SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos) >= 2
  AND EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE CAST_OF_COLUMNS)
""".replace("CAST_OF_COLUMNS", "s.separation_arcsec < 5 AND SAFE_CAST(JSON_VALUE(s.columns, '$.mag') AS FLOAT64) < 30")
NIGHT = "2026-09-17"


def ingested_beside(night: Path, place: str, *flags: str) -> None:
    """A night into a warehouse, with what the night's own catalogs know."""
    catalogs = [word for path in sorted(night.rglob("catalog.parquet")) for word in ("--crossmatch", f"file:{path}")]
    assert cli.main(["ingest", "--input", str(night), "--survey", "ztf", "--warehouse", place, *catalogs, *flags]) == 0


def word(line: str, number: int) -> str:
    """A word of a line of a table, counted from the left."""
    return re.split(r"\s+", line.strip())[number]


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("night")
    simulated(place / "new", "--alerts", "60", "--duplicates", "5", "--damaged", "0", "--seed", "7")
    simulated(place / "old", "--alerts", "15", "--damaged", "0", "--seed", "8", "--night", "2026-09-10")
    return place


@pytest.fixture(scope="module")
def warehouse(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("filled") / "warehouse"
    ingested_beside(night, str(place))
    return place


def told(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str], str]:
    capsys.readouterr()
    status = cli.main(["filter", *words])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err


def file(folder: Path, condition: str, columns: str = "alert_id", surveys: str = "ztf") -> str:
    path = folder / "wanted.sql"
    path.write_text(f"-- about: <wanted> & more\n-- surveys: {surveys}\nSELECT {columns}\nFROM alerts\nWHERE {condition}\n")
    return str(path)


def passing(tmp_path: Path, warehouse: Path, capsys: pytest.CaptureFixture[str], condition: str, *flags: str) -> set[int]:
    """The ids of all alerts that pass, from the sample."""
    words = ("try", file(tmp_path, condition), "--warehouse", str(warehouse), "--sample", "1000", "--night", "2026-09-01..30")
    status, out, _ = told(capsys, *words, *flags)
    assert status == 0
    found = [int(line.split("alert_id = ")[1]) for line in out if "alert_id = " in line]
    assert len(found) == int(word(out[4], 3))
    return set(found)


@pytest.mark.parametrize(
    ("condition", "sql"),
    [
        ("candidate.drb > 0.5", "SELECT alert_id FROM ztf_alerts_unique WHERE candidate.drb > 0.5"),
        (
            "candidate.distnr_arcsec < 1 OR candidate.ssdistnr IS NOT NULL",
            "SELECT alert_id FROM ztf_alerts_unique WHERE candidate.distnr BETWEEN 0 AND 1/1.012 OR candidate.ssdistnr <> -999",
        ),
        (
            "features.g.n_detections > 3 AND features.n_bands > 1",
            "SELECT alert_id FROM ztf_features_unique WHERE features.g.n_detections > 3 AND features.n_bands > 1",
        ),
        (
            "(SELECT COUNT(*) FROM UNNEST(prv_candidates) AS p WHERE p.isdiffpos) > 5",
            "SELECT alert_id FROM ztf_alerts_unique WHERE len(list_filter(prv_candidates, lambda p: p.isdiffpos = 't')) > 5",
        ),
        (
            "EXISTS(SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE s.separation_arcsec < 2)",
            "SELECT DISTINCT alert_id FROM crossmatches_unique, unnest(matches) AS m(s) WHERE s.separation_arcsec < 2",
        ),
    ],
)
def test_what_passes_is_what_a_query_finds(
    condition: str, sql: str, warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = {row[0] for row in ask(warehouse, sql)}
    assert 0 < len(expected) < 75
    assert passing(tmp_path, warehouse, capsys, condition) == expected


def test_each_night_has_a_line_in_which_each_alert_counts_once(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = file(tmp_path, "candidate.ssdistnr > 5")
    status, out, err = told(capsys, "try", wanted, "--warehouse", str(warehouse), "--night", "2026-09-01..30")
    assert (status, err) == (0, "")
    assert out[1].split() == ["night", "seen", "passed", "rate", "rejected", "by", "NULL", "failed", "µs", "per", "alert"]
    nulls = dict(ask(warehouse, "SELECT night, COUNT(*) FROM ztf_alerts_unique WHERE candidate.ssdistnr = -999 GROUP BY 1"))
    counts = {line.split()[0]: [int(line.split()[number]) for number in (1, 4, 5)] for line in out[2:4]}
    assert counts == {str(night): [{10: 15, 17: 60}[night.day], number, 0] for night, number in nulls.items()}
    assert re.match(r"2 nights +75 +\d+ +0\.\d{5} +\d+ +0 +\d+\.\d\d$", out[4])
    # Of none told it is the newest.
    assert [line.split()[0] for line in told(capsys, "try", wanted, "--warehouse", str(warehouse))[1][2:]] == [NIGHT]


def test_who_fails_is_counted_and_told(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(*_: object) -> None:
        raise ZeroDivisionError("made for this")

    monkeypatch.setattr("alerts.filters.operations.compare", raises)
    status, out, err = told(capsys, "try", file(tmp_path, "LN(candidate.drb) > 0.5"), "--warehouse", str(warehouse))
    assert status == 0
    assert out[2].split()[1:6] == ["60", "0", "0.00000", "0", "60"]
    assert err.count("failed: ZeroDivisionError: made for this") == 3


class _Page(HTMLParser):
    """What a page would load, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action", "poster")]
        assert tag not in ("script", "link", "iframe", "object")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_sample_is_a_page_that_loads_nothing_and_shows_each_alert(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, page = file(tmp_path, "candidate.drb < 2", "alert_id, '<b>' AS mark"), tmp_path / "page.html"
    words = ("try", wanted, "--warehouse", str(warehouse), "--sample", "2", "--stamps", str(page))
    status, out, _ = told(capsys, *words)
    assert status == 0
    assert out[-1] == f"{page}: 2 alerts with stamps and light curves"
    found = _Page(page.read_text(encoding="utf-8"))
    assert len(found.loads) == 4
    assert all(load.startswith("data:image/png;base64,iVBOR") for load in found.loads)
    assert "Filter wanted: <wanted> & more" in found.words
    assert "mark = '<b>'" in found.words
    assert f"ztf {NIGHT}" in found.words
    # It is the same again.
    assert told(capsys, *words)[1][3:5] == out[3:5]
    assert {path.name for path in tmp_path.iterdir()} == {"wanted.sql", "page.html"}


def test_an_alert_without_stamps_is_shown_without_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    night, place = simulated(tmp_path / "night", "--alerts", "3", "--damaged", "0"), tmp_path / "warehouse"
    assert run(place, night, flags=("--no_cutouts", "--no_features")) == 0
    page = tmp_path / "page.html"
    words = ("try", file(tmp_path, "candidate.drb < 2"), "--warehouse", str(place), "--sample", "1", "--stamps", str(page))
    assert told(capsys, *words)[0] == 0
    assert len(_Page(page.read_text(encoding="utf-8")).loads) == 2


def test_an_alert_is_explained_term_by_term(warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [(alert_id, drb)] = ask(
        warehouse, "SELECT alert_id, candidate.drb FROM ztf_alerts_unique WHERE candidate.ssdistnr = -999 ORDER BY 1 LIMIT 1"
    )
    wanted = file(tmp_path, "candidate.drb >= 0\n  AND candidate.ssdistnr > 10 AND candidate.drb < 0", "candidate.drb AS score")
    status, out, err = told(capsys, "explain", wanted, str(alert_id), "--warehouse", str(warehouse))
    assert (status, err) == (0, "")
    assert out[0].startswith(f"ztf alert {alert_id}, object ZTF")
    assert out[1].endswith("rejected: of 3 terms number 2 is the first that is not TRUE")
    assert [line.strip() for line in out[2:8]] == [
        "1  TRUE   candidate.drb >= 0",
        f"candidate.drb = {drb!r}",
        "2  NULL   candidate.ssdistnr > 10".replace("2", ">  2", 1),
        "candidate.ssdistnr = NULL, where the packet has -999.0",
        "3  FALSE  candidate.drb < 0",
        f"candidate.drb = {drb!r}",
    ]
    assert out[8].startswith(f"{wanted}:6:7: this decides: candidate.ssdistnr > 10 is NULL")
    assert out[9:] == ["    AND candidate.ssdistnr > 10 AND candidate.drb < 0", "        ^^^^^^^^^^^^^^^^^^^^^^^"]
    status, out, _ = told(capsys, "explain", file(tmp_path, "candidate.drb >= 0", "candidate.drb AS score"), str(alert_id),
                          "--warehouse", str(warehouse))  # fmt: skip
    assert out[1].endswith("passed: its term is TRUE")
    assert out[-1] == f"  score = {drb!r}"


def test_nights_are_explained_by_what_each_term_leaves(
    warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = file(tmp_path, "candidate.drb > 0.5 AND candidate.isdiffpos AND features.n_bands > 0")
    status, out, _ = told(capsys, "explain", wanted, "--warehouse", str(warehouse), "--night", "2026-09-01..30")
    assert status == 0
    first, both = (
        ask(warehouse, f"SELECT COUNT(*) FROM ztf_alerts_unique WHERE candidate.drb > 0.5 {more}")[0][0]
        for more in ("", "AND candidate.isdiffpos IN ('t', '1')")
    )
    assert f"of 75 ztf alerts of 2 nights, 2026-09-10 to {NIGHT} {both} pass" in out[0]
    assert [line.split()[:2] for line in out[2:5]] == [["1", str(first)], ["2", str(both)], ["3", str(both)]]
    assert out[2].split()[-3:] == ["candidate.drb", ">", "0.5"]


def test_features_that_are_not_stored_are_asked_for(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place, wanted = tmp_path / "warehouse", file(tmp_path, "features.n_bands > 0")
    assert run(place, night / "old", flags=("--no_features",)) == 0
    words = ("--warehouse", str(place))
    [(alert_id,)] = ask(place, "SELECT MIN(alert_id) FROM ztf_alerts")
    for asked in (("try", wanted), ("explain", wanted, "--night", "2026-09-10"), ("explain", wanted, str(alert_id))):
        status, _, err = told(capsys, *asked, *words)
        assert status == 2
        assert f"has none of {'alert' if asked[-1] == str(alert_id) else 'night'}" in err
        assert "broker features --warehouse" in err
    assert told(capsys, "try", file(tmp_path, "candidate.drb > 2"), *words)[0] == 0
    features(str(place), capsys)
    assert run(place, night / "new", flags=("--no_features",)) == 0
    status, out, err = told(capsys, "try", file(tmp_path, "features.n_bands > 0"), *words, "--night", "2026-09-10")
    assert (status, out[2].split()[1:3], err) == (0, ["15", "15"], "")


def test_that_no_catalog_was_asked_is_told(
    night: Path, warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "warehouse"
    assert run(place, night / "old") == 0
    wanted = file(tmp_path, "ARRAY_LENGTH(matches) = 0")
    status, out, err = told(capsys, "try", wanted, "--warehouse", str(place))
    assert (status, out[2].split()[2]) == (0, "15")
    assert "warning: no catalog has been asked about 15 alerts" in err
    [(alert_id,)] = ask(place, "SELECT MIN(alert_id) FROM ztf_alerts")
    assert "asked about 1 alerts" in told(capsys, "explain", wanted, str(alert_id), "--warehouse", str(place))[2]
    assert told(capsys, "try", wanted, "--warehouse", str(warehouse))[2] == ""


def test_alerts_without_features_among_others_are_told(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "warehouse"
    more = simulated(tmp_path / "more", "--alerts", "5", "--damaged", "0", "--seed", "99", "--night", "2026-09-10")
    assert run(place, night / "old") == 0
    assert run(place, more, flags=("--no_features",)) == 0
    status, out, err = told(capsys, "try", file(tmp_path, "features.n_bands > 0"), "--warehouse", str(place))
    assert (status, out[2].split()[1], out[2].split()[4]) == (0, "20", "5")
    assert "warning: 5 alerts have no features of the present version, which read NULL" in err


@pytest.mark.parametrize("flags", [(), ("--strict",)])
def test_the_largest_rate_is_held_on_each_reference_night(
    flags: tuple[str, ...], warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_night = "SELECT COUNT(*) FILTER (candidate.isdiffpos = 't'), COUNT(*) FROM ztf_alerts_unique GROUP BY night ORDER BY night"
    rates = [passed / seen for passed, seen in ask(warehouse, by_night)]
    assert rates[0] != rates[1]
    low, high = sorted(rates)
    place = ("--warehouse", str(warehouse), "--reference_night", "2026-09-01..30", *flags)
    for most, wrong in ((high, 0), (low, 1), (low * 0.99, 2)):
        wanted = Path(file(tmp_path, "candidate.isdiffpos"))
        wanted.write_text(f"-- max_rate: {most!r}\n{wanted.read_text()}")
        status, out, err = told(capsys, "check", str(wanted), *place)
        assert status == (2 if wrong else 0)
        assert err.count(f"{wanted}:1:14: error: of ") == err.count(f"; {most:g} is the most") == wrong
        assert sum(" alerts of night 2026-09-" in line for line in out) == 2 - wrong
    status, _, err = told(capsys, "check", file(tmp_path, "candidate.isdiffpos"), *place)
    assert status == (2 if flags else 0)
    assert "warning: it has no max_rate to be held on the reference nights" in err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--reference_night", "2025-01-01"), "wanted.sql: WAREHOUSE holds no ztf alerts of night 2025-01-01"),
        (("--reference_night", "monday"), "wanted.sql: --reference_night monday is no night"),
        (("--reference_night", NIGHT, "--survey", "lsst"), "--survey lsst: "),
        ((), "--warehouse is asked about --reference_night NIGHT; give that, too"),
    ],
)
def test_reference_nights_that_are_none(
    flags: tuple[str, ...], said: str, warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = Path(file(tmp_path, "candidate.isdiffpos"))
    wanted.write_text(f"-- max_rate: 0.5\n{wanted.read_text()}")
    status, _, err = told(capsys, "check", str(wanted), "--warehouse", str(warehouse), *flags)
    assert status == 2
    assert said.replace("WAREHOUSE", str(warehouse)) in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("try", "--night", "2025-01-01"), "holds no ztf alerts of night 2025-01-01; it has 2026-09-10 to 2026-09-17"),
        (("try", "--night", "2026-09-32"), "--night 2026-09-32 is no night"),
        (("try", "--survey", "lsst"), "--survey lsst: "),
        (("try", "--stamps", "page.png"), "let its name end in .html"),
        (("try", "--stamps", "nowhere/page.html"), "nowhere is no folder"),
        (("try", "--warehouse", "nowhere"), "holds no tables"),
        (("explain", "17"), "holds no ztf alert 17"),
        (("explain", "99999999999999999999999"), "holds no ztf alert 99999999999999999999999"),
        (("explain",), "give an ALERT_ID directly behind the file, or --night"),
        (("explain", "17", "--night", "2026-09-10"), "give an ALERT_ID directly behind the file, or --night"),
        (("explain", "--night", "2025-01-01..02"), "holds no ztf alerts of nights 2025-01-01 to 2025-01-02"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    words: tuple[str, ...], said: str, warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = file(tmp_path, "candidate.drb > 0.5")
    status, out, err = told(
        capsys, words[0], wanted, *words[1:], *(() if "--warehouse" in words else ("--warehouse", str(warehouse)))
    )
    assert (status, out) == (2, [])
    assert said in err
    assert err.count("\n") == 1


def test_a_filter_of_a_survey_that_is_not_there(warehouse: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = file(tmp_path, "diaSource.psfFlux > 1e5", surveys="lsst")
    status, _, err = told(capsys, "try", wanted, "--warehouse", str(warehouse))
    assert status == 2
    assert f"{wanted} is a filter of lsst alerts, and {warehouse} holds those of ztf" in err
    for command in ("try", "explain"):
        status, _, err = told(capsys, command, file(tmp_path, "candidate.drbb > 0.5"), "--warehouse", str(warehouse))
        assert status == 2
        assert "wanted.sql:5:17: there is no candidate.drbb; did you mean candidate.drb?" in err


def test_filters_of_two_surveys(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "warehouse"
    lsst = simulated(tmp_path / "lsst", "--survey", "lsst", "--alerts", "8", "--damaged", "0", "--night", "2026-09-10")
    assert run(place, night / "old") == 0
    assert run(place, lsst) == 0
    wanted = file(tmp_path, "features.n_bands > 0 AND ra_deg >= 0", surveys="ztf lsst")
    status, out, _ = told(capsys, "try", wanted, "--warehouse", str(place))
    assert status == 0
    assert [line.split()[1] for line in out if line.startswith("2026")] == ["15", str(len(truth(lsst)))]
    [(alert_id,)] = ask(place, "SELECT MIN(alert_id) FROM lsst_alerts")
    assert told(capsys, "explain", wanted, str(alert_id), "--warehouse", str(place))[1][0].startswith("lsst alert")
    assert len(told(capsys, "try", wanted, "--warehouse", str(place), "--survey", "lsst")[1]) == 3
