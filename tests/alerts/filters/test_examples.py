"""The filters of ``examples``: each is good, says after whom, holds its own packets, and finds what was planted."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from alerts.filters.text import read_filter
from broker import filters as command
from tests.alerts.filters.example_packets import FOLDER, LISTS, LISTS_FOLDER, PACKETS, WITH_LISTS, files
from tests.nights import ask, run, simulated, truth

EXAMPLES = sorted(FOLDER.glob("*.sql"))
ASKING_LISTS = sorted(LISTS_FOLDER.glob("*.sql"))
OWN_LISTS = ("--watchlist", f"mine={LISTS / 'watchlist.csv'}", "--region", f"event={LISTS / 'skymap.fits'}")
LEFT = {"supernova_spectrum"}
"""Those whose warning is right to leave; their text says why."""


def checked(path: Path, *flags: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.main(parser.parse_args(["check", str(path), *flags]))


def test_there_are_many_of_both_surveys() -> None:
    assert len(EXAMPLES) >= 25
    surveys = [read_filter(path).surveys for path in EXAMPLES]
    assert sum("ztf" in each for each in surveys) >= 15
    assert sum("lsst" in each for each in surveys) >= 5


@pytest.mark.parametrize("path", EXAMPLES + ASKING_LISTS, ids=lambda path: path.stem)
def test_each_is_good_and_holds_its_packets(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = read_filter(path)
    assert told.about
    assert told.reference.startswith("after ")
    lists = OWN_LISTS if path in ASKING_LISTS else ()
    assert checked(path, *lists, *([] if path.stem in LEFT else ["--strict"])) == 0
    said = capsys.readouterr()
    assert "of its own packets 1 pass and 1 do not, as they must" in said.out
    assert (said.err == "") == (path.stem not in LEFT)


def test_their_packets_are_what_the_command_makes() -> None:
    made = dict(files())
    assert {path.stem for path in EXAMPLES} == set(PACKETS)
    assert {path.stem for path in ASKING_LISTS} == set(WITH_LISTS)
    found = [*FOLDER.rglob("*.avro"), *LISTS_FOLDER.rglob("*.avro"), *LISTS.iterdir()]
    assert {path: path.read_bytes() for path in found} == made
    assert sum(map(len, made.values())) < 1_500_000
    assert max(len(data) for path, data in made.items() if path.parent == LISTS) < 50_000


@pytest.mark.parametrize("list_of", ["other", "none"])
@pytest.mark.parametrize("path", ASKING_LISTS, ids=lambda path: path.stem)
def test_their_packets_are_those_of_their_lists(
    path: Path, list_of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = simulated(tmp_path / "night", "--alerts", "20", "--seed", "3")
    other = ("--watchlist", f"mine={made / 'watchlist.csv'}", "--region", f"event={made / 'skymap.fits'}")
    assert checked(path, *(other if list_of == "other" else ())) == 2
    told = "must pass, and does not: " if list_of == "other" else "name it where the filter is asked"
    assert told in capsys.readouterr().err


PLANTED = {
    "steady_fader": {"fader"},
    "steady_riser": {"riser"},
    "past_flare": {"flare"},
    "both_signs": {"variable"},
    "hostless_transient": {"hostless"},
    "unknown_moving_object": {"mover"},
    "lsst_no_template_source": {"hostless", "mover"},
}
"""The families of planted objects that filters are to find."""
PAIRS = [(survey, name) for name in PLANTED for survey in read_filter(FOLDER / f"{name}.sql").surveys]


@pytest.fixture(scope="module")
def night(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A simulated night with its truth, and a warehouse in which the examples were asked about it."""
    place = tmp_path_factory.mktemp(request.param)
    count = {"ztf": 600, "lsst": 300}[request.param]
    made = simulated(place / "night", "--survey", request.param, "--alerts", str(count), "--seed", "3")
    assert run(place / "w", made, flags=("--filters", str(FOLDER), "--no_cutouts")) == 0
    return made, place / "w"


@pytest.mark.parametrize(("night", "name"), sorted(PAIRS), indirect=["night"])
def test_what_was_planted_is_found_by_its_filter_and_nothing_else_that_was(name: str, night: tuple[Path, Path]) -> None:
    made, warehouse = night
    records = [record for record in truth(made) if record["kind"] == "good"]
    alerts = f"{records[0]['survey']}_alerts"
    family_of = {record["object_id"]: record["family"] for record in records}
    passed = f"SELECT alert_id FROM verdicts WHERE filter = '{name}' AND status = 'passed'"
    found = {row[0] for row in ask(warehouse, f"SELECT DISTINCT object_id FROM {alerts} WHERE alert_id IN ({passed})")}
    planted = {object_id for object_id, family in family_of.items() if family in PLANTED[name]}
    assert len(planted) >= 3
    assert planted <= found
    # A transient without a host may rise as well as one that has one.
    rising = {"hostless"} if name == "steady_riser" else set()
    assert not {family_of[object_id] for object_id in found - planted} & set().union(*PLANTED.values()) - rising
