"""Of the files of other nights none is listed where it is plain that they are not asked for, and the answers are the same."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

import warehouses
from tests.warehouses.commits import alerts, put
from warehouses.folder import views
from warehouses.folder.warehouse import FolderWarehouse

COUNT = "SELECT COUNT(*) AS n, MIN(night) AS first, MAX(night) AS last FROM ztf_alerts"
FIRST, NIGHTS = date(2025, 1, 1), 40
PLAIN = {
    "night = DATE '2025-01-03'": 1,
    "night = '2025-01-03'": 1,
    "'x' < 'y' AND night = '2025-01-03' AND ra_deg > 0": 1,
    "NIGHT IN ('2025-01-03', DATE '2025-01-05')": 2,
    "t.night BETWEEN '2025-01-03' AND '2025-01-06'": 4,
    "night = '2025-01-03' OR (night = '2025-01-07' AND ra_deg > 0)": 2,
    "night <= '2025-01-02'": 2,
    "night >= '2025-02-08'": 2,
    "night > '2025-02-08'": 2,  # one more than asked for: DuckDB leaves it out
    "night = '1999-01-01'": 1,  # of each schema one file stays, by which the columns are known
}
"""Conditions, and the files that they need at most."""
NOT_PLAIN = [
    "night = '2025-01-03' OR ra_deg > 0",
    "NOT night = '2025-01-03'",
    "night <> '2025-01-03'",
    "night = observed_at::DATE",
    "night = TIMESTAMP '2025-01-03 00:00:00'",
    "night + INTERVAL 1 DAY = DATE '2025-01-03'",
    "night IN (SELECT MAX(night) FROM ztf_alerts)",
    "night IN ('2025-01-03', NULL)",
    "true",
]
QUERIES = [
    "SELECT MAX(night) AS m FROM ztf_alerts WHERE night <= (SELECT MAX(night) FROM ztf_alerts WHERE night < '2025-01-09')",
    "SELECT COUNT(*) AS n FROM ztf_alerts a, ztf_alerts b WHERE a.night = '2025-01-03' AND b.alert_id = a.alert_id",
    "WITH ztf_alerts AS (SELECT * FROM main.ztf_alerts) SELECT COUNT(*) AS n FROM ztf_alerts WHERE night > '2025-01-03'",
    "SELECT DATE '2025-01-03' AS night, COUNT(*) AS n FROM ztf_alerts t WHERE night = '2025-01-05' GROUP BY ALL",
    "SELECT (SELECT COUNT(*) FROM ztf_alerts_unique) AS u, COUNT(*) AS n FROM ztf_alerts WHERE night = '2025-01-05'",
    "SELECT COUNT(*) AS n FROM (SELECT * FROM ztf_alerts WHERE night = '2025-01-05' UNION ALL FROM ztf_alerts)",
    "SELECT COUNT(*) AS n FROM main.ztf_alerts WHERE night = '2025-01-05'",
    "SELECT COUNT(*) AS n, MIN(run_id) AS r FROM ZTF_ALERTS AS x WHERE x.night = '2025-01-05'",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("years") / "w"
    rows = alerts(count=2)
    for number in range(NIGHTS):
        night = pa.array([FIRST + timedelta(days=number)] * rows.num_rows, pa.date32())
        found = rows.set_column(rows.schema.get_field_index("night"), rows.schema.field("night"), night)
        put(str(place), f"run{number}", (f"{number}.tar",), found)
    return place


@pytest.fixture
def narrowed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of files that were listed for a query alone."""
    monkeypatch.setattr(views, "_WORTH_NARROWING", 10)
    found: list[int] = []
    of_nights = views._of_nights

    def noted(*given: object) -> pa.Table:
        some = of_nights(*given)  # type: ignore[arg-type]
        found.append(some.num_rows)
        return some

    monkeypatch.setattr(views, "_of_nights", noted)
    return found


def same(place: Path, sql: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with warehouses.open(str(place)) as opened:
        answer = opened.query(sql).to_pylist()
    with monkeypatch.context() as patched, warehouses.open(str(place)) as opened:
        patched.setattr(views, "_WORTH_NARROWING", 10**9)
        assert opened.query(sql).to_pylist() == answer
    assert answer


@pytest.mark.parametrize("condition", PLAIN)
def test_what_is_plain(place: Path, condition: str, narrowed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    same(
        place,
        f"SELECT COUNT(*) AS n, MIN(night) AS first, MAX(night) AS last FROM ztf_alerts AS t WHERE {condition}",
        monkeypatch,
    )
    assert len(narrowed) == 1
    # One file of each schema stays, too.
    assert narrowed[0] in (PLAIN[condition], PLAIN[condition] + 1)


@pytest.mark.parametrize("condition", NOT_PLAIN)
def test_what_is_not_plain_is_all_nights(
    place: Path, condition: str, narrowed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    same(place, f"{COUNT} WHERE {condition}", monkeypatch)
    assert narrowed == []


@pytest.mark.parametrize("sql", QUERIES)
def test_answers_are_the_same(place: Path, sql: str, narrowed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    same(place, sql, monkeypatch)


def test_who_asks_for_one_night_does_not_change_what_others_see(place: Path, narrowed: list[int]) -> None:
    with warehouses.open(str(place)) as opened:
        for _ in range(2):
            assert opened.query("SELECT COUNT(*) AS n FROM ztf_alerts WHERE night = '2025-01-03'").to_pylist() == [{"n": 2}]
            assert opened.query("SELECT COUNT(*) AS n FROM ztf_alerts").to_pylist() == [{"n": 2 * NIGHTS}]
    assert isinstance(opened, FolderWarehouse)
    assert len(narrowed) == 2
