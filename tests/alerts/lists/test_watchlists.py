"""Watchlists: which alerts are on one, at the rim too; the catalog of the list says the same; and what is no list."""

from __future__ import annotations

import gzip
import io
import logging
import os
import pickle
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pytest
from astropy.table import Table

from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.defaults import CATALOG_EPOCH, OBSERVED_EPOCH
from alerts.catalogs.files.read_table import open_local_file
from alerts.catalogs.open import CatalogSettings, open_askers, opened_file
from alerts.catalogs.rows import epochs_jyear
from alerts.lists.named import BadList
from alerts.lists.watchlists import (
    Opener,
    Watchlist,
    WatchlistSpec,
    check_watchlists,
    of_catalog,
    parse_watchlist,
    read_watchlist,
)
from alerts.positions import healpix29, on_the_sky
from alerts.surveys import survey
from tests.alerts.catalogs.files.test_own_radii import at_the_rim, places, radii
from tests.alerts.catalogs.stars import BARNARD

WHEN = datetime(2026, 9, 17, tzinfo=timezone.utc)


def on_list(spec: WatchlistSpec, batch: pa.RecordBatch, opener: Opener) -> pa.BooleanArray:
    """Which alerts are on a list, as runs ask it: of the bytes of its file."""
    with opener(spec.path) as file:
        return read_watchlist(spec, file.read()).contains(batch)


def as_catalog(spec: WatchlistSpec, batch: pa.RecordBatch, opener: Opener) -> pa.BooleanArray:
    """The same of the places that the catalog ``watchlist:NAME`` asks, which a process reads once."""
    return Watchlist(spec, opened_file(spec.catalog, opener)).contains(batch)


def alerts(ra, dec, when=None) -> pa.RecordBatch:
    """Rows of alerts, as far as lists and catalogs ask for them."""
    count = len(ra)
    places_ra, places_dec = (np.array([np.nan if angle is None else angle for angle in angles]) for angles in (ra, dec))
    good = on_the_sky(places_ra, places_dec)
    cells = [int(healpix29(places_ra[at : at + 1], places_dec[at : at + 1])[0]) if good[at] else None for at in range(count)]
    columns = {
        "survey": ["ztf"] * count,
        "alert_id": list(range(count)),
        "object_id": [None] * count,
        "night": [WHEN.date()] * count,
        "ra_deg": list(ra),
        "dec_deg": list(dec),
        "observed_at": [WHEN] * count if when is None else list(when),
        "healpix29": cells,
    }
    schema = survey("ztf").alerts_table.arrow_schema
    return pa.RecordBatch.from_pydict(columns, schema=pa.schema([schema.field(name) for name in columns]))


def by_catalog(spec: WatchlistSpec, batch: pa.RecordBatch, run_id: str, epoch: str) -> list[bool | None]:
    """What the rows of the list as a catalog say: None of an alert without a row."""
    settings = CatalogSettings(run_id, (spec.catalog,), epoch=epoch)
    quiet = {"count": lambda *told: None, "stopped_elsewhere": lambda: False, "tell_others": lambda: None}
    [asker] = open_askers(settings, opener=open_local_file, **quiet).files
    rows = asker.rows(batch.filter(batch.column("healpix29").is_valid()))
    assert set(rows.column("catalog").to_pylist()) <= {f"watchlist:{spec.name}"}
    told = dict(zip(rows.column("alert_id").to_pylist(), rows.column("status").to_pylist(), strict=True))
    assert set(told.values()) <= {"matched", "no_match"}
    return [told[number] == "matched" if number in told else None for number in range(batch.num_rows)]


# ------------------------------------------------------------------------------------------------------------------- names


def test_a_list_is_a_name_a_file_and_its_columns() -> None:
    assert parse_watchlist("gal=a.csv", 5.0) == WatchlistSpec("gal", "a.csv", 5.0)
    told = parse_watchlist("gal=gs://b/a.csv?radius=r&radius_arcsec=30&ra=lon&dec=lat&id=n&pmra=x&pmdec=y&epoch=2016", 5.0)
    columns = {"radius": "r", "ra": "lon", "dec": "lat", "id": "n", "pmra": "x", "pmdec": "y", "epoch": "2016"}
    assert (told.name, told.path, told.radius_arcsec, dict(told.columns)) == ("gal", "gs://b/a.csv", 30.0, columns)
    assert pickle.loads(pickle.dumps(told)) == told
    assert len({told, parse_watchlist(told.text, 1.0)}) == 1
    assert told.catalog.name == "watchlist:gal"
    assert not told.catalog.remote
    assert of_catalog(told.catalog) == told


def test_a_list_survives_being_written_down() -> None:
    odd = parse_watchlist("a=x y/100%25 [1].csv?radius=R%26D+%28%27%29&ra=a%3Fb&dec=c%3Dd", 1 / 3)
    assert dict(odd.columns) == {"radius": "R&D (')", "ra": "a?b", "dec": "c=d"}
    assert parse_watchlist(odd.text, 1.0) == odd


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a.csv", "names no list; write NAME=FILE"),
        ("gal=", "names no list; write NAME=FILE"),
        ("a=a.csv?radius_arcsec=0", "watchlist:a has a radius of 0 arcsec; it must be above 0 and at most 3600"),
        ("a=a.csv?radius_arcsec=-1", "must be above 0"),
        ("a=a.csv?radius_arcsec=3601", "at most 3600"),
        ("a=a.csv?radius_arcsec=inf", "give a number"),
        ("a=a.csv?radius_arcsec=wide", "give a number"),
        ("a=a.csv?canary=1,2", "has the parameter 'canary'; such a list takes radius_arcsec, radius, ra, dec"),
    ],
)
def test_what_names_no_list_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadList, match=told):
        parse_watchlist(text, 5.0)


# ----------------------------------------------------------------------------------------------------------------- on it


@pytest.mark.parametrize("seed", range(2))
def test_an_alert_is_on_a_list_up_to_the_rim_of_each_source_and_no_farther(tmp_path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Far from each other, so that who is outside of one is not inside of another.
    ra, dec = places(rng, 600)
    own = np.minimum(radii(rng, 600), 3600.0)
    effective = np.where(np.isnan(own), 4.0, own)
    path = str(tmp_path / "list.fits")
    Table({"ra": ra, "dec": dec, "Radius_ArcSec": own}).write(path)
    spec = parse_watchlist(f"a={path}?radius_arcsec=4", 5.0)
    near_ra, near_dec, inside = at_the_rim(rng, ra, dec, effective)
    got = on_list(spec, alerts(near_ra, near_dec), open_local_file)
    assert got.null_count == 0
    lon, lat = np.radians(ra.astype(np.longdouble)), np.radians(dec.astype(np.longdouble))
    expected = []
    for at_ra, at_dec in zip(np.radians(near_ra.astype(np.longdouble)), np.radians(near_dec.astype(np.longdouble)), strict=True):
        half = np.sin((lat - at_dec) / 2) ** 2 + np.cos(lat) * np.cos(at_dec) * np.sin((lon - at_ra) / 2) ** 2
        expected.append(bool((np.degrees(2 * np.arcsin(np.sqrt(half))) * 3600 <= effective).any()))
    assert got.to_pylist() == expected
    # The rims were where they were meant to be: only sources that overlap hold a position beyond one.
    assert all(got[number].as_py() for number in np.flatnonzero(inside))
    assert 0 < sum(expected) < 1200
    assert by_catalog(spec, alerts(near_ra, near_dec), f"rim-{seed}", CATALOG_EPOCH) == expected


def test_a_star_is_on_the_list_where_it_is_when_the_alert_is_observed(tmp_path) -> None:
    path = tmp_path / "fast.csv"
    (ra, dec), (pmra, pmdec) = BARNARD.at_2000, BARNARD.pm
    path.write_text(f"name,ra,dec,pmra,pmdec,radius_arcsec\nBarnard,{ra},{dec},{pmra},{pmdec},1\n")
    spec = parse_watchlist(f"a={path}?pmra=pmra&pmdec=pmdec&epoch=2000", 5.0)
    when = [datetime(2016, 1, 1, 12, tzinfo=timezone.utc), datetime(2000, 1, 1, 12, tzinfo=timezone.utc)]
    batch = alerts([BARNARD.at_2016[0], BARNARD.at_2016[0], ra, ra], [BARNARD.at_2016[1], BARNARD.at_2016[1], dec, dec], when * 2)
    assert epochs_jyear(batch) == pytest.approx([2016, 2000] * 2, abs=0.01)
    assert on_list(spec, batch, open_local_file).to_pylist() == [True, False, False, True]
    # Whatever other catalogs of the run are asked.
    for epoch in (CATALOG_EPOCH, OBSERVED_EPOCH):
        assert by_catalog(spec, batch, f"star-{epoch}", epoch) == [True, False, False, True]


def test_of_an_alert_without_a_place_nobody_knows(tmp_path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("ra,dec\n0,90\n10,20\n")
    spec = parse_watchlist(f"a={path}", 5.0)
    batch = alerts([10.0, None, float("nan"), 10.0, -1.0, 360.0, 123.0], [20.0, 20.0, 20.0, 90.5, 20.0, 90.0, 20.0])
    expected = [True, None, None, None, None, True, False]
    assert on_list(spec, batch, open_local_file).to_pylist() == expected
    assert by_catalog(spec, batch, "nowhere", CATALOG_EPOCH) == expected
    assert on_list(spec, batch.slice(4), open_local_file).to_pylist() == expected[4:]
    assert on_list(spec, batch.slice(0, 0), open_local_file).to_pylist() == []
    assert on_list(spec, batch.slice(1, 2), open_local_file).to_pylist() == [None, None]


@pytest.mark.parametrize("name", ["list.csv", "list.csv.gz", "list.vot", "list.fits", "list.parquet", "list.ecsv"])
def test_a_list_may_be_in_every_format(tmp_path, name: str) -> None:
    path = str(tmp_path / name)
    table = Table({"id": [1, 2], "ra": [10.0, 200.0], "dec": [20.0, -30.0], "RADIUS_ARCSEC": [1.0, 3000.0]})
    if name.endswith("gz"):
        with gzip.open(path, "wt") as file:
            table.write(file, format="ascii.csv")
    else:
        table.write(path, format={"csv": "ascii.csv", "vot": "votable", "ecsv": "ascii.ecsv"}.get(name.partition(".")[2]))
    spec = parse_watchlist(f"a={path}", 5.0)
    check_watchlists([spec], open_local_file)
    batch = alerts([10.0, 10.0, 200.0], [20.0 + 0.99 / 3600, 20.0 + 1.01 / 3600, -30.8])
    assert on_list(spec, batch, open_local_file).to_pylist() == [True, False, True]
    with open(path, "rb") as file:
        assert read_watchlist(spec, file.read()).contains(batch).to_pylist() == [True, False, True]


def test_a_named_radius_goes_before_the_usual_one(tmp_path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("ra,dec,radius_arcsec,mine\n10,20,1,100\n")
    batch = alerts([10.0], [20.0 + 50 / 3600])
    assert on_list(parse_watchlist(f"a={path}", 5.0), batch, open_local_file).to_pylist() == [False]
    assert on_list(parse_watchlist(f"a={path}?radius=mine", 5.0), batch, open_local_file).to_pylist() == [True]


# --------------------------------------------------------------------------------------------------------------- wrong files

WRONG = {
    "no rows": ("ra,dec\n", "", "has no rows"),
    "nothing": ("", "", "a: .*list.csv .*(empty|no)"),
    "no positions": ("x,y\n1,2\n", "", "no columns of .* are known to hold positions; say which with ra=..&dec=..; it has x, y"),
    "galactic": ("l,b\n1,2\n", "?ra=l&dec=b", "holds galactic coordinates"),
    "one of two": ("ra,dec\n1,2\n", "?ra=ra", "only one of the"),
    "off the sky": ("ra,dec\n400,2\n", "", "none of the 1 sources in .* is on the sky"),
    "no such radius": ("ra,dec\n1,2\n", "?radius=r", "has no column 'r'; it has ra, dec"),
    "text for a radius": (
        "ra,dec,radius_arcsec\n1,2,big\n",
        "",
        "'radius_arcsec' of .* holds text such as 'big'; it must hold radii",
    ),
    "a negative radius": ("ra,dec,id,radius_arcsec\n1,2,M31,-5\n", "", r"row 0 \(from 0\), 'M31', of .* has -5"),
    "two usual radii": ("ra,dec,RADIUS_ARCSEC,radius_arcsec\n1,2,3,4\n", "", "several columns of .* may hold radii"),
    "motion without epoch": ("ra,dec,x,y\n1,2,3,4\n", "?pmra=x&pmdec=y", "has proper motions but no epoch"),
    "text for a position": ("ra,dec\n1,2\nhere,there\n", "", "'here'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_stops_the_start_with_a_sentence(tmp_path, case: str) -> None:
    text, more, told = WRONG[case]
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(BadList, match=told) as caught:
        check_watchlists([parse_watchlist(f"a={tmp_path / 'list.csv'}{more}", 5.0)], open_local_file)
    assert str(caught.value).startswith("a: ")
    with pytest.raises(BadList) as of_bytes:
        read_watchlist(parse_watchlist(f"a={tmp_path / 'list.csv'}{more}", 5.0), text.encode())
    assert str(of_bytes.value) == str(caught.value)


def test_a_missing_file_and_two_of_one_name_stop_the_start(tmp_path) -> None:
    with pytest.raises(BadList, match=r"a: .*none.csv cannot be opened \(FileNotFoundError"):
        check_watchlists([parse_watchlist(f"a={tmp_path / 'none.csv'}", 5.0)], open_local_file)
    with pytest.raises(BadList, match=r"a: .*list.txt is of no format read as a table"):
        check_watchlists([parse_watchlist(f"a={tmp_path / 'list.txt'}", 5.0)], open_local_file)
    (tmp_path / "list.csv").write_text("ra,dec\n1,2\n")
    with pytest.raises(BadList, match="two lists have the name 'A'"):
        check_watchlists([parse_watchlist(f"{name}={tmp_path / 'list.csv'}", 5.0) for name in "aA"], open_local_file)


def test_a_list_is_read_again_when_it_changes_and_stays_what_it_was_when_it_is_wrong(tmp_path, caplog) -> None:
    path, moments = tmp_path / "list.csv", iter(range(1, 100))

    def write(text: str) -> None:
        path.write_text(text)
        os.utime(path, (next(moments),) * 2)

    spec, batch = parse_watchlist(f"a={path}", 5.0), alerts([10.0, 50.0], [20.0, 20.0])

    def told() -> list[bool | None]:
        check_watchlists([spec], open_local_file)
        return as_catalog(spec, batch, open_local_file).to_pylist()

    write("ra,dec\n10,20\n")
    assert told() == [True, False]
    write("ra,dec\n50,20\n")
    assert told() == [False, True]
    with caplog.at_level(logging.WARNING):
        write("ra,dec,radius_arcsec\n10,20,-3\n")
        assert [told() for _ in range(3)] == [[False, True]] * 3
        assert [record.getMessage().partition(":")[0] for record in caplog.records] == [f"the list in {path} stays as it was"]
        path.unlink()
        assert [told() for _ in range(3)] == [[False, True]] * 3
        assert len(caplog.records) == 2
    write("ra,dec\n10,20\n50,20\n")
    assert told() == [True, True]
    # Nobody who has not read it before takes a wrong one for right.
    write("ra,dec\n")
    with pytest.raises(BadCatalog, match="has no rows"):
        as_catalog(parse_watchlist(f"a={path}?radius_arcsec=9&ra=ra&dec=dec", 5.0), batch, open_local_file)


def test_a_list_in_a_bucket_is_read_again_when_it_is_checked_and_no_more_often(caplog) -> None:
    """As ``watchlists.NAME`` is, before each round: else its rows would say otherwise for as long as a stream runs."""
    held, read = {"text": "ra,dec\n10,20\n"}, []

    def opener(path: str) -> io.BytesIO:
        read.append(path)
        return io.BytesIO(held["text"].encode())

    spec, batch = parse_watchlist("a=gs://bucket/changing.csv", 5.0), alerts([10.0, 50.0], [20.0, 20.0])

    def told() -> list[bool | None]:
        check_watchlists([spec], opener)
        before = len(read)
        found = [as_catalog(spec, batch, opener).to_pylist() for _ in range(3)]
        assert len(read) == before
        assert found == found[:1] * 3
        return found[0]

    assert told() == [True, False]
    held["text"] = "ra,dec\n50,20\n"
    assert told() == [False, True]
    held["text"] = "hello\n"
    assert [told(), told()] == [[False, True]] * 2
    assert [message.partition(":")[0] for message in caplog.messages] == ["the list in gs"]
    held["text"] = "ra,dec\n10,20\n"
    assert told() == [True, False]
