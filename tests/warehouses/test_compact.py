"""Many small files become few sorted ones, and nothing else changes: rows, what replaces what, who reads meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import warehouses
from broker import cli
from tests.warehouses.commits import alerts, at_every_step, from_input, put
from warehouses import StaleRun
from warehouses.folder import compact, readers

ALL = "SELECT * FROM {} ORDER BY ALL"
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
        return [opened.query(sql).table for sql in (ALL.format("ztf_alerts"), ALL.format("ztf_cutouts"), STAMPS)]


def test_rows_and_their_stamps_stay_and_lie_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = filled(tmp_path)
    before = rows_of(place)
    assert cli.main(["compact", "--warehouse", str(place), "--night", "2026-01-01"]) == 0
    assert f"{2 * FILES} files before, {2 * FILES} after" in capsys.readouterr().out
    assert cli.main(["compact", "--warehouse", str(place)]) == 0
    assert f"{2 * FILES} files before, 2 after" in capsys.readouterr().out
    assert rows_of(place) == before
    assert {len(list(place.glob(f"{table}/*/*.parquet"))) for table in ("ztf_alerts", "ztf_cutouts")} == {1}
    [file] = place.glob("ztf_alerts/*/*.parquet")
    rows = pq.ParquetFile(file).read(columns=["healpix29", "object_id"]).to_pylist()
    keys = [(row["healpix29"] >> 34, row["object_id"]) for row in rows]
    assert keys == sorted(keys)
    assert cli.main(["compact", "--warehouse", str(place)]) == 0
    assert "2 files before, 2 after" in capsys.readouterr().out


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
    assert (done.before, done.after) == (2 * FILES, 2)
    assert opened.tidy("one more") is None


def test_rebuild_is_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = filled(tmp_path, 2)
    next(place.glob("ztf_cutouts/*/*.parquet")).unlink()
    assert cli.main(["compact", "--rebuild", "--warehouse", str(place)]) == 0
    assert "the manifest names the 3 files that are there" in capsys.readouterr().out
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
    assert compact.compact(str(place)) == (8, 4)
    assert rows_of(place)[:2] == before
    put(str(place), "again", ("3.tar",), from_input(alerts(count=2, seed=3), "3.tar#new"))
    with warehouses.open(str(place)) as opened:
        sources = {row["source"] for row in opened.query("SELECT DISTINCT source FROM ztf_alerts").to_pylist()}
    assert "3.tar#new" in sources
    # What is in a file of nobody knows what is replaced by nothing.
    unknown = pq.ParquetFile(next(place.glob("ztf_alerts/*/unknown*"))).read()["source"].to_pylist()
    assert ("3.tar#x" in sources) == ("3.tar#x" in unknown)
