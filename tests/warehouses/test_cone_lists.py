"""Lists of positions for ``broker query --cone``: every position by itself, as one cone would have it."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.coordinates.name_resolve import sesame_url

from alerts.positions import cones_ranges
from broker import cli
from broker import warehouse as warehouses
from broker.warehouse import QueryError
from tests.nights import run, simulated, truth
from warehouses import cones
from warehouses.cones import parse_cones


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulated(tmp_path_factory.mktemp("night"), "--alerts", "120", "--seed", "3")


@pytest.fixture(scope="module")
def folder(night: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("warehouse")
    assert run(made, night) == 0
    return made


@pytest.fixture(scope="module")
def opened(folder: Path) -> warehouses.Warehouse:
    return warehouses.open(str(folder))


def targets(night: Path, count: int) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Places of alerts, and one far from all."""
    found = [(one["ra_deg"], one["dec_deg"]) for one in truth(night)][:count]
    ra, dec = (np.array([*values, other]) for values, other in zip(zip(*found, strict=True), (10.0, -80.0), strict=True))
    return [f"t{number}" for number in range(len(ra))], ra, dec


@pytest.mark.parametrize("radius_arcsec", [0.5, 600.0, 20_000.0])
def test_a_list_gives_what_its_cones_give_one_by_one(opened, night, tmp_path, monkeypatch, radius_arcsec):
    names, ra, dec = targets(night, 23)
    pq.write_table(pa.table({"name": names, "RA": ra, "Dec": dec}), tmp_path / "targets.parquet")
    monkeypatch.setattr(cones, "AT_ONCE", 7)
    found = opened.cones(parse_cones(f"{tmp_path}/targets.parquet,{radius_arcsec}"))
    rows = found.select(["list_row", "list_name", "separation_arcsec", "alert_id"]).to_pylist()
    expected = [
        {"list_row": row, "list_name": name, "separation_arcsec": one["separation_arcsec"], "alert_id": one["alert_id"]}
        for row, name in enumerate(names)
        for one in opened.cone(ra[row], dec[row], radius_arcsec).to_pylist()
    ]
    assert rows == expected
    assert {row["list_row"] for row in rows} == set(range(23))


def test_sexagesimal_lists_and_cones_and_exact_ids(opened, night, tmp_path, monkeypatch):
    _, ra, dec = targets(night, 1)
    texts = SkyCoord(ra, dec, unit="deg").to_string("hmsdms", sep=":", precision=6)
    monkeypatch.chdir(tmp_path)
    long_id = 4472832130942575873
    rows = [f"{long_id + number},{text.replace(' ', ',')}\n" for number, text in enumerate(texts)]
    (tmp_path / "a, b.csv").write_text("# mine\nobjid,RAJ2000,DEJ2000\n" + "".join(rows))
    expected = opened.cone(ra[0], dec[0], 5).column("alert_id").to_pylist()
    assert expected
    one = opened.cones(parse_cones(f"{texts[0].replace(' ', ',')},5"))
    assert one.column("alert_id").to_pylist() == expected
    assert "list_row" not in one.column_names
    answer = opened.cones(parse_cones("a, b.csv,5"))
    assert answer.column("list_name").to_pylist() == [long_id] * len(expected)


def test_nothing_near_is_a_table_without_rows(opened, tmp_path):
    (tmp_path / "far.csv").write_text("ra,dec\n10,-80\n360.0,-81\n")
    found = opened.cones(parse_cones(f"{tmp_path}/far.csv,5"))
    assert found.num_rows == 0
    assert found.column_names[:2] == ["list_row", "separation_arcsec"]


def test_the_command(night, tmp_path, capsys):
    folder = tmp_path / "warehouse"
    assert run(folder, night) == 0
    capsys.readouterr()
    names, ra, dec = targets(night, 3)
    rows = zip(names, ra.tolist(), dec.tolist(), strict=True)
    (tmp_path / "t.csv").write_text("name,ra,dec\n" + "".join(f"{name},{a!r},{d!r}\n" for name, a, d in rows))
    assert cli.main(["query", "--warehouse", str(folder), "--cone", f"{tmp_path}/t.csv,1", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["list_name"] for row in rows} == {"t0", "t1", "t2"}
    (tmp_path / "gap.csv").write_text("name,ra,dec\na,1,2\nb,,5\n")
    assert cli.main(["query", "--warehouse", str(folder), "--cone", f"{tmp_path}/gap.csv,1"]) == 2
    assert "row 1 (from 0) of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2", "neither RA,DEC,RADIUS_ARCSEC, for example --cone 150.1,2.2,5, nor FILE,RADIUS_ARCSEC"),
        ("north,2,5", "has 'north' for 'ra'"),
        ("1,2,x", "ends in no radius"),
        ("1,2,0", "ends in no radius"),
        ("1,2,nan", "ends in no radius"),
        ("1,2,3,4", "neither RA,DEC"),
        ("none.csv,5", "none.csv cannot be opened"),
        ("targets.txt,5", "neither RA,DEC"),
    ],
)
def test_what_is_no_cone_is_refused_in_a_sentence(text, says):
    with pytest.raises(warehouses.QueryError, match=says):
        parse_cones(text)


@pytest.fixture
def resolver() -> Iterator[str]:
    """What stands in for Sesame: it knows M31 alone."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            known = b"%J 10.684708 +41.268750 = 00:42:44.32 +41:16:07.5\n"
            self.wfile.write(b"# M31\n" + known if self.path.endswith("M31") else b"#! nothing found\n")

        def log_message(self, *_):
            """Tests are quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize("name", ["M31", " M31"])
def test_a_name_is_where_the_resolver_says(resolver, name):
    with sesame_url.set([resolver]):
        found = parse_cones(f"{name},60")
    assert (found.ra_deg.tolist(), found.dec_deg.tolist(), found.radius_arcsec) == ([10.684708], [41.26875], 60.0)


def test_a_name_that_nobody_resolves_is_answered_in_a_sentence(resolver):
    with sesame_url.set([resolver]), pytest.raises(QueryError, match="of a name 'M310' CDS's resolver does not know it"):
        parse_cones("M310,60")
    with (
        sesame_url.set(["http://127.0.0.1:9/"]),
        pytest.raises(QueryError, match="of a name 'M31' CDS's resolver does not answer"),
    ):
        parse_cones("M31,60")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["--object", "nobody"], "no alert of object nobody in {folder}"),
        (["--cone", "10,-80,5"], "no alert within 5 arcsec of 00:40:00.000 -80:00:00.000 in {folder}"),
        (["--cone", "{list},5"], "no alert within 5 arcsec of any position of {list} in {folder}"),
    ],
)
def test_nothing_is_a_sentence_not_a_bare_header(opened, folder, tmp_path, capsys, asked, says):
    (tmp_path / "list.csv").write_text("ra,dec\n10,-80\n")
    places = {"folder": folder, "list": tmp_path / "list.csv"}
    words = [word.format(**places) for word in asked]
    assert cli.main(["query", *words, "--warehouse", str(folder)]) == 0
    assert capsys.readouterr().out == says.format(**places) + "\n"
    # For programs there is an answer of no rows, and the sentence beside it.
    assert cli.main(["query", *words, "--warehouse", str(folder), "--format", "csv"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 1
    assert told.err == f"broker query: {says.format(**places)}\n"


def test_a_query_about_many_cones_is_short_enough_for_bigquery():
    generator = np.random.default_rng(1)
    ra, dec = generator.uniform(0, 360, cones.AT_ONCE), np.degrees(np.arcsin(generator.uniform(-1, 1, cones.AT_ONCE)))
    for radius_arcsec in (1.0, 300.0, 30_000.0):
        ranges = cones._ranges(ra, dec, radius_arcsec)
        text = " OR ".join(f"healpix29 BETWEEN {first} AND {last}" for first, last in ranges)
        assert len(text) * 2 * 7 < 2**20
        _, firsts, lasts = cones_ranges(ra, dec, np.full(len(ra), radius_arcsec))
        held = np.searchsorted([first for first, _ in ranges], firsts, side="right") - 1
        assert (lasts <= np.array([last for _, last in ranges])[held]).all()
