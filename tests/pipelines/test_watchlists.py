"""Whole runs with watchlists: their rows as a catalog, asked again, in rounds, and what is no list."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from broker import audit
from pipelines import rematch, rounds, status
from pipelines.options import parse
from tests.nights import ask, by_hand, rows, run, simulated

ALERTS = 40
AWAY_ARCSEC = 10.0
NOTHING_TO_ASK = "there is nothing to ask: every alert has its answers"

Place = tuple[int, float, float]
"""Alert, right ascension and declination."""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", str(ALERTS), "--seed", "8", "--archive", "tar")


@pytest.fixture(scope="module")
def archive(night: Path) -> Path:
    return next(night.glob("*.tar"))


@pytest.fixture(scope="module")
def places(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Place]:
    """The first alert of each object's place, so that no other alert is near."""
    warehouse = tmp_path_factory.mktemp("plain")
    assert run(warehouse, archive, flags=("--no_cutouts", "--no_history")) == 0
    return ask(
        warehouse, "SELECT MIN(alert_id), ANY_VALUE(ra_deg), ANY_VALUE(dec_deg) FROM ztf_alerts GROUP BY object_id ORDER BY 1"
    )


def write_list(path: Path, places: Sequence[Place], radii: Sequence[float | None]) -> Path:
    """A list of places 10 arcsec nearer to the equator than alerts, with radii of their own."""
    lines = ["name,ra,dec,radius_arcsec"]
    for (alert_id, ra, dec), radius in zip(places, radii, strict=True):
        lines.append(f"s{alert_id},{ra!r},{dec - math.copysign(AWAY_ARCSEC / 3600, dec)!r},{'' if radius is None else radius}")
    path.write_text("\n".join(lines) + "\n")
    return path


def listed(warehouse: Path, name: str = "mine") -> dict[int, list[str]]:
    """The sources that each alert has of a list; of all its alerts."""
    sql = f"SELECT alert_id, status, [s.source_id FOR s IN matches] FROM crossmatches_unique WHERE catalog = 'watchlist:{name}'"
    found = ask(warehouse, sql)
    assert all((state == "matched") == bool(sources) for _, state, sources in found)
    return {alert_id: sources for alert_id, _, sources in found}


def on_it(warehouse: Path, places: Sequence[Place], name: str = "mine") -> list[int]:
    """Which of these places' alerts are on the list, by their own source, by number."""
    found = listed(warehouse, name)
    return [number for number, (alert_id, _, _) in enumerate(places) if f"s{alert_id}" in found[alert_id]]


def test_alerts_on_a_list_have_its_sources_and_a_rematch_asks_nothing_twice(
    archive: Path, places: list[Place], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    some, warehouse = places[:5], tmp_path / "w"
    path = write_list(tmp_path / "mine.csv", some, [9.9, 10.1, None, 900.0, 1.0])
    monkeypatch.chdir(tmp_path)
    given = (
        "--watchlist",
        "mine=mine.csv?radius_arcsec=12",
        "--crossmatch",
        "file:mine.csv?radius_arcsec=12&radius=radius_arcsec",
    )
    assert run(warehouse, archive, flags=given) == 0
    said = capsys.readouterr().out
    assert "watchlist:mine" in said
    # Of its own radius, of the list's, and of all that others have.
    assert on_it(warehouse, some) == [1, 2, 3]
    assert len(listed(warehouse)) == ask(warehouse, "SELECT COUNT(DISTINCT alert_id) FROM ztf_alerts")[0][0]
    own = "SELECT DISTINCT radius_arcsec FROM crossmatches WHERE catalog = 'watchlist:mine'"
    assert ask(warehouse, own) == [(900.0,)]
    # A catalog of the same file says the same, while no star moves.
    same = "SELECT alert_id, radius_arcsec, status, matches FROM crossmatches WHERE catalog = '{}' ORDER BY ALL"
    assert ask(warehouse, same.format(f"file:{path}")) == ask(warehouse, same.format("watchlist:mine"))
    (options,) = ask(warehouse, "SELECT options FROM runs")
    kept = json.loads(options[0])
    assert kept["watchlist"] == [f"mine={path}?radius_arcsec=12.0"]
    assert kept["crossmatch"] == [f"file:{path}?radius=radius_arcsec&radius_arcsec=12.0"]

    again = ["--warehouse", str(warehouse), *given]
    before = rows(warehouse, "crossmatches", ())
    assert rematch.run(again) == 0
    assert NOTHING_TO_ASK in capsys.readouterr().out
    assert rows(warehouse, "crossmatches", ()) == before
    # A list that has changed is asked again when a person says so.
    write_list(path, some, [11.0, 1.0, None, 900.0, 1.0])
    assert rematch.run([*again, "--again"]) == 0
    assert on_it(warehouse, some) == [0, 2, 3]


def test_a_rematch_knows_how_a_list_that_has_failed_was_asked(
    archive: Path, places: list[Place], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some, warehouse = places[:4], tmp_path / "w"
    path = write_list(tmp_path / "a b.csv", some, [9.9, 10.1, None, 900.0])
    assert run(warehouse, archive, flags=("--watchlist", f"mine={path}?radius_arcsec=10.5&id=name")) == 0
    assert on_it(warehouse, some) == [1, 2, 3]
    expected = listed(warehouse)
    (file,) = (warehouse / "crossmatches").rglob("*.parquet")
    answered = pq.read_table(file)
    # As rows are when the file cannot be read: with the radius that was asked for, and nothing found.
    values = {"status": "failed", "error": "gone", "radius_arcsec": 10.5, "matches": []}
    failed = {
        name: pa.array([values[name]] * answered.num_rows, answered.schema.field(name).type) if name in values else answered[name]
        for name in answered.schema.names
    }
    pq.write_table(pa.table(failed).cast(answered.schema), file)
    by_hand(warehouse)
    assert not any(listed_sources for listed_sources in listed_raw(warehouse).values())
    capsys.readouterr()
    assert rematch.run(["--warehouse", str(warehouse)]) == 0
    assert "watchlist:mine" in capsys.readouterr().out
    assert listed(warehouse) == expected
    assert pc.all(pc.equal(rows(warehouse, "crossmatches_unique")["radius_arcsec"], 900.0)).as_py()
    assert rematch.run(["--warehouse", str(warehouse)]) == 0
    assert NOTHING_TO_ASK in capsys.readouterr().out
    # Who does not know which file it was does not guess.
    pq.write_table(pa.table(failed).cast(answered.schema), file)
    shutil.rmtree(warehouse / "runs")
    for other in set((warehouse / "crossmatches").rglob("*.parquet")) - {file}:
        other.unlink()
    by_hand(warehouse)
    assert rematch.run(["--warehouse", str(warehouse)]) == status.WRONG_OPTIONS
    assert "no run says which file watchlist:mine is; give it: --watchlist mine=FILE" in capsys.readouterr().err


def listed_raw(warehouse: Path) -> dict[int, list]:
    return dict(ask(warehouse, "SELECT alert_id, matches FROM crossmatches_unique"))


def audited(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    """The faults that ``broker audit`` reports, by kind."""
    parser = argparse.ArgumentParser()
    audit.add_arguments(parser)
    capsys.readouterr()
    audit.main(parser.parse_args([*words, "--no_cutouts", "--format", "json"]))
    return {kind: found for kind, found in json.loads(capsys.readouterr().out)["faults"].items() if found}


def test_an_audit_asks_for_rows_of_a_list(
    archive: Path, places: list[Place], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_list(tmp_path / "mine.csv", places[:3], [15.0] * 3)
    assert run(tmp_path / "w", archive, flags=("--watchlist", f"mine={path}", "--no_cutouts")) == 0
    words = ("--input", str(archive), "--warehouse", str(tmp_path / "w"))
    assert audited(capsys, *words) == {}
    assert audited(capsys, *words, "--crossmatch", "watchlist:mine") == {}
    found = audited(capsys, *words, "--crossmatch", "watchlist:other")
    assert set(found) == {"without_crossmatch"}
    assert "broker rematch" in found["without_crossmatch"][0]["remedy"]
    assert found["without_crossmatch"][0]["remedy"].endswith("--watchlist other=FILE")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("none.csv", None, r"none.csv cannot be opened"),
        ("list.csv", "", "list.csv is empty"),
        ("list.csv", "ra,dec\n", "list.csv has no rows"),
        ("list.csv", "x,y\n1,2\n", "no columns of"),
        ("list.csv", "ra,dec,radius_arcsec\n1,2,wide\n", "holds text such as 'wide'"),
        ("list.csv", "id,ra,dec,radius_arcsec\nM31,1,2,-3\n", "row 0 (from 0), 'M31', of"),
        ("list.txt", "ra,dec\n1,2\n", "is of no format read as a table"),
    ],
)
def test_what_is_no_list_stops_the_start_with_a_sentence(
    archive: Path, tmp_path: Path, name: str, text: str | None, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    warehouse = tmp_path / "w"
    assert run(warehouse, archive, flags=("--watchlist", f"mine={tmp_path / name}")) == status.WRONG_OPTIONS
    said = capfd.readouterr().err
    assert f"--watchlist: mine: {tmp_path / name}" in said or f"of {tmp_path / name}" in said
    assert told in said
    assert said.count("\n") == 1
    assert not warehouse.exists()


def test_two_lists_of_one_name_and_a_name_that_is_none_stop_the_start(
    archive: Path, places: list[Place], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = write_list(tmp_path / "mine.csv", places[:1], [1.0])
    two = ("--watchlist", f"mine={path}", "--watchlist", f"MINE={path}")
    assert run(tmp_path / "w", archive, flags=two) == status.WRONG_OPTIONS
    assert "--watchlist: two lists have the name 'MINE'" in capfd.readouterr().err
    assert run(tmp_path / "w", archive, flags=("--watchlist", str(path))) == status.WRONG_OPTIONS
    assert "names no list; write NAME=FILE" in capfd.readouterr().err
    assert run(tmp_path / "w", archive, flags=("--crossmatch", "watchlist:mine")) == status.WRONG_OPTIONS
    assert "names no catalog" in capfd.readouterr().err


def test_rounds_read_a_list_again_and_keep_it_where_it_became_wrong(
    places: list[Place], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    """Three archives of one sky, a round each: the list is changed after the first, and damaged after the second."""
    folder, path = tmp_path / "in", tmp_path / "mine.csv"
    folder.mkdir()
    for number, seed in enumerate((21, 22, 23)):
        made = simulated(tmp_path_factory.mktemp("night"), "--alerts", "8", "--seed", str(seed), "--archive", "tar")
        (archive,) = made.glob("*.tar")
        shutil.copy(archive, folder / f"{number}.tar")
        os.utime(folder / f"{number}.tar", (time.time() - 3600 + number,) * 2)
    plain = tmp_path / "plain"
    assert run(plain, folder, flags=("--no_cutouts",)) == 0
    sky = ask(plain, "SELECT alert_id, ra_deg, dec_deg, source FROM ztf_alerts ORDER BY 1")
    everything = [one[:3] for one in sky]
    write_list(path, everything, [10.1] * len(everything))
    contents = iter([lambda: write_list(path, everything, [9.9] * len(everything)), lambda: path.write_text("ra,dec\n")])
    done = []

    def each(counts) -> None:
        done.append(counts.run_id)
        next(contents, lambda: None)()
        if path.exists():
            os.utime(path, (len(done),) * 2)

    place = tmp_path / "w"
    words = ["--watch", str(folder), "--warehouse", str(place), "--every_secs", "0.2", "--once", "--no_cutouts"]
    words += ["--round_mb", "0.01", "--watchlist", f"mine={path}"]
    with caplog.at_level(logging.WARNING):
        assert rounds.run(parse(words), words, each) == 0
    assert len(done) == 3
    # Of each alert whether its own source is there: two simulated asteroids may be near each other.
    of_run = dict(ask(place, "SELECT alert_id, run_id FROM ztf_alerts"))
    matched = {everything[number][0] for number in on_it(place, everything)}
    assert matched == {alert_id for alert_id, run_id in of_run.items() if run_id == done[0]}
    assert len(of_run) == len(listed(place)) == 24
    kept = [record for record in caplog.records if "stays as it was" in record.getMessage()]
    assert len(kept) == 1
    assert "has no rows" in kept[0].getMessage()


def test_the_direct_runner_and_several_processes_say_the_same(archive: Path, places: list[Place], tmp_path: Path) -> None:
    some = places[:4]
    path = write_list(tmp_path / "mine.csv", some, [9.9, 10.1, None, 900.0])
    flags = ("--watchlist", f"mine={path}?radius_arcsec=10.5", "--no_cutouts")
    found = {}
    for name, more in {"local": (), "direct": ("--runner", "DirectRunner"), "processes": ("--direct_num_workers", "2")}.items():
        assert run(tmp_path / name, archive, flags=(*flags, *more)) == 0
        found[name] = rows(tmp_path / name, "crossmatches_unique", ("asked_at",))
    assert found["local"] == found["direct"] == found["processes"]
    assert on_it(tmp_path / "direct", some) == [1, 2, 3]
