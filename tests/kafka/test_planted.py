"""What the simulator plants arrives in its filter's stream, as whoever listens there sees it, and nothing is missing."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from alerts.filters.text import read_filter
from broker import cli
from tests.alerts.filters.example_packets import FOLDER, LISTS_FOLDER
from tests.alerts.filters.test_examples import PLANTED
from tests.kafka.topics import TestTopics
from tests.nights import ask, run, simulated, truth

ALERTS = {"ztf": 600, "lsst": 300}
LISTS = ("watched", "best_half_of_the_map")


@dataclass(frozen=True)
class Streams:
    """A night whose hits were sent, a topic for each filter."""

    survey: str
    truth: list[dict]
    warehouse: Path
    saved: Path

    def came(self, name: str) -> set[int]:
        """The alerts in a filter's stream."""
        headers = [json.loads(file.read_text()) for file in (self.saved / name).glob("*.headers")]
        assert {told["filter"] for told in headers} <= {name}
        return {int(told["alert_id"]) for told in headers}

    def passed(self, name: str) -> set[int]:
        """What the filter has said."""
        sql = f"SELECT alert_id FROM verdicts WHERE filter = '{name}' AND status = 'passed'"
        return {row[0] for row in ask(self.warehouse, sql)}


@pytest.fixture(scope="module", params=["ztf", "lsst"])
def streams(request: pytest.FixtureRequest, kafka: TestTopics, tmp_path_factory: pytest.TempPathFactory) -> Streams:
    survey, place, topic = request.param, tmp_path_factory.mktemp(request.param), kafka.name("planted")
    night = simulated(place / "night", "--survey", survey, "--alerts", str(ALERTS[survey]), "--seed", "3")
    filters = place / "filters"
    filters.mkdir()
    for path in (*(FOLDER / f"{name}.sql" for name in PLANTED), *(LISTS_FOLDER / f"{name}.sql" for name in LISTS)):
        if survey in read_filter(path).surveys:
            shutil.copy(path, filters)
    lists = ("--watchlist", f"mine={night / 'watchlist.csv'}")
    lists += tuple(word for name in ("event", "half") for word in ("--region", f"{name}={night / 'skymap.fits'}?level=0.5"))
    address = f"kafka:{kafka.servers}/{topic}-{{survey}}-{{filter}}"
    flags = ("--filters", str(filters), "--no_cutouts", *lists, "--publish", f"{address}?format=json")
    assert run(place / "w", night, flags=flags) == 0

    def listen(name: str) -> int:
        own = address.replace("{survey}", survey).replace("{filter}", name)
        return cli.main(["listen", own, "--once", "--quiet_secs", "1.5", "--verify", "--save", str(place / "saved" / name)])

    # Most of the time each waits for more.
    with ThreadPoolExecutor() as pool:
        assert {*pool.map(listen, [path.stem for path in filters.glob("*.sql")])} == {0}
    return Streams(survey, [record for record in truth(night) if record["kind"] == "good"], place / "w", place / "saved")


def test_each_planted_object_is_in_its_filters_stream_and_in_no_other(streams: Streams) -> None:
    object_of = {record["alert_id"]: record["object_id"] for record in streams.truth}
    family_of = {record["object_id"]: record["family"] for record in streams.truth}
    named = PLANTED.keys() & {path.name for path in streams.saved.iterdir()}
    assert len(named) >= 5
    for name in named:
        came = streams.came(name)
        assert came == streams.passed(name), name
        planted = {object_id for object_id, family in family_of.items() if family in PLANTED[name]}
        found = {object_of[alert_id] for alert_id in came}
        assert len(planted) >= 3
        assert planted <= found, name
        # A transient without a host may rise as well as one that has one.
        rising = {"hostless"} if name == "steady_riser" else set()
        assert not {family_of[object_id] for object_id in found - planted} & set().union(*PLANTED.values()) - rising, name


def test_what_lists_ask_for_is_exactly_what_the_truth_has(streams: Streams) -> None:
    watched = {record["alert_id"] for record in streams.truth if record["is_watched"]}
    inside = {record["alert_id"] for record in streams.truth if record["region_level"] <= 0.5}
    assert len(watched) > 0
    assert len(inside) > 0
    assert streams.came("watched") == watched
    assert streams.came("best_half_of_the_map") == inside
