"""Features computed of a folder's alerts: killed at any step, or while somebody ingests again, nothing is there twice."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

import warehouses
from tests.warehouses.commits import ZTF, alerts, at_every_step, from_input, put
from warehouses.computed import Computed
from warehouses.folder import add_features, compact, readers
from warehouses.folder.beside import Beside

NIGHTS = date(2026, 9, 17), date(2026, 9, 17)
COUNT = 4


def filled(place: Path) -> Path:
    """Two inputs, each with its files."""
    for unit in range(2):
        rows = alerts(count=2 * COUNT).slice(COUNT * unit, COUNT)
        put(str(place), f"run{unit}", (f"{unit}.tar",), from_input(rows, f"{unit}.tar#x"))
    return place


def added(place: Path, run_id: str = "features", *, again: bool = True) -> Computed:
    return sum(add_features.add_features(str(place), ZTF, NIGHTS, run_id, again=again), Computed())


def check(place: Path, about: object) -> None:
    """Each alert has one row of features, in the file that goes with its own."""
    paths = readers.begun(str(place)).live.column("path").to_pylist()
    own = [Beside(paths).of_table(path, "ztf_features") for path in paths if path.startswith("ztf_alerts/")]
    assert sorted(map(str, own)) == sorted(path for path in paths if path.startswith("ztf_features/")), about
    with warehouses.open(str(place)) as opened:
        together = "ztf_alerts a FULL JOIN ztf_features f USING (night, alert_id, packet_digest)"
        [row] = opened.query(f"SELECT count(*) AS n, count(a.run_id) AS a, count(f.run_id) AS f FROM {together}").to_pylist()
    assert row["n"] == row["a"] == row["f"], about


def test_whatever_kills_it_leaves_each_alert_one_row_and_the_next_time_does_the_rest(tmp_path: Path) -> None:
    def killed(place: Path, about: object) -> None:
        check(place, about)
        assert added(place, "rest") == Computed(seen=2 * COUNT, computed=2 * COUNT), about
        check(place, about)
        live = set(readers.begun(str(place)).live.column("path").to_pylist())
        assert {str(path.relative_to(place)) for path in place.glob("ztf_*/*/*.parquet")} == live, about

    first = filled(tmp_path / "first")
    assert at_every_step(first, tmp_path, lambda place: added(Path(place)), killed, power_loss=False) > 4


def test_what_was_ingested_again_meanwhile_is_computed_of_what_is_there_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = filled(tmp_path)
    rows_of = add_features.rows_of

    def beside(*given: object) -> object:
        monkeypatch.setattr(add_features, "rows_of", rows_of)
        put(str(place), "beside", ("1.tar",), from_input(alerts(count=3, seed=9), "1.tar#new"))
        return rows_of(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(add_features, "rows_of", beside)
    assert added(place) == Computed(seen=COUNT + 3, computed=COUNT + 3)
    check(place, "beside")
    assert added(place, again=False) == Computed(seen=COUNT + 3, had=COUNT + 3)


def test_files_are_compacted_with_features_that_were_computed_again(tmp_path: Path) -> None:
    place = filled(tmp_path)
    added(place)
    assert compact.compact(str(place)) == (6, 3)
    check(place, "compacted")
    put(str(place), "again", ("1.tar",), from_input(alerts(count=3, seed=9), "1.tar#new"))
    check(place, "one of its inputs again")
    assert added(place, again=False) == Computed(seen=COUNT + 3, had=COUNT + 3)
