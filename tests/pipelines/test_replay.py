"""Dead letters through the pipeline again: what passes is marked, what fails keeps its history."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import time_machine

from broker import cli
from schemas import known_schemas
from schemas.tables import DEAD_LETTERS
from tests.nights import ask, rows, run, simulated, truth

_NEWEST_ID = 1099
TABLES = ("lsst_alerts", "lsst_cutouts", "lsst_features")
OF_THE_RUN = ("run_id", "ingested_at", "computed_at")


@pytest.fixture
def night(tmp_path: Path) -> Path:
    """Wire messages of LSST, as if of a schema version that is not built in, and some that no schema can mend."""
    flags = ("--survey", "lsst", "--framing", "wire", "--alerts", "30", "--damaged", "6", "--seed", "4", "--archive", "folder")
    folder = simulated(tmp_path / "night", *flags)
    good = [one["name"] for one in truth(folder) if one["kind"] == "good"]
    for name in good[:20]:
        (message,) = folder.rglob(name)
        message.write_bytes(b"\x00" + _NEWEST_ID.to_bytes(4, "big") + message.read_bytes()[5:])
    return folder


def replay(warehouse: Path, *flags: str) -> int:
    return cli.main(["replay", "--warehouse", str(warehouse), *flags])


def supply(folder: Path) -> tuple[str, str]:
    """Somebody supplies the schema: the flags that say so."""
    (folder / "schemas").mkdir()
    (folder / "schemas" / f"{_NEWEST_ID}.avsc").write_text(json.dumps(known_schemas("lsst")["10.0"]))
    return "--schemas", str(folder / "schemas")


def test_letters_pass_when_their_schema_is_supplied(night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warehouse, whole = tmp_path / "warehouse", tmp_path / "whole"
    assert run(warehouse, night) == 0
    unknown = ask(warehouse, "SELECT count(*) FROM dead_letters WHERE error_type = 'UnknownSchema' AND message LIKE '%1099%'")[0][
        0
    ]
    open_before = ask(warehouse, "SELECT count(*) FROM dead_letters_open")[0][0]
    assert unknown == 20
    assert open_before == ask(warehouse, "SELECT count(*) FROM dead_letters")[0][0]

    # Before the fix: all fail again, and the history grows while the open letters stay what they are.
    capsys.readouterr()
    assert replay(warehouse) == 0
    assert f"replayed {open_before} dead letters: 0 passed, {open_before} failed again" in capsys.readouterr().out
    assert ask(warehouse, "SELECT count(*) FROM dead_letters")[0][0] == 2 * open_before
    assert ask(warehouse, "SELECT count(*) FROM dead_letters_open")[0][0] == open_before

    # The fix: somebody supplies the schema.
    supplied = supply(tmp_path)
    assert replay(warehouse, *supplied) == 0
    left = open_before - unknown
    assert f"replayed {open_before} dead letters: {unknown} passed, {left} failed again" in capsys.readouterr().out
    assert ask(warehouse, "SELECT count(*) FROM dead_letters_open") == [(left,)]
    assert ask(
        warehouse, "SELECT count(*) FROM dead_letters_open WHERE error_type = 'UnknownSchema' AND message LIKE '%1099%'"
    ) == [(0,)]

    # The rows are those of a run that had the schema from the beginning, their source too.
    assert run(whole, night, flags=supplied) == 0
    for table in TABLES:
        assert rows(warehouse, table, OF_THE_RUN).equals(rows(whole, table, OF_THE_RUN))


def test_replayed_rows_go_when_their_input_is_ingested_again(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, whole = tmp_path / "warehouse", tmp_path / "whole"
    supplied = supply(tmp_path)
    assert run(whole, night, flags=supplied) == 0
    assert run(warehouse, night) == 0
    # A replay that dies before it has marked the letters, and again.
    with monkeypatch.context() as dying:
        dying.setattr("pipelines.replay._marks", lambda *_: 1 / 0)
        assert replay(warehouse, *supplied) == 1
    assert replay(warehouse, *supplied) == 0
    for again in (False, True):
        if again:
            assert run(warehouse, night, flags=supplied) == 0
        for table in TABLES:
            assert rows(warehouse, table).equals(rows(whole, table))


def test_a_stage_can_be_chosen_and_marked_letters_are_left_alone(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse = tmp_path / "warehouse"
    assert run(warehouse, night) == 0
    stages = dict(ask(warehouse, "SELECT stage, count(*) FROM dead_letters_open GROUP BY 1"))
    capsys.readouterr()
    assert replay(warehouse, "--stage", "decode") == 0
    assert f"replayed {stages['decode']} dead letters: 0 passed" in capsys.readouterr().out


def test_letters_from_a_clock_that_was_ahead_are_marked_too(night: Path, tmp_path: Path) -> None:
    """The newest row of a letter counts, and the mark must be that one."""
    warehouse = tmp_path / "warehouse"
    with time_machine.travel(datetime.now(timezone.utc) + timedelta(hours=5)):
        assert run(warehouse, night) == 0
    supplied = supply(tmp_path)
    for _ in range(2):
        assert replay(warehouse, *supplied) == 0
        assert ask(warehouse, "SELECT count(*) FROM dead_letters_open WHERE message LIKE '%1099%'") == [(0,)]
        assert ask(warehouse, "SELECT count(*), count(DISTINCT alert_id) FROM lsst_alerts") == [(30, 30)]


def test_nothing_to_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = simulated(tmp_path / "night", "--alerts", "5")
    assert run(tmp_path / "warehouse", folder) == 0
    assert replay(tmp_path / "warehouse") == 0
    assert "replayed 0 dead letters" in capsys.readouterr().out


def test_a_folder_that_is_no_warehouse_is_named_and_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert replay(tmp_path / "misspelt") == 2
    assert "misspelt holds no tables; fill it with: broker ingest" in capsys.readouterr().err
    assert not (tmp_path / "misspelt").exists()


def some_table(warehouse: Path) -> None:
    """What makes a folder a warehouse, for runs that end before they read it."""
    (warehouse / "dead_letters").mkdir()
    pq.write_table(DEAD_LETTERS.arrow_schema.empty_table(), warehouse / "dead_letters" / "none.parquet")


def test_a_replay_takes_no_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some_table(tmp_path)
    assert replay(tmp_path, "--input", "x.avro") == 2
    assert "a replay reads dead letters" in capsys.readouterr().err


def test_a_replay_stays_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some_table(tmp_path)
    assert replay(tmp_path, "--runner", "DataflowRunner") == 2
    assert "leave it out" in capsys.readouterr().err


def test_letters_that_failed_again_go_when_their_input_is_ingested_again(
    night: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else they would stay open for ever, and the next replay would make rows of them beside those of the ingest."""
    warehouse, whole = tmp_path / "warehouse", tmp_path / "whole"
    supplied = supply(tmp_path)
    assert run(whole, night, flags=supplied) == 0
    assert run(warehouse, night) == 0
    assert replay(warehouse) == 0
    assert run(warehouse, night, flags=supplied) == 0
    left = ask(whole, "SELECT count(*) FROM dead_letters_open")
    assert ask(warehouse, "SELECT count(*) FROM dead_letters_open") == left
    assert replay(warehouse, *supplied) == 0
    assert ask(warehouse, "SELECT count(*), count(DISTINCT alert_id) FROM lsst_alerts") == [(30, 30)]
    assert ask(warehouse, "SELECT count(*) FROM dead_letters_open") == left
    for table in TABLES:
        assert rows(warehouse, table).equals(rows(whole, table))
    capsys.readouterr()
    assert cli.main(["audit", "--input", str(night), "--warehouse", str(warehouse), *supplied]) == 0


def test_a_replay_that_died_before_its_marks_is_replaced_by_one_of_more_letters(
    night: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse, whole = tmp_path / "warehouse", tmp_path / "whole"
    supplied = supply(tmp_path)
    assert run(whole, night, flags=supplied) == 0
    assert run(warehouse, night) == 0
    with monkeypatch.context() as dying:
        dying.setattr("pipelines.replay._marks", lambda *_: 1 / 0)
        assert replay(warehouse, *supplied, "--max_letters", "11") == 1
    assert 0 < ask(warehouse, "SELECT count(*) FROM lsst_alerts")[0][0] < 30
    assert replay(warehouse, *supplied) == 0
    for table in TABLES:
        assert rows(warehouse, table).equals(rows(whole, table))
