"""``get_xmatches`` on tables as people have them: whose positions are where, exact ids, and what no answer looks like."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from broker import xmatch as xm
from warehouses.result import Result

LONG_ID = 4472832130942575872


@pytest.fixture
def stars(tmp_path: Path) -> str:
    """Stars at (0, 5) and (150.1, 2.2), with ids beyond what a float holds."""
    kinds = {"i": pa.int64(), "u": pa.uint64(), "small": pa.int16()}
    columns = {name: pa.array([LONG_ID + 1, LONG_ID + 3] if name != "small" else [7, None], kind) for name, kind in kinds.items()}
    pq.write_table(
        pa.table({"ra": [0.0, 150.1], "dec": [5.0, 2.2], **columns, "truth": [True, None]}), tmp_path / "stars.parquet"
    )
    return f"file:{tmp_path}/stars.parquet?id=i"


def test_a_row_without_a_position_does_not_match_the_star_at_ra_0(tmp_path: Path, stars: str) -> None:
    (tmp_path / "mine.csv").write_text("name,ra,dec\nknown,150.1,2.2\nno_position,,5.0\n")
    with pytest.raises(xm.BadCatalog, match=r"row 1 \(from 0\) of .*mine.csv has no position, 'ra' is masked"):
        xm.get_xmatches(tmp_path / "mine.csv", stars)
    masked = Table({"ra": MaskedColumn([150.1, 0.0], mask=[False, True]), "dec": [2.2, 5.0]})
    with pytest.raises(ValueError, match=r"row 1 \(from 0\) of the table has no position, 'ra' is masked"):
        xm.get_xmatches(masked, stars)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("id,RA,Dec\na,150.1,2.2\n", {}),
        ("id,i:ra,i:dec\na,150.1,2.2\n", {}),
        ("id,ra,declination\na,10:00:24,+02:12:00\n", {}),
        ("id,x,y\na,150.1,2.2\n", {"ra": "x", "dec": "y"}),
        ("# remark\nid,RAJ2000,DEJ2000\na,150.1,2.2\n", {}),
    ],
)
def test_columns_are_found_or_named(tmp_path: Path, stars: str, text: str, arguments: dict[str, str]) -> None:
    (tmp_path / "mine.csv").write_text(text)
    found = xm.get_xmatches(tmp_path / "mine.csv", stars, **arguments)
    assert found["id"].tolist() == ["a"]
    assert found["separation_arcsec"][0] == pytest.approx(0, abs=1e-6)


def test_ids_of_both_sides_are_exact(stars: str) -> None:
    for asked in (
        Table({"candid": np.array([LONG_ID + 5, LONG_ID + 7]), "ra": [150.1, 360.0], "dec": [2.2, 5.0]}),
        pa.table({"candid": [LONG_ID + 5, LONG_ID + 7], "ra_deg": [150.1, 360.0], "dec_deg": [2.2, 5.0]}),
        Result(pa.table({"candid": [LONG_ID + 5, LONG_ID + 7], "ra_deg": [150.1, 360.0], "dec_deg": [2.2, 5.0]})),
    ):
        found = xm.get_xmatches(asked, stars)
        assert found["candid"].tolist() == [LONG_ID + 5, LONG_ID + 7]
        assert found["i"].tolist() == found["u"].tolist() == [LONG_ID + 3, LONG_ID + 1]
        assert (found["i"].dtype, found["u"].dtype, found["small"].dtype) == (np.int64, np.uint64, np.int16)
        assert found["small"].mask.tolist() == [True, False]
        assert found["truth"].tolist() == [None, True]
        assert found["source_id"].tolist() == [str(LONG_ID + 3), str(LONG_ID + 1)]


@pytest.mark.parametrize("catalog", ["vizier:II/246/out", "simbad", "vizier:J/A+A/1/2"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/sync", "https://no-such-host.invalid/sync"])
def test_without_a_network_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch, catalog: str, url: str) -> None:
    monkeypatch.setattr("alerts.catalogs.cds.client.pause_secs", lambda *_: 0.0)
    with pytest.raises(xm.Unavailable) as failed:
        xm.get_xmatches(Table({"ra": [10.0], "dec": [20.0]}), catalog, url=url)
    assert type(failed.value) is xm.Unavailable
    assert failed.value.__suppress_context__
    text = str(failed.value)
    assert url in text
    assert "cannot be reached" in text
    assert len(text) < 200
    assert "Max retries" not in text


def test_threads_may_ask_one_catalog_at_once(stars: str) -> None:
    barrier = threading.Barrier(6)

    def ask(_: int) -> list[int]:
        barrier.wait(10)
        return xm.get_xmatches(Table({"ra": ["10:00:24"], "dec": ["+02:12:00"]}), stars)["i"].tolist()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [[LONG_ID + 3]] * 6


def test_positions_come_as_people_have_them(stars: str) -> None:
    at_star = {"ra": [0.0], "dec": [5.0]}
    place = SkyCoord([0.0], [5.0], unit="deg").galactic
    for given in (at_star, [{"ra": 0.0, "dec": 5.0}], np.array([(0.0, 5.0)], [("ra", "f8"), ("dec", "f8")]), place, place[0]):
        assert len(xm.get_xmatches(given, stars, radius_arcsec=1)) == 1
    with pytest.raises(xm.BadCatalog, match="a int is no table of positions; give a table of astropy"):
        xm.get_xmatches(5, stars)
