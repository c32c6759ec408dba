"""Lists of one's own in a run: filters ask about watchlists and regions, which are read at the start and between rounds."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
from astropy.coordinates import angular_separation

from alerts.avro.layout import EVERYTHING
from pipelines.filters import ReadAgain, filters_of
from pipelines.options import BrokerOptions, parse
from tests.nights import ask, run, simulated
from tests.pipelines.test_filters import audited, folder, verdicts
from tests.pipelines.test_refilter import asked

ALERTS = 60
WATCHED = "SELECT alert_id FROM alerts WHERE watchlists.mine"
INSIDE = "SELECT regions.here AS inside FROM alerts WHERE regions.here"
SINCE = (
    "SELECT regions.event_days_since AS since, regions.event_days_to_first_detection AS first FROM alerts "
    "WHERE regions.event_days_since > 0 AND regions.event"
)
PYTHON = """
def passes(alerts):
    return alerts.column("regions").field("here")
"""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--seed", "11")


@pytest.fixture(scope="module")
def places(night: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple]:
    """What is where, as a run without lists writes it: alert, digest, place, healpix29."""
    warehouse = tmp_path_factory.mktemp("plain") / "w"
    assert run(warehouse, night, flags=("--no_cutouts",)) == 0
    return ask(warehouse, "SELECT alert_id, packet_digest, ra_deg, dec_deg, healpix29 FROM ztf_alerts ORDER BY ALL")


def cells(place: Path, places: list[tuple], order: int = 14) -> Path:
    """A MOC in JSON of the cells that places are in."""
    place.write_text(json.dumps({str(order): sorted({healpix29 >> 2 * (29 - order) for *_, healpix29 in places})}))
    return place


def watched(place: Path, places: list[tuple], away_arcsec: float, radius_arcsec: float) -> Path:
    """A list of places so far north of those of alerts, or south where that is beyond a pole."""
    with place.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "ra_deg", "dec_deg", "radius_arcsec"])
        for alert_id, _, ra_deg, dec_deg, _ in places:
            rows.writerow(
                [f"s{alert_id}", repr(ra_deg), repr(dec_deg - math.copysign(away_arcsec / 3600, dec_deg)), radius_arcsec]
            )
    return place


def in_cells(some: list[tuple], places: list[tuple], order: int = 14) -> list[tuple]:
    """Of all places those in a cell of some: several alerts are of one object."""
    shift = 2 * (29 - order)
    cells_of = {healpix29 >> shift for *_, healpix29 in some}
    return [(alert_id, digest) for alert_id, digest, _, _, healpix29 in places if healpix29 >> shift in cells_of]


def near(some: list[tuple], places: list[tuple], away_arcsec: float, radius_arcsec: float) -> list[tuple]:
    """Of all places those within a radius of what ``watched`` lists of some."""
    found = []
    for alert_id, digest, ra_deg, dec_deg, _ in places:
        listed = [(ra, dec - math.copysign(away_arcsec / 3600, dec)) for _, _, ra, dec, _ in some]
        away = [math.degrees(angular_separation(*map(math.radians, (ra, dec, ra_deg, dec_deg)))) for ra, dec in listed]
        found += [(alert_id, digest)] if min(away) * 3600 <= radius_arcsec else []
    return found


def test_filters_ask_about_lists_as_alerts_come_in_and_afterwards(night: Path, places: list[tuple], tmp_path: Path):
    lists = (
        *("--region", f"here={cells(tmp_path / 'here.json', places[::3])}"),
        *("--region", f"event={cells(tmp_path / 'event.json', places[::2])}?t0=2020-01-01T00:00:00Z"),
        *("--watchlist", f"mine={watched(tmp_path / 'mine.csv', places[:20], 1.0, 1.5)}"),
    )
    filters = folder(tmp_path / "filters", watched=WATCHED, inside=INSIDE, since=SINCE, python=PYTHON)
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *lists)) == 0
    inside = in_cells(places[::3], places)
    expected = {
        "watched": near(places[:20], places, 1.0, 1.5),
        "inside": inside,
        "python": inside,
        "since": in_cells(places[::2], places),
    }
    assert len({len(some) for some in expected.values()} | {0, ALERTS}) == 5
    for name, some in expected.items():
        assert verdicts(tmp_path / "w", name) == some, name
    assert ask(tmp_path / "w", "SELECT COUNT(*) FROM verdicts WHERE status = 'failed'") == [(0,)]
    told = ask(
        tmp_path / "w",
        "SELECT v.columns, a.observed_at FROM verdicts v JOIN ztf_alerts a USING (alert_id) WHERE filter = 'since'",
    )
    for columns, observed_at in told:
        found = json.loads(columns)
        assert found["since"] == pytest.approx((observed_at.timestamp() - 1577836800.0) / 86400, abs=1e-6)
        assert found["first"] <= found["since"]
    assert not any(audited(night, tmp_path / "w")["faults"].values())
    # The rows of the list are a catalog, which says the same.
    matched = "SELECT alert_id FROM crossmatches_unique WHERE catalog = 'watchlist:mine' AND status = 'matched' ORDER BY 1"
    assert ask(tmp_path / "w", matched) == [(alert_id,) for alert_id, _ in expected["watched"]]

    assert run(tmp_path / "later", night, flags=("--no_cutouts",)) == 0
    assert asked(tmp_path / "later", filters, *lists) == 0
    for name, some in expected.items():
        assert verdicts(tmp_path / "later", name) == some, name


def test_a_list_that_has_changed_is_a_row_of_the_history_and_is_asked_about_again(
    night: Path, places: list[tuple], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    filters = folder(tmp_path / "filters", inside=INSIDE)
    region = ("--region", f"here={cells(tmp_path / 'here.json', places[:10])}")
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *region)) == 0
    assert asked(tmp_path / "w", filters, *region) == 0
    capsys.readouterr()
    assert asked(tmp_path / "w", filters, *region) == 0
    assert "there is nothing to ask" in capsys.readouterr().out
    cells(tmp_path / "here.json", places[5:30])
    assert asked(tmp_path / "w", filters, *region) == 0
    now = "SELECT alert_id, packet_digest FROM verdicts_unique WHERE status = 'passed' ORDER BY ALL"
    assert ask(tmp_path / "w", now) == in_cells(places[5:30], places)
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *region)) == 0
    history = "SELECT text, COUNT(*), COUNT(valid_until) FROM filter_history WHERE filter = 'region:here' GROUP BY text"
    assert ask(tmp_path / "w", history) == [(f"here={tmp_path / 'here.json'}", 3, 1)]


def test_a_filter_finds_the_places_of_a_list_among_the_matches(night: Path, places: list[tuple], tmp_path: Path):
    lists = ("--watchlist", f"mine={watched(tmp_path / 'mine.csv', places[:20], 1.0, 1.5)}")
    matched = (
        "SELECT (SELECT MIN(s.separation_arcsec) FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s) AS away FROM alerts "
        "WHERE EXISTS (SELECT 1 FROM UNNEST(matches) AS m, UNNEST(m.sources) AS s WHERE m.catalog = 'watchlist:mine')"
    )
    filters = folder(tmp_path / "filters", matched=matched)
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), "--no_cutouts", *lists)) == 0
    assert verdicts(tmp_path / "w", "matched") == near(places[:20], places, 1.0, 1.5)
    for (told,) in ask(tmp_path / "w", "SELECT columns FROM verdicts WHERE status = 'passed'"):
        assert json.loads(told)["away"] <= 1.5


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--region", "here=nowhere.json"), "nowhere.json"),
        (("--sky_region", "here"), "write NAME=FILE"),
        (("--region", "here"), "there is no regions.here; name it where the filter is asked: --region here=FILE"),
        (("--region", "here={empty}"), "is empty"),
        (("--region", "here={text}"), "here"),
        (("--watchlist", "mine=nowhere.csv"), "nowhere.csv"),
        (("--watchlist", "mine={empty}"), "is empty"),
        (("--watchlist", "mine={text}"), "mine"),
        (("--region", "here={moc}", "--region", "HERE={moc}"), "two lists have the name 'HERE'"),
        (("--region", "there={moc}"), "there is no regions.here; did you mean regions.there?"),
        (
            ("--region", "here={moc}?t0=2026-09-01T00:00:00Z", "--no_history"),
            "inside asks for days to the first detection, which prv_candidates tells, and --no_history leaves that out",
        ),
    ],
)
def test_what_is_no_list_stops_the_start(
    night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], flags: tuple[str, ...], told: str
):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "text.csv").write_text("hello\nworld\n")
    (tmp_path / "moc.json").write_text('{"3": [1]}')
    files = {"empty": tmp_path / "empty.csv", "text": tmp_path / "text.csv", "moc": tmp_path / "moc.json"}
    asks = f"{INSIDE} AND regions.here_days_to_first_detection > 0" if "--no_history" in flags else INSIDE
    filters = folder(tmp_path / "filters", inside=asks)
    words = [word.format(**files) for word in flags]
    assert run(tmp_path / "w", night, flags=("--filters", str(filters), *words)) == 2
    assert told in capfd.readouterr().err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize("flag", ["--region", "--sky_region"])
def test_a_region_that_no_filter_can_ask_about_is_refused(
    night: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], flag: str
):
    assert run(tmp_path / "w", night, flags=(flag, "here=nowhere.json")) == 2
    assert "--region NAME=FILE does nothing without --filters" in capfd.readouterr().err
    assert not (tmp_path / "w").exists()


def test_between_rounds_lists_are_read_again_and_one_that_is_wrong_changes_nothing(tmp_path: Path):
    region = tmp_path / "here.json"
    region.write_text('{"3": [1]}')
    filters = folder(tmp_path / "filters", inside=INSIDE)
    broker = parse(["--filters", str(filters), "--region", f"here={region}"]).view_as(BrokerOptions)
    first = filters_of(broker, EVERYTHING, True)
    again = ReadAgain(broker, first, EVERYTHING, True)
    assert again() == first
    region.write_text('{"3": [2]}')
    second = again()
    assert second is not None
    assert second != first
    region.write_text("{}")
    assert again() == second
    region.unlink()
    assert again() == second


def test_a_list_that_has_become_wrong_keeps_no_other_and_no_filter_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    gone, other, places = tmp_path / "gone.json", tmp_path / "here.json", tmp_path / "mine.csv"
    gone.write_text('{"3": [1]}')
    other.write_text('{"3": [1]}')
    places.write_text("ra,dec\n10,20\n")
    filters = folder(
        tmp_path / "filters", inside=INSIDE, watched=WATCHED, of_gone="SELECT alert_id FROM alerts WHERE regions.gone"
    )
    words = ["--filters", str(filters), "--region", f"here={other}", "--region", f"gone={gone}", "--watchlist", f"mine={places}"]
    broker = parse(words).view_as(BrokerOptions)
    first = filters_of(broker, EVERYTHING, True)
    assert first is not None
    again = ReadAgain(broker, first, EVERYTHING, True)
    gone.unlink()
    places.write_text("hello")
    other.write_text('{"3": [2]}')
    (filters / "new.sql").write_text(f"-- surveys: ztf\n{INSIDE} AND candidate.magpsf < 18 AND candidate.isdiffpos\n")
    second = again()
    assert second is not None
    assert {text.name for text in second.texts} == {text.name for text in first.texts} | {"new"}
    changed = {name for name, version in second.lists.versions.items() if first.lists.versions[name] != version}
    assert changed == {"region:here"}
    (said,) = caplog.messages
    assert said.startswith("lists stay as they were: ")
    assert str(gone) in said
    assert str(places) in said
