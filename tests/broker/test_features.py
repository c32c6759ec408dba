"""``broker features``: what it computes of stored alerts is what ingest computes, and files stay beside those of their alerts."""

from __future__ import annotations

import importlib
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import warehouses
from alerts.features.table import rows_of
from alerts.surveys import survey as survey_named
from broker import cli
from tests.alerts.features.test_table import fails_at
from tests.conftest import OURS
from tests.nights import ask, rows, run, simulated
from warehouses.folder import compact, readers
from warehouses.folder.beside import Beside

SURVEYS = ("ztf", "lsst")


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alerts of a simulated night, some of them twice, and what the project keeps of real packets."""
    place = tmp_path_factory.mktemp("night")
    simulated(place, "--alerts", "40", "--duplicates", "3", "--damaged", "0", "--seed", "7")
    for name in ("ztf", "lsst"):
        (place / name).symlink_to(OURS / name)
    return place


@pytest.fixture(scope="module")
def whole(night: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pa.Table]:
    """The features that ingest writes."""
    place = tmp_path_factory.mktemp("whole")
    assert run(place, night) == 0
    return in_all(place)


@pytest.fixture(scope="module")
def without(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same alerts, whose features nobody has computed."""
    place = tmp_path_factory.mktemp("without")
    assert run(place, night, flags=("--no_features",)) == 0
    return place


def in_all(place: Path) -> dict[str, pa.Table]:
    return {survey: rows(place, f"{survey}_features") for survey in SURVEYS}


def features(place: Path, capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, int]:
    """What the account tells."""
    capsys.readouterr()
    assert cli.main(["features", "--warehouse", str(place), *flags]) == 0
    out = capsys.readouterr().out
    return {name: int(count.replace(",", "")) for name, count in re.findall(r"^  (\w[\w ]+?) +([\d,]+)$", out, re.MULTILINE)}


def account(seen: int, had: int = 0, computed: int = 0, failed: int = 0, without: int = 0) -> dict[str, int]:
    told = {"alerts seen": seen, "had features": had, "computed": computed, "failed": failed}
    return {**told, "without history": without}


def alerts_in(place: Path, condition: str = "true") -> int:
    return sum(ask(place, f"SELECT count(*) FROM {survey}_alerts WHERE {condition}")[0][0] for survey in SURVEYS)


def test_features_of_stored_alerts_are_those_of_ingest(
    without: Path, whole: dict[str, pa.Table], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = shutil.copytree(without, tmp_path / "w")
    every = alerts_in(place)
    assert all(found.num_rows == 0 for found in in_all(place).values())
    # One night, then the rest, and again.
    of_one = alerts_in(place, "night = DATE '2026-09-17'")
    assert features(place, capsys, "--night", "2026-09-17") == account(of_one, computed=of_one)
    assert features(place, capsys, "--night", "2026-09-01..30", "--survey", "ztf") == account(of_one, had=of_one)
    assert features(place, capsys) == account(every, had=of_one, computed=every - of_one)
    assert features(place, capsys) == account(every, had=every)
    found = in_all(place)
    assert all(found[survey].equals(whole[survey]) for survey in SURVEYS)
    assert ask(place, "SELECT count(*) FROM runs WHERE json_extract_string(options, '$.command') = 'features'") == [(2,)]
    # Another definition makes them new, and nothing of the old ones stays.
    newer = {survey: f"newer {survey.name}" for survey in map(survey_named, SURVEYS)}
    with monkeypatch.context() as patch:
        for module in ("alerts.features.table", "warehouses.folder.add_features"):
            patch.setattr(f"{module}.version", newer.get)
        assert features(place, capsys) == account(every, computed=every)
        assert ask(place, "SELECT DISTINCT version FROM ztf_features") == [("newer ztf",)]
    assert features(place, capsys, "--again", "--survey", "lsst")["computed"] == found["lsst"].num_rows
    assert features(place, capsys)["computed"] == found["ztf"].num_rows
    assert all(in_all(place)[survey].equals(whole[survey]) for survey in SURVEYS)


def test_files_of_features_go_where_those_of_their_alerts_go(
    night: Path, without: Path, whole: dict[str, pa.Table], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Compacted, and replaced when an input is ingested again: as if they had been written with the alerts."""
    place = shutil.copytree(without, tmp_path / "w")
    [archive] = night.glob("*.tar.gz")
    features(place, capsys)
    features(place, capsys, "--again")
    assert together(place)
    compact.compact(str(place))
    assert together(place)
    assert all(in_all(place)[survey].equals(whole[survey]) for survey in SURVEYS)
    # Its rows come out of the file that it was compacted into, and are there anew.
    assert run(place, archive) == 0
    assert together(place)
    assert all(in_all(place)[survey].equals(whole[survey]) for survey in SURVEYS)
    assert run(place, archive, flags=("--no_features",)) == 0
    missing = alerts_in(place, "night = DATE '2026-09-17'")
    assert rows(place, "ztf_features").num_rows == whole["ztf"].num_rows - missing
    assert features(place, capsys)["computed"] == missing
    assert all(in_all(place)[survey].equals(whole[survey]) for survey in SURVEYS)
    with warehouses.open(str(place)) as opened:
        opened.rebuild()
    assert all(in_all(place)[survey].equals(whole[survey]) for survey in SURVEYS)


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alerts of one night in two files, without features."""
    place = tmp_path_factory.mktemp("two_runs")
    for seed in ("1", "2"):
        archive = simulated(tmp_path_factory.mktemp("night"), "--alerts", "12", "--seed", seed)
        assert run(place, archive, flags=("--no_features",)) == 0
    return place


@pytest.mark.parametrize(
    ("between", "flags"),
    [
        ("warehouses.folder.add_features.rows_of", ()),
        ("warehouses.folder.add_features.rows_of", ("--again",)),
        ("warehouses.folder.compact.write_rows", ()),
    ],
)
def test_what_is_compacted_while_features_are_computed_has_them_all(
    between: str,
    flags: tuple[str, ...],
    two_runs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever of the two began first: each takes the files that it found, and the other puts its own in their place."""
    place, every = tmp_path / "w", alerts_in(two_runs)
    shutil.copytree(two_runs, place)
    within_compaction = "compact" in between
    meanwhile = [lambda: features(place, capsys) if within_compaction else compact.compact(str(place))]
    module, _, name = between.rpartition(".")
    whose = getattr(importlib.import_module(module), name)

    def once(*given: Any, **named: Any) -> Any:
        while meanwhile:
            meanwhile.pop()()
        return whose(*given, **named)

    monkeypatch.setattr(between, once)
    if within_compaction:
        compact.compact(str(place))
    else:
        assert features(place, capsys, *flags)["computed"] == every
    assert not meanwhile
    assert together(place)
    assert features(place, capsys) == account(every, had=every)
    assert ask(place, "SELECT count(*), count(features) FROM ztf_features") == [(every, every)]


def test_of_two_who_compute_the_same_at_once_one_tells_that_it_was_done(
    two_runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, every = tmp_path / "w", alerts_in(two_runs)
    shutil.copytree(two_runs, place)
    others = []

    def after_the_other(*given: Any) -> Any:
        if not others:
            others.append({})
            others.append(features(place, capsys))
        return rows_of(*given)

    monkeypatch.setattr("warehouses.folder.add_features.rows_of", after_the_other)
    assert features(place, capsys) == account(every, had=every)
    assert others[1] == account(every, computed=every)
    assert together(place)


def test_what_was_ingested_again_while_features_were_computed_stays(
    two_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no file is left that features were computed of, nothing is put in place, and no commit of others is undone."""
    place, every = tmp_path / "w", alerts_in(two_runs)
    shutil.copytree(two_runs, place)
    archives = [source.partition("#")[0] for (source,) in ask(place, "SELECT min(source) FROM ztf_alerts GROUP BY run_id")]
    newest = []

    def ingested_again(*given: Any) -> Any:
        if not newest:
            assert run(place, *archives) == 0
            newest.append(readers.begun(str(place)).version)
        return rows_of(*given)

    monkeypatch.setattr("warehouses.folder.add_features.rows_of", ingested_again)
    assert cli.main(["features", "--warehouse", str(place)]) == 0
    assert readers.begun(str(place)).version >= newest[0]
    assert ask(place, "SELECT count(DISTINCT run_id) FROM ztf_alerts") == [(1,)]
    assert together(place)
    assert ask(place, "SELECT count(*), count(features) FROM ztf_features") == [(every, every)]


def together(place: Path) -> bool:
    """Whether there is a file of features beside each of alerts, and no other."""
    live = readers.begun(str(place)).live
    paths = live.column("path").to_pylist()
    beside = Beside(paths)
    alerts = [path for path in paths if path.split("/")[0] in ("ztf_alerts", "lsst_alerts")]
    own = [beside.of_table(path, path.split("/")[0].replace("_alerts", "_features")) for path in alerts]
    return None not in own and len(own) == sum(path.split("/")[0].endswith("_features") for path in paths)


def test_what_was_stored_without_its_history_has_no_features(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "w"
    [archive] = night.glob("*.tar.gz")
    assert run(place, archive, flags=("--no_history",)) == 0
    assert ask(place, "SELECT count(*) FROM ztf_features") == [(0,)]
    every = alerts_in(place)
    assert features(place, capsys) == account(every, without=every)
    assert cli.main(["features", "--warehouse", str(place)]) == 0
    assert f"{every} alerts have no features, since their history was not stored" in capsys.readouterr().out
    assert run(place, archive, flags=("--no_features",)) == 0
    [(odd,)] = ask(place, "SELECT alert_id FROM ztf_alerts GROUP BY 1 HAVING count(*) = 1 LIMIT 1")
    fails_at(monkeypatch, {odd})
    assert features(place, capsys) == account(every, computed=every, failed=1)
    assert ask(place, "SELECT alert_id FROM ztf_features WHERE features IS NULL") == [(odd,)]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--night", "november"], "--night november is no night"),
        (["--night", "2026-11-07..01"], "no range of nights"),
        (["--survey", "ztff"], "ztff"),
        ([], "holds no tables"),
    ],
)
def test_wrong_options_are_refused(flags: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["features", "--warehouse", str(tmp_path / "w"), *flags]) == 2
    assert why in capsys.readouterr().err
