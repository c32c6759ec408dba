"""Many small files become few sorted ones, and nothing else changes: rows, what replaces what, who reads meanwhile."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import warehouses
from broker import cli
from schemas.outbox import OUTBOX
from schemas.tables import CROSSMATCHES, OFFSETS, RUNS
from tests.warehouses.commits import alerts, at_every_step, from_input, put, write
from warehouses import StaleRun
from warehouses.folder import claims, compact, readers
from warehouses.folder.commit import commit
from warehouses.folder.parquet_files import UnitWriter
from warehouses.offsets import done, offset_rows
from warehouses.units import Unit, WrittenFile

TABLES = ("ztf_alerts", "ztf_cutouts", "ztf_features")
ALL = "SELECT * FROM {} ORDER BY ALL"
LOOKS = "SELECT a.source, f.* FROM ztf_alerts a JOIN ztf_features f USING (night, alert_id, packet_digest) ORDER BY ALL"
STAMPS = "SELECT a.source, c.* FROM ztf_alerts a JOIN ztf_cutouts c USING (night, alert_id, packet_digest) ORDER BY ALL"
FILES = 6


def filled(place: Path, number: int = FILES) -> Path:
    """A night in so many units of one input each, whose rows do not lie in order."""
    rows = alerts(count=4 * number)
    order = pa.compute.sort_indices(rows.column("packet_digest"))
    rows = rows.take(order)
    for unit in range(number):
        put(str(place), f"run{unit}", (f"{unit}.tar",), from_input(rows.slice(4 * unit, 4), f"{unit}.tar#x"))
    return place


def rows_of(place: Path) -> list[pa.Table]:
    with warehouses.open(str(place)) as opened:
        return [opened.query(sql).table for sql in (*map(ALL.format, TABLES), STAMPS, LOOKS)]


def test_rows_and_their_stamps_stay_and_lie_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = filled(tmp_path)
    before = rows_of(place)
    assert cli.main(["compact", "--warehouse", str(place), "--night", "2026-01-01"]) == 0
    assert f"{3 * FILES} files before, {3 * FILES} after" in capsys.readouterr().out
    assert cli.main(["compact", "--warehouse", str(place)]) == 0
    assert f"{3 * FILES} files before, 3 after" in capsys.readouterr().out
    assert rows_of(place) == before
    assert {len(list(place.glob(f"{table}/*/*.parquet"))) for table in TABLES} == {1}
    [file] = place.glob("ztf_alerts/*/*.parquet")
    rows = pq.ParquetFile(file).read(columns=["healpix29", "object_id"]).to_pylist()
    keys = [(row["healpix29"] >> 34, row["object_id"]) for row in rows]
    assert keys == sorted(keys)
    assert cli.main(["compact", "--warehouse", str(place)]) == 0
    assert "3 files before, 3 after" in capsys.readouterr().out


def test_a_run_again_still_replaces_what_was_there_for_its_input(tmp_path: Path) -> None:
    place = filled(tmp_path)
    compact.compact(str(place))
    new = alerts(count=3, seed=9)
    put(str(place), "again", ("2.tar",), from_input(new, "2.tar#new"))
    with warehouses.open(str(place)) as opened:
        found = opened.query("SELECT source, COUNT(*) AS n FROM ztf_alerts GROUP BY source").to_pylist()
        [stamps] = opened.query(f"SELECT COUNT(*) AS n FROM ({STAMPS})").to_pylist()
    expected = {f"{unit}.tar#x": 4 for unit in range(FILES) if unit != 2} | {"2.tar#new": new.num_rows}
    assert {row["source"]: row["n"] for row in found} == expected
    assert stamps["n"] == sum(expected.values())
    # And once more, after it has been compacted with the others again.
    compact.compact(str(place))
    assert len(list(place.glob("ztf_alerts/*/*.parquet"))) == 1
    put(str(place), "and again", tuple(f"{unit}.tar" for unit in range(FILES)), from_input(new, "all"))
    with warehouses.open(str(place)) as opened:
        assert opened.query("SELECT DISTINCT source FROM ztf_alerts").to_pylist() == [{"source": "all"}]


@pytest.mark.parametrize("power_loss", [False, True], ids=["killed", "power loss"])
def test_what_dies_at_any_step_leaves_all_rows_once(tmp_path: Path, power_loss: bool) -> None:
    first = filled(tmp_path / "first", 3)
    before = rows_of(first)

    def check(place: Path, about: object) -> None:
        assert rows_of(place) == before, about
        put(str(place), "next", ("other.tar",), from_input(alerts(count=2, seed=5), "other.tar"))
        put(str(place), "next2", ("other.tar",), from_input(alerts(count=2, seed=5), "other.tar"))
        live = set(readers.begun(str(place)).live.column("path").to_pylist())
        assert {str(path.relative_to(place)) for path in place.glob("ztf_*/*/*.parquet")} == live, about

    assert at_every_step(first, tmp_path, compact.compact, check, power_loss=power_loss) > 4


def test_what_was_ingested_again_meanwhile_is_left_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filled(tmp_path)
    write_rows = compact.write_rows

    def beside(*given: object, **options: object) -> object:
        monkeypatch.setattr(compact, "write_rows", write_rows)
        put(str(place), "beside", ("2.tar",), from_input(alerts(count=3, seed=9), "2.tar#new"))
        return write_rows(*given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(compact, "write_rows", beside)
    compact.compact(str(place))
    after = rows_of(place)
    assert len(after[0]) == 4 * (FILES - 1) + 3
    assert len(list(place.glob("ztf_alerts/*/*.parquet"))) == FILES
    compact.compact(str(place))
    assert (rows_of(place), len(list(place.glob("ztf_alerts/*/*.parquet")))) == (after, 1)


def test_a_night_of_many_files_is_compacted_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "MANY_FILES", FILES)
    place = filled(tmp_path, FILES - 1)
    opened = warehouses.at(str(place))
    assert opened.tidy("run0") is None
    put(str(place), "one more", ("more.tar",), from_input(alerts(count=2, seed=5), "more.tar"))
    # Another run's nights are its own affair.
    assert opened.tidy("elsewhere") is None
    done = opened.tidy("one more")
    assert done is not None
    assert (done.before, done.after) == (3 * FILES, 3)
    assert opened.tidy("one more") is None


def test_rebuild_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = filled(tmp_path, 2)
    next(place.glob("ztf_cutouts/*/*.parquet")).unlink()
    assert cli.main(["compact", "--rebuild", "--warehouse", str(place)]) == 0
    assert "the manifest names the 5 files that are there" in capsys.readouterr().out
    assert cli.main(["compact", "--rebuild", "--warehouse", "bigquery://p/d"]) == 2
    assert "only a folder or gs://BUCKET/FOLDER has a manifest" in capsys.readouterr().err
    assert cli.main(["compact", "--warehouse", str(tmp_path / "none")]) == 2
    assert "holds no tables" in capsys.readouterr().err


def test_input_by_input_again_after_compaction(tmp_path: Path) -> None:
    place = filled(tmp_path, 3)
    compact.compact(str(place))
    for again in range(2):
        for unit in range(3):
            put(str(place), f"again{unit}", (f"{unit}.tar",), from_input(alerts(count=2, seed=unit + 3), f"{unit}.tar#{again}"))
        compact.compact(str(place))
        with warehouses.open(str(place)) as opened:
            found = opened.query("SELECT source, COUNT(*) AS n FROM ztf_alerts GROUP BY source").to_pylist()
        assert {row["source"]: row["n"] for row in found} == {f"{unit}.tar#{again}": 2 for unit in range(3)}
        assert len(list(place.glob("_inputs/*.json"))) == 1


def test_a_compaction_that_was_cleared_away_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = filled(tmp_path, 3)
    before = rows_of(place)
    take = compact._Group._take

    def swept(group: Any, *given: Any) -> bool:
        shutil.rmtree(place / "_tmp")
        return take(group, *given)

    monkeypatch.setattr(compact._Group, "_take", swept)
    with pytest.raises(StaleRun):
        compact.compact(str(place))
    assert rows_of(place) == before


def test_a_folder_from_before_is_compacted_as_far_as_it_says_what_it_is_of(tmp_path: Path) -> None:
    place = filled(tmp_path, 4)
    shutil.rmtree(place / "_manifest")
    stranger = sorted(place.glob("ztf_alerts/*/*.parquet"))[0]
    stranger.rename(stranger.with_name("unknown-0-000.parquet"))
    before = rows_of(place)[:2]
    assert compact.compact(str(place)) == (12, 6)
    assert rows_of(place)[:2] == before
    put(str(place), "again", ("3.tar",), from_input(alerts(count=2, seed=3), "3.tar#new"))
    with warehouses.open(str(place)) as opened:
        sources = {row["source"] for row in opened.query("SELECT DISTINCT source FROM ztf_alerts").to_pylist()}
    assert "3.tar#new" in sources
    # What is in a file of nobody knows what is replaced by nothing.
    unknown = pq.ParquetFile(next(place.glob("ztf_alerts/*/unknown*"))).read()["source"].to_pylist()
    assert ("3.tar#x" in sources) == ("3.tar#x" in unknown)


def a_round(place: Path, number: int, per_round: int, night: datetime) -> None:
    """A round's alerts with their stamps, matches and offsets, its row in ``runs``, and what it does at its end."""
    began = night + timedelta(seconds=5 * number)
    run_id, uri = f"{began:%Y%m%dT%H%M%SZ}-{number:08x}", f"kafka://cluster/group/{number:06}"
    unit, rows = Unit((uri,)), alerts(count=200).slice(per_round * number % 200, per_round)
    with claims.claim(str(place), run_id, (uri,)):
        files = write(str(place), run_id, unit.key, from_input(rows, f"kafka://cluster/topic/0/{number}"))
        beside = [offset_rows("cluster", "group", [("topic", 0, number, number + 1)], unit.key, run_id), matches_of(rows)]
        writer = UnitWriter(str(place), run_id, unit.key)
        for table, some in zip((OFFSETS, CROSSMATCHES), beside, strict=True):
            files += writer.write(table, some)
        commit(str(place), run_id, [unit], [*files, *writer.close()], fenced=True)
    warehouse = warehouses.at(str(place))
    warehouse.add(RUNS, run_row(run_id, began, per_round), run_id)
    warehouse.tidy(run_id, in_rounds=True)


def matches_of(rows: pa.RecordBatch) -> pa.RecordBatch:
    asked = {"catalog": "file:stars", "radius_arcsec": 1.0, "asked_at": datetime.now(UTC), "status": "no_match", "matches": []}
    own = rows.select([name for name in CROSSMATCHES.arrow_schema.names if name in rows.schema.names]).to_pylist()
    return pa.RecordBatch.from_pylist([{**row, **asked, "survey": "ztf"} for row in own], schema=CROSSMATCHES.arrow_schema)


def run_row(run_id: str, began: datetime, alerts_written: int) -> pa.RecordBatch:
    counts = dict.fromkeys(("inputs_skipped", "copies", "conflicts", "dead_letters"), 0)
    row = {"run_id": run_id, "version": "1", "options": "{}", "status": "done", "counts": "{}", **counts}
    row |= {"started_at": began, "ended_at": began, "records_read": alerts_written, "alerts_written": alerts_written}
    return pa.RecordBatch.from_pylist([row], schema=RUNS.arrow_schema)


def test_a_night_that_came_in_many_rounds_is_few_files_in_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some megabytes stand here for the gigabytes of a night, and files are full sooner by as much."""
    monkeypatch.setattr(compact, "FILE_BYTES", 2**20)
    written: list[int] = []
    write_rows = compact.write_rows

    def weighed(*given: Any, **options: Any) -> WrittenFile:
        file = write_rows(*given, **options)
        written.append(file.size_bytes)
        return file

    monkeypatch.setattr(compact, "write_rows", weighed)
    most: Counter[str] = Counter()
    rounds = 120
    for number in range(rounds):
        a_round(tmp_path / "w", number, 1, datetime(2026, 9, 17, 3, tzinfo=UTC))
        live = readers.begun(str(tmp_path / "w")).live
        most |= Counter(live.column("table").to_pylist())
    size_bytes = sum(live.column("bytes").to_pylist())
    full = -(-size_bytes // (compact.FILE_BYTES // 2))
    assert set(most) == {*TABLES, "crossmatches", "offsets", "runs"}
    assert max(most.values()) <= compact.MANY_ROUNDS - 1 + full <= 30
    assert max(most["crossmatches"], most["offsets"], most["runs"]) < compact.MANY_ROUNDS
    assert sum(written) < 8 * size_bytes, "a night's rows are written again and again"
    # What every commit writes does not grow with the rounds of nights that are over.
    assert all(len(runs or ()) == 0 for runs in live.filter(pc.greater(live.column("rows"), 1)).column("runs").to_pylist())
    with warehouses.open(str(tmp_path / "w")) as opened:
        for table in (*TABLES, "crossmatches", "offsets", "runs"):
            assert opened.query(f"SELECT COUNT(*) AS n FROM {table}").to_pylist() == [{"n": rounds}], table
        assert done(opened, "cluster", "group") == {("topic", 0): rounds}


def test_of_a_file_that_is_put_together_it_is_known_which_runs_may_still_ask(tmp_path: Path) -> None:
    place = str(tmp_path)
    now, old = datetime.now(UTC), datetime(2026, 1, 1, tzinfo=UTC)
    new_one, old_one, held = (f"{moment:%Y%m%dT%H%M%SZ}-{name}" for moment, name in ((now, "new"), (old, "old"), (old, "held")))
    with claims.claim(place, held, ()):
        assert compact._still_asked_for(place, [held, new_one, old_one, "by hand"]) == [held, new_one, "by hand"]
    assert compact._still_asked_for(place, None) is None


def test_what_was_written_without_an_input_is_few_files_too(tmp_path: Path) -> None:
    """Rows of the outbox, which do not tell of which input they are."""
    moment = datetime(2026, 9, 17, 3, tzinfo=UTC)
    for number in range(3):
        own = f"run{number}"
        rows = [{"id": f"{number:032x}", "topic": "folder:/hits", "key": "dia:7", "written_at": moment, "run_id": own}]
        with warehouses.at(str(tmp_path)) as place, place.claim(own, {"rows"}):
            place.add(OUTBOX, pa.RecordBatch.from_pylist(rows, schema=OUTBOX.arrow_schema), own)
    for before in (3, 1):
        assert compact.compact(str(tmp_path)) == (before, 1)
        with warehouses.open(str(tmp_path)) as opened:
            assert [row["run_id"] for row in opened.query("SELECT run_id FROM outbox ORDER BY 1").to_pylist()] == [
                "run0",
                "run1",
                "run2",
            ]
