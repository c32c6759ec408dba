"""The examples that ask about lists find in simulated nights what the truth says is there, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import fastavro
import pytest
from astropy.io import fits
from astropy.time import Time

from broker import cli
from tests.alerts.filters.example_packets import LISTS_FOLDER
from tests.nights import ask, run, simulated, truth

SEED = 5
EVERYWHERE = """-- about: every alert, with what the map says of it
-- surveys: ztf, lsst
SELECT regions.event AS inside, regions.half AS half, regions.event_level AS level,
  regions.event_days_since AS days_since, regions.event_days_to_first_detection AS days_to_first
FROM alerts
WHERE regions.event_days_since BETWEEN 0 AND 10
"""
IN_THE_MAP = {"ztf": "in_the_map", "lsst": "lsst_in_the_map"}


class Made:
    """A night, the warehouse in which the examples were asked about it, and what they should have found."""

    def __init__(self, survey: str, place: Path) -> None:
        self.survey, self.warehouse, self.night = survey, place / "w", place / "night"
        simulated(self.night, "--survey", survey, "--alerts", "200", "--seed", str(SEED), "--archive", "folder")
        watchlist, sky_map = self.night / "watchlist.csv", self.night / "skymap.fits"
        regions = ("--region", f"event={sky_map}?level=0.9", "--region", f"half={sky_map}?level=0.5")
        self.lists = ("--watchlist", f"mine={watchlist}", *regions)
        self.filters = shutil.copytree(LISTS_FOLDER, place / "filters")
        (self.filters / "everywhere.sql").write_text(EVERYWHERE)
        self.told = {each["alert_id"]: each for each in truth(self.night)}
        header = fits.getheader(sky_map, 1)
        self.event = Time(header["DATE-OBS"], scale="utc")

    def ingest(self) -> int:
        flags = ("--filters", str(self.filters), "--no_cutouts", "--no_features", *self.lists)
        return run(self.warehouse, self.night, flags=flags)

    def records(self) -> dict[int, dict]:
        """The packets themselves, by their alerts."""
        found = {}
        for path in self.night.rglob("*.avro"):
            with path.open("rb") as file:
                (record,) = fastavro.reader(file)
            found[record["candid" if self.survey == "ztf" else "diaSourceId"]] = record
        return found

    def passed(self, name: str) -> dict[int, dict]:
        """The alerts that a filter has passed, with its columns."""
        sql = f"SELECT alert_id, columns FROM verdicts WHERE filter = '{name}' AND status = 'passed'"
        return {alert_id: json.loads(columns) for alert_id, columns in ask(self.warehouse, sql)}

    def days_since(self, alert_id: int) -> float:
        return (Time(self.told[alert_id]["observed_at"]) - self.event).to_value("day")


def of_ztf(record: dict) -> tuple[Time, bool]:
    """When an object was first detected, and whether the alert is one of a new source that is no known asteroid."""
    own = record["candidate"]
    before = [each["jd"] for each in record["prv_candidates"] or () if each["magpsf"] is not None]
    first = Time(min([own["jd"], own["jdstarthist"], *before]), format="jd", scale="utc")
    return first, own["isdiffpos"] in ("t", "1") and not 0 <= own["ssdistnr"] < 10


def of_lsst(record: dict) -> tuple[Time, bool]:
    own = record["diaSource"]
    before = [each["midpointMjdTai"] for each in record["prvDiaSources"] or ()]
    first = Time(min([own["midpointMjdTai"], *before]), format="mjd", scale="tai")
    return first, own["psfFlux"] > 0 and not own["ssObjectId"]


@pytest.fixture(scope="module", params=["ztf", "lsst"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    made = Made(request.param, tmp_path_factory.mktemp(request.param))
    assert made.ingest() == 0
    return made


def test_nothing_was_lost_and_no_list_is_taken_for_a_packet(made: Made) -> None:
    assert ask(made.warehouse, "SELECT records_read, dead_letters FROM runs") == [(200, 0)]
    assert ask(made.warehouse, "SELECT SUM(failed), SUM(rejected_by_null) FROM filter_counts") == [(0, 0)]
    assert ask(made.warehouse, "SELECT DISTINCT filter FROM filter_counts ORDER BY 1") == [
        ("best_half_of_the_map",),
        ("everywhere",),
        (IN_THE_MAP[made.survey],),
        ("watched",),
    ]


def test_watched_finds_what_is_at_a_place_of_the_list(made: Made) -> None:
    planted = {alert_id for alert_id, each in made.told.items() if each["is_watched"]}
    variables = {alert_id for alert_id, each in made.told.items() if each["family"] == "variable"}
    assert made.passed("watched").keys() == planted
    assert planted < variables
    matched = "SELECT alert_id FROM crossmatches WHERE catalog = 'watchlist:mine' AND status = 'matched'"
    assert {alert_id for (alert_id,) in ask(made.warehouse, matched)} == planted


def test_of_every_alert_the_map_says_what_the_truth_says(made: Made) -> None:
    passed = made.passed("everywhere")
    assert passed.keys() == made.told.keys()
    inside = {alert_id: (columns["inside"], columns["half"]) for alert_id, columns in passed.items()}
    assert inside == {alert_id: (each["in_region"], each["region_level"] <= 0.5) for alert_id, each in made.told.items()}
    assert set(inside.values()) == {(True, True), (True, False), (False, False)}
    for alert_id, columns in passed.items():
        assert columns["level"] == pytest.approx(made.told[alert_id]["region_level"], abs=1e-9)
        assert columns["days_since"] == pytest.approx(made.days_since(alert_id), abs=1e-6)


def test_the_best_half_is_where_the_truth_has_it(made: Made) -> None:
    passed = made.passed("best_half_of_the_map")
    assert passed.keys() == {alert_id for alert_id, each in made.told.items() if each["region_level"] <= 0.5}
    assert len(passed) > 10


def test_in_the_map_is_what_is_inside_and_new_since_the_event(made: Made) -> None:
    inside = {alert_id for alert_id, each in made.told.items() if each["in_region"]}
    facts = {alert_id: {"ztf": of_ztf, "lsst": of_lsst}[made.survey](record) for alert_id, record in made.records().items()}
    new = {alert_id for alert_id, (first, is_wanted) in facts.items() if is_wanted and first >= made.event}
    passed = made.passed(IN_THE_MAP[made.survey])
    assert passed.keys() == inside & new
    assert 3 < len(passed) < min(len(inside), len(new))
    everywhere = made.passed("everywhere")
    assert facts.keys() == everywhere.keys()
    for alert_id, (first, _) in facts.items():
        expected = (first - made.event).to_value("day")
        assert everywhere[alert_id]["days_to_first"] == pytest.approx(expected, abs=1e-6)


def told(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert cli.main(["filter", *words]) == 0
    return capsys.readouterr().out


def test_try_counts_and_explain_says_why(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    name = IN_THE_MAP[made.survey]
    place = (str(made.filters / f"{name}.sql"), "--warehouse", str(made.warehouse), *made.lists)
    line = told(capsys, "try", *place).splitlines()[2]
    assert line.split()[1:3] == ["200", str(len(made.passed(name)))]
    outside = next(alert_id for alert_id, each in sorted(made.told.items()) if not each["in_region"])
    for alert_id, verdict in ((min(made.passed(name)), "passed"), (outside, "rejected: of ")):
        said = told(capsys, "explain", place[0], str(alert_id), *place[1:])
        assert f": {verdict}" in said
        assert f"regions.event = {'TRUE' if verdict == 'passed' else 'FALSE'}" in said
