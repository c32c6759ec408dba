"""Answers of the real service, as recorded, and answers that must not be believed."""

import numpy as np
import pyarrow as pa
import pytest

from alerts.catalogs.catalog import SourceColumns, Unavailable
from alerts.catalogs.cds.answers import INDEX, BadColumns, read_answer, read_columns
from alerts.catalogs.known import KNOWN

COLUMNS = {"id": pa.string(), "ra": pa.float64(), "n": pa.int64()}
HEAD = f"angDist,{INDEX},id,ra,n\n"


def recorded(path, drop, index):
    """A recorded answer with the upload's columns replaced by the one that we upload."""
    lines = path.read_text().splitlines()
    names = lines[0].split(",")
    keep = [number for number, name in enumerate(names) if name not in drop]
    rows = [line.split(",") for line in lines[1:]]
    numbers = {key: number for number, key in enumerate(dict.fromkeys(row[names.index(index)] for row in rows))}
    head = ",".join([names[0], INDEX, *(names[number] for number in keep[1:])])
    body = [",".join([row[0], str(numbers[row[names.index(index)]]), *(row[k] for k in keep[1:])]) for row in rows]
    return ("\n".join([head, *body]) + "\n").encode(), len(numbers)


def test_the_recorded_2mass_answer(real_data):
    path = real_data / "catalogs/cds_xmatch_astroquery/query_res.csv"
    body, asked = recorded(path, {"ra", "dec", "my_id"}, "my_id")
    found = read_answer(body, KNOWN["vizier:II/246/out"].columns, asked, "2mass")
    assert len(found.position) == len(path.read_text().splitlines()) - 1
    rows = found.sources.to_pylist()
    assert rows[0]["2MASS"] == "17485281-2021323"
    assert rows[0]["Rfl"] == "226"
    assert (rows[0]["X"], rows[0]["e_Kmag"]) == (2, None)


def test_the_recorded_allwise_answer(real_data):
    path = real_data / "catalogs/cds_xmatch_allwise/response.csv"
    body, asked = recorded(path, {"col1", "id_in", "ra_in", "dec_in"}, "col1")
    found = read_answer(body, KNOWN["vizier:II/328/allwise"].columns, asked, "allwise")
    assert len(found.position) == 5440
    assert found.sources.column("W1mag").null_count == 0
    assert found.separation_arcsec.max() <= 1.0
    assert found.sources.column("AllWISE")[0].as_py() == "J124131.46+260233.6"


def test_types_are_the_declared_ones_whatever_came():
    body = (HEAD + '0.1,0,007,,\n0.2,1,"a,b",1e2,1234567890123456789\n').encode()
    found = read_answer(body, COLUMNS, 2, "c")
    assert found.sources.schema.types == list(COLUMNS.values())
    assert found.sources.to_pylist() == [
        {"id": "007", "ra": None, "n": None},
        {"id": "a,b", "ra": 100.0, "n": 1234567890123456789},
    ]
    nothing = read_answer(HEAD.encode(), COLUMNS, 2, "c")
    assert nothing.sources.schema.types == list(COLUMNS.values())
    assert nothing.sources.num_rows == 0
    all_null = read_answer((HEAD + "0.1,0,,,\n").encode(), COLUMNS, 2, "c")
    assert all_null.sources.schema.types == list(COLUMNS.values())


def test_columns_may_come_in_another_order():
    body = f"angDist,n,{INDEX},ra,id\n0.1,5,0,2.5,x\n".encode()
    assert read_answer(body, COLUMNS, 1, "c").sources.to_pylist() == [{"id": "x", "ra": 2.5, "n": 5}]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("", "no whole table"),
        (HEAD.rstrip("\n"), "no whole table"),
        (HEAD + "0.1,0,a,1,2", "no whole table"),
        ("<html>\n<head><title>504 Gateway Time-out</title></head></html>\n", "other columns"),
        (f"angDist,{INDEX},identifier,ra,n\n", "missing: id; unknown: identifier"),
        (f"angDist,{INDEX},id,ra,n,extra\n", "unknown: extra"),
        (f"angDist,{INDEX},id,ra\n", "missing: n"),
        (f"angDist,{INDEX},id,ra,ra,n\n", "twice"),
        (HEAD + "0.1,0,a,1\n", "do not hold|does not hold"),
        (HEAD + "0.1,0,a,one,2\n", "does not hold"),
        (HEAD + "0.1,0,a,1,2.5\n", "does not hold"),
        (HEAD + "0.1,,a,1,2\n", "without a position"),
        (HEAD + ",0,a,1,2\n", "without a position or a separation"),
        (HEAD + "0.1,2,a,1,2\n", "about position 2"),
        (HEAD + "0.1,-1,a,1,2\n", "about position"),
        (HEAD + "0.1,0,\xff,1,2\n", "does not hold"),
    ],
)
def test_what_is_not_believed(body, says):
    with pytest.raises(Unavailable, match=says):
        read_answer(body.encode("latin-1"), COLUMNS, 2, "c")


VOTABLE = f"""<?xml version="1.0"?><VOTABLE xmlns="http://www.ivoa.net/xml/VOTable/v1.2"><RESOURCE><TABLE>
<FIELD name="angDist" datatype="double"/><FIELD name="{INDEX}" datatype="int"/>
<FIELD name="Name" datatype="char" arraysize="*"/><FIELD name="RAJ2000" datatype="double" unit="deg"/>
<FIELD name="N" datatype="short"/><FIELD name="Flux" datatype="float"/><FIELD name="Vector" datatype="float" arraysize="3"/>
<FIELD name="Big" datatype="long"/><DATA><TABLEDATA/></DATA></TABLE></RESOURCE></VOTABLE>"""


def test_a_votable_declares_the_columns():
    found = read_columns(VOTABLE.encode(), "c", SourceColumns("RAJ2000", None, "Name"))
    assert found == {
        "Name": pa.string(),
        "RAJ2000": pa.float64(),
        "N": pa.int64(),
        "Flux": pa.float64(),
        "Vector": pa.string(),
        "Big": pa.int64(),
    }


@pytest.mark.parametrize("body", [b"", b"<html>", b"a,b\n1,2\n", b"<VOTABLE/>", VOTABLE.replace("angDist", "dist").encode()])
def test_anything_else_declares_none(body):
    with pytest.raises(Unavailable, match="does not say which columns"):
        read_columns(body, "c", SourceColumns(None, None))


def test_a_column_that_is_not_there_is_named():
    with pytest.raises(BadColumns, match="no column RA; it has Name, RAJ2000"):
        read_columns(VOTABLE.encode(), "c", SourceColumns("RA", None))


def test_positions_are_exact_integers():
    found = read_answer((HEAD + "0.5,1,x,1,9007199254740993\n").encode(), COLUMNS, 2, "c")
    assert found.position.dtype == np.int64
    assert found.sources.column("n")[0].as_py() == 9007199254740993
