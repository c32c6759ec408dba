"""The stand-in for CDS X-Match: the service's form, formats, limits and refusals; catalogs of files; the command."""

from __future__ import annotations

import argparse
import csv
import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from astropy.io import votable
from astropy.table import Table

from broker import catalog_server as command
from simulation.catalog_server import CatalogServer, Declared, Limits, ServedCatalog, from_file
from tests.nights import simulated

FORM = {"request": "xmatch", "distMaxArcsec": "1", "RESPONSEFORMAT": "csv", "colRA1": "ra", "colDec1": "dec"}


ODD = pa.table(
    {
        "ra": [10.0, 20.0, 30.0, 40.0],
        "dec": [0.0, 0.0, 0.0, 0.0],
        "id": pa.array([2**62 + 1, 2, 3, None], pa.int64()),
        "name": ['a, "quoted" one', "R&D <b>", "", None],
        "mag": pa.array([1.5, np.nan, None, -999.0], pa.float32()),
        "seen": [True, False, None, True],
    }
)
"""Every kind of cell that an answer may hold."""
ODD_UPLOAD = "i,ra,dec\n" + "".join(f"{i},{ra},0\n" for i, ra in enumerate((10, 20, 30, 40)))


@pytest.fixture(scope="module")
def odd() -> Iterator[CatalogServer]:
    catalogs = {"J/odd/table": ServedCatalog(ODD, Declared("ra", "dec")), "simbad": ServedCatalog(ODD, Declared("ra", "dec"))}
    with CatalogServer(catalogs) as server:
        yield server


def upload(*positions: tuple[float, float]) -> str:
    return "i,ra,dec\n" + "".join(f"{i},{ra!r},{dec!r}\n" for i, (ra, dec) in enumerate(positions))


def post(server: CatalogServer, cat1: str, **form: str) -> requests.Response:
    fields = {name: value for name, value in {**FORM, **form}.items() if value}
    return requests.post(server.url, data=fields, files={"cat1": ("cat1.csv", cat1)}, timeout=60)


def rows(server: CatalogServer, cat1: str, **form: str) -> list[dict[str, str]]:
    response = post(server, cat1, **form)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "text/csv"), response.text
    return list(csv.DictReader(io.StringIO(response.text)))


def status_info(body: bytes) -> list[str]:
    document = votable.parse(io.BytesIO(body))
    return [info.value for resource in document.resources for info in resource.infos if info.name == "QUERY_STATUS"]


def test_all_formats_hold_the_same_cells(odd):
    named = dict.fromkeys(ODD.column_names)
    expected = [("4611686018427387905", 'a, "quoted" one', "1.5", "true"), ("2", "R&D <b>", "", "false")]
    expected += [("3", "", "", ""), ("", "", "-999", "true")]
    assert [
        tuple(row[name] for name in ("id", "name", "mag", "seen")) for row in rows(odd, ODD_UPLOAD, cat2="simbad")
    ] == expected
    tsv = post(odd, ODD_UPLOAD, cat2="simbad", RESPONSEFORMAT="tsv").text.splitlines()
    assert [tuple(line.split("\t")[-4:]) for line in tsv[1:]] == expected
    document = post(odd, ODD_UPLOAD, cat2="simbad", RESPONSEFORMAT="json").json()
    assert [column["name"] for column in document["metadata"]] == ["angDist", "i", "ra", "dec", *named]
    assert [row[-4:] for row in document["data"]] == [
        [2**62 + 1, 'a, "quoted" one', 1.5, True],
        [2, "R&D <b>", None, False],
        [3, "", None, None],
        [None, None, -999, True],
    ]
    table = Table.read(io.BytesIO(post(odd, ODD_UPLOAD, cat2="simbad", RESPONSEFORMAT="votable").content), format="votable")
    # VOTable 1.2 has no empty integer without a number that stands for it: astropy reads 0.
    assert table["id"].tolist() == [2**62 + 1, 2, 3, 0]
    assert table["mag"].tolist() == [1.5, None, None, -999.0]
    assert [str(one) for one in table["name"]] == ['a, "quoted" one', "R&D <b>", "", ""]
    assert table["angDist"].unit == u.arcsec


def test_maxrec_cuts_without_a_word_in_csv_and_with_one_in_votable(odd):
    assert len(rows(odd, ODD_UPLOAD, cat2="simbad", MAXREC="3")) == 3
    cut, whole = (post(odd, ODD_UPLOAD, cat2="simbad", RESPONSEFORMAT="votable", MAXREC=n).content for n in ("3", "4"))
    assert status_info(cut) == ["OK", "OVERFLOW"]
    assert status_info(whole) == ["OK"]


def test_the_limits_of_the_service_hold_whatever_is_asked():
    catalog = ServedCatalog(ODD, Declared("ra", "dec"))
    with CatalogServer({"simbad": catalog}, limits=Limits(rows=2, upload_bytes=2000)) as server:
        assert len(rows(server, ODD_UPLOAD, cat2="simbad", MAXREC="1000")) == 2
        refused = post(server, ODD_UPLOAD + "5,1,1\n" * 1000, cat2="simbad")
        assert refused.status_code == 400
        assert "cannot be larger than 0.002 MB" in refused.text
        assert [call.received_bytes > 2000 for call in server.calls] == [False, True]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"request": ""}, 'Missing parameter "request".'),
        ({"cat2": ""}, 'Missing parameter "cat2".'),
        ({"distMaxArcsec": ""}, 'Missing parameter "distMaxArcsec".'),
        ({"RESPONSEFORMAT": ""}, 'Missing parameter "RESPONSEFORMAT".'),
        ({"colRA1": ""}, 'Missing parameter "colRA1".'),
        ({"colRA1": "alpha"}, 'Column name "alpha" not found in table metadata'),
        ({"cols2": "id,Gmag"}, 'Column name "Gmag" not found in table metadata'),
        ({"cat2": "vizier:II/246/out"}, "Catalogue must be a URL or simbad or vizier:tabName"),
        ({"distMaxArcsec": "180.1"}, "at most 180"),
        ({"distMaxArcsec": "nan"}, "distMaxArcsec is not finite"),
        ({"RESPONSEFORMAT": "fits"}, 'Unknown RESPONSEFORMAT "fits"'),
        ({"selection": "some"}, 'Unknown selection "some"'),
        ({"MAXREC": "0"}, "MAXREC is no number of rows"),
        ({"area": "zone"}, "allsky and cone"),
        ({"cat1": "i,ra,dec\n0,10,0\n1,nan,0\n"}, "Row 2 of the uploaded table is not on the sky"),
        ({"cat1": "i,ra,dec\n0,10,0\n1,361,0\n"}, "Row 2 of the uploaded table is not on the sky"),
        ({"cat1": "i,ra,dec\n0,10,90.1\n"}, "Row 1 of the uploaded table is not on the sky"),
        ({"cat1": "i,ra,dec\n0,10h,0\n"}, "holds what is no number"),
        ({"cat1": "i,ra,dec\n0,10\n"}, "The uploaded table is no CSV"),
        ({"cat1": "<VOTABLE/>"}, "reads uploads in CSV"),
    ],
)
def test_what_the_service_does_not_take(odd, changed, message):
    form = {"cat2": "simbad", "cat1": ODD_UPLOAD, **changed}
    response = post(odd, form.pop("cat1"), **form)
    assert (response.status_code, response.headers["Content-Type"]) == (400, "text/xml")
    assert response.reason == "Mauvaise Requ\xeate"
    assert status_info(response.content) == ["ERROR"]
    said = votable.parse(io.BytesIO(response.content)).get_info_by_id("QUERY_STATUS").content
    assert said.strip().startswith("Message: ")
    assert message in said.partition("Trace:")[0]


def test_an_area_limits_the_upload(odd):
    cone = {"area": "cone", "coneRA": "25", "coneDec": "0", "coneRadiusDeg": "6"}
    assert [row["i"] for row in rows(odd, ODD_UPLOAD, cat2="simbad", **cone)] == ["1", "2"]


def test_the_service_tells_its_catalogs_and_their_columns(odd):
    def told(**query: str) -> requests.Response:
        return requests.get(f"{odd.url}/tables", params=query, timeout=60)

    assert told(action="getVizieRTableNames", RESPONSEFORMAT="txt").text == "J/odd/table\nsimbad\n"
    columns = told(action="getColList", tabName="vizier:J/odd/table", RESPONSEFORMAT="json").json()
    assert [(one["name"], one["datatype"]) for one in columns] == [
        ("ra", "double"),
        ("dec", "double"),
        ("id", "long"),
        ("name", "char"),
        ("mag", "float"),
        ("seen", "boolean"),
    ]
    assert told(action="getInfo", tabName="simbad").json() == {"name": "simbad", "nbRows": 4}
    assert told(action="getInfo", tabName="II/246/out").status_code == 400
    assert told(action="drop").status_code == 400


@pytest.fixture(scope="module")
def night_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    night = simulated(tmp_path_factory.mktemp("night"), "--alerts", "150", "--seed", "8")
    (found,) = night.rglob("catalog.parquet")
    return found


def test_the_catalog_of_a_simulated_night_is_served_with_its_ids(night_catalog):
    table = pq.read_table(night_catalog)
    sources = [table.column(name).to_pylist() for name in ("source_id", "ra_deg", "dec_deg")]
    with CatalogServer({"simbad": from_file(night_catalog)}) as server:
        found = rows(server, upload(*zip(*sources[1:], strict=True)), cat2="simbad", selection="best")
    # Ids that a float would not hold.
    assert any(int(float(one)) != int(one) for one in sources[0])
    assert [row["source_id"] for row in found] == [str(one) for one in sources[0]]
    assert [name for name in found[0] if name in table.column_names] == table.column_names


def test_columns_of_a_file_can_be_chosen(tmp_path: Path):
    # Barnard's star, Gaia DR3: 2016.0; where SIMBAD has it in 2000.
    (tmp_path / "fast.csv").write_text(
        "alpha,delta,pma,pmd,ra\n269.44850254,4.73942005,-801.551,10362.394,1\n1,,1,1,1\n400,1,1,1,1\n"
    )
    chosen = {"ra": "alpha", "dec": "delta", "pmra": "pma", "pmdec": "pmd", "epoch": "2016"}
    fast = from_file(tmp_path / "fast.csv", chosen)
    assert (len(fast), fast.left_out) == (1, 2)
    with CatalogServer({"a/b": fast}) as server:
        assert len(rows(server, upload((269.4520769586, 4.6933649666)), cat2="a/b", distMaxArcsec="0.1")) == 1
    others = from_file(tmp_path / "fast.csv", {"ra": "ra", "dec": "delta"})
    assert len(others.near(np.array([1.0]), np.array([4.73942005]), 1.0)) == 1


def test_positions_that_are_not_icrs_degrees_are_not_served(tmp_path: Path):
    radians = pa.schema([pa.field("ra", pa.float64(), metadata={"unit": "rad"}), pa.field("dec", pa.float64())])
    pq.write_table(pa.table({"ra": [0.1], "dec": [0.2]}, schema=radians), tmp_path / "radians.parquet")
    with pytest.raises(ValueError, match=r"radians.parquet: its positions are in rad; .* write them in degrees"):
        from_file(tmp_path / "radians.parquet")
    (tmp_path / "old.csv").write_text("RAB1950,DEB1950\n1,2\n")
    with pytest.raises(ValueError, match=r"old.csv: it has no ICRS positions, but column 'RAB1950' in B1950"):
        from_file(tmp_path / "old.csv")


def test_what_stands_in_a_csv_file_is_served_as_it_stands_there(tmp_path: Path):
    text = 'ra,dec,id,tile,note\n10.10,-1.0,9223372036854775807,007,nan\n20,1e0,-5,010,"a\nb"\n'
    (tmp_path / "stars.csv").write_text(text)
    with CatalogServer({"a/b": from_file(tmp_path / "stars.csv")}) as server:
        answer = post(server, upload((10.1, -1.0), (20.0, 1.0)), cat2="a/b", cols1="i").text
    assert answer.replace("0.000000,0,", "").replace("0.000000,1,", "") == "angDist,i," + text


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "no columns of it are known to hold positions; say which with ra=..&dec=.."),
        ({"ra": "alpha", "dec": "name"}, "the column name does not hold numbers"),
        ({"ra": "alpha", "dec": "beta"}, "it has no column 'beta'; it has alpha, delta, name"),
        ({"ra": "alpha", "dec": "delta", "pmra": "delta"}, "pmra needs pmdec"),
        ({"ra": "alpha", "dec": "delta", "epoch": "J2000"}, "epoch=J2000 is no Julian year"),
        ({"id": "name"}, "id cannot be chosen"),
    ],
)
def test_files_that_are_no_catalog_are_refused(tmp_path: Path, chosen: dict[str, str], message: str):
    file = tmp_path / "stars.csv"
    file.write_text("alpha,delta,name\n1,2,x\n")
    with pytest.raises(ValueError, match=f"stars.csv: .*{message}"):
        from_file(file, chosen)


def test_tables_that_no_answer_can_hold_are_refused():
    nested = ODD.append_column("list", pa.array([[1]] * 4))
    with pytest.raises(ValueError, match="column list: it is nested"):
        ServedCatalog(nested, Declared("ra", "dec"))
    with pytest.raises(ValueError, match="column ra twice"):
        ServedCatalog(ODD.append_column("ra", ODD.column("ra")), Declared("ra", "dec"))


COMMAND = """
import argparse, signal, sys
# A child inherits that SIGINT is ignored, as it is for what a script starts in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
from broker import catalog_server as command
parser = argparse.ArgumentParser()
command.add_arguments(parser)
sys.exit(command.main(parser.parse_args(sys.argv[1:])))
"""


def test_the_command_serves_files_until_it_is_interrupted(night_catalog):
    arguments = ["--port", "0", "--no_stars", "--catalog", f"II/246/out={night_catalog}?ra=ra_deg&dec=dec_deg"]
    with subprocess.Popen([sys.executable, "-c", COMMAND, *arguments], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            said = [server.stdout.readline() for _ in range(3)]
            url = said[2].split()[1]
            names = requests.get(f"{url}/tables", params={"action": "getVizieRTableNames"}, timeout=60).text
        finally:
            server.send_signal(signal.SIGINT)
        rest = server.stdout.read()
    number = pq.read_metadata(night_catalog).num_rows
    assert (said[0], said[2].split()[0]) == (f"II/246/out: {number:,} sources\n", "--crossmatch_url")
    assert (names, rest, server.returncode) == ("II/246/out\n", "0 questions, 0 positions\n", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no_stars"], "there is no catalog to serve"),
        (["--no_stars", "--catalog", "stars.parquet"], "is not NAME=FILE"),
        (["--no_stars", "--catalog", "a/b=/nowhere.parquet"], "/nowhere.parquet"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.main(parser.parse_args(arguments)) == 2
    assert message in capsys.readouterr().err
