"""Files of tables as people have them: what stands around the rows, formats that only astropy reads, folders of parts."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from datetime import date

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.time import Time

from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.files import read_csv
from alerts.catalogs.files.astropy_tables import from_astropy, to_astropy
from alerts.catalogs.files.local import check_local, open_local
from alerts.catalogs.files.read_table import open_local_file, read_astropy, read_header, read_table
from alerts.catalogs.files.shared import shared_local
from alerts.catalogs.files.table_positions import table_positions

LONG_ID = 4472832130942575872
TNS = """"2026-11-01 00:00:00 - 23:59:59"
"objid","name_prefix","name","ra","declination","redshift","type"
"123456","AT","2026abc","150.1","2.2","","SN Ia"
"123457","SN","2026abd","10.5","-45.25","0.03",""
"""
TEXTS = {
    "the Transient Name Server's": (".csv", TNS),
    "with lines of remarks": (
        ".csv",
        "# made by hand\n#\n\nname,ra,declination\n2026abc,150.1,2.2\n# not sure\n2026abd,10.5,-45.25\n",
    ),
    "with names behind a #": (".csv", "# remark, 2026\n# name, ra, declination\n2026abc,150.1,2.2\n2026abd,10.5,-45.25\n"),
    "with semicolons": (".csv", "name;ra;declination\n2026abc;150.1;2.2\n2026abd;10.5;-45.25\n"),
    "with blanks and quotes": (".csv", 'name , ra , declination\n"2026abc" , "150.1" , "2.2"\n"2026abd" , "10.5" , "-45.25"\n'),
    "with tabs": (".tsv", "name\tra\tdeclination\n2026abc\t150.1\t2.2\n2026abd\t10.5\t-45.25\n"),
    "VizieR's": (
        ".tsv",
        "#\n#   VizieR\n#Name: J/x\n\nname\t_RAJ2000\t_DEJ2000\n \tdeg\tdeg\n----\t-----\t-----\n"
        "2026abc\t150.1\t2.2\n2026abd\t10.5\t-45.25\n\n",
    ),
    "in hours": (".csv", "name,ra,dec\n2026abc,10:00:24,+02:12:00\n2026abd,0h42m00s,-45d15m00s\n"),
    "in ECSV": (
        ".ecsv",
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: name, datatype: string}\n# - {name: ra, unit: deg, datatype: float64}\n"
        "# - {name: dec, unit: deg, datatype: float64}\n# schema: astropy-2.0\n"
        "name ra dec\n2026abc 150.1 2.2\n2026abd 10.5 -45.25\n",
    ),
}


def where(catalog) -> list[tuple]:
    found = catalog.search(np.array([150.1, 10.5]), np.array([2.2, -45.25]), 0.1, None)
    return list(zip(found.position.tolist(), found.sources.column("name").to_pylist(), strict=True))


EXPECTED = [(0, "2026abc"), (1, "2026abd")]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_text_tables_as_people_have_them(tmp_path, name, packed):
    ending, text = TEXTS[name]
    path = tmp_path / f"stars{ending}{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    columns = {"id": "name"}
    assert check_local(str(path), columns).source_id == "name"
    assert where(open_local(str(path), columns)) == EXPECTED
    table = read_astropy(str(path))
    ra, dec = table_positions(str(path), table)
    np.testing.assert_allclose([ra, dec], [[150.1, 10.5], [2.2, -45.25]], atol=1e-9)


def test_a_row_behind_a_hash_is_left_out_and_that_is_said(tmp_path, caplog):
    path = tmp_path / "stars.csv"
    path.write_text("name,ra,dec\n2026abc,150.1,2.2\n#2026xyz,1,2\n# a remark, and no row\n2026abd,10.5,-45.25\n")
    assert where(open_local(str(path), {"id": "name"})) == EXPECTED
    said = [one.getMessage() for one in caplog.records]
    assert said == [
        f"{path}: 1 lines that begin with # are taken for remarks, though they have as many values as there are columns"
    ]
    caplog.clear()
    path.write_text('name,ra,dec,remark\n2026abc,150.1,2.2,"two\n#lines, of,one,text"\n2026abd,10.5,-45.25,\n')
    assert where(open_local(str(path), {"id": "name"})) == EXPECTED
    assert not caplog.records


def test_a_table_alone_in_a_zip_as_the_transient_name_server_packs_it(tmp_path):
    path = tmp_path / "tns_public_objects_20261101.csv.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("tns_public_objects_20261101.csv", TNS)
    assert where(open_local(str(path), {"id": "name"})) == EXPECTED
    assert len(read_astropy(str(path))) == 2
    with zipfile.ZipFile(path, "a") as packed:
        packed.writestr("readme.txt", "no table")
    with pytest.raises(BadCatalog, match="holds 2 files; unpack it"):
        check_local(str(path), {})


@pytest.mark.parametrize("packed", [bz2.compress, lzma.compress])
def test_tables_in_bzip2_and_xz(tmp_path, packed):
    path = tmp_path / f"stars.csv.{'bz2' if packed is bz2.compress else 'xz'}"
    path.write_bytes(packed(TNS.encode()))
    assert where(open_local(str(path), {"id": "name"})) == EXPECTED


def votable(table: Table) -> bytes:
    file = io.BytesIO()
    table.write(file, format="votable")
    return file.getvalue()


def test_a_votable_its_nulls_and_its_ucds(tmp_path):
    table = Table({"name": ["2026abc", "2026abd", "c"], "a": [150.1, 10.5, 0.0], "d": [2.2, -45.25, 5.0], "n": [LONG_ID, 1, 2]})
    table["a"] = MaskedColumn(table["a"], mask=[False, False, True], unit="deg")
    table["a"].meta, table["d"].meta = {"ucd": "pos.eq.ra;meta.main"}, {"ucd": "pos.eq.dec;meta.main"}
    for ending in (".vot", ".xml", ".votable", ".vot.gz"):
        path = tmp_path / f"stars{ending}"
        path.write_bytes(gzip.compress(votable(table)) if "gz" in ending else votable(table))
        catalog = open_local(str(path), {"id": "name"})
        assert (catalog.source_columns.ra, catalog.left_out) == ("a", 1)
        assert where(catalog) == EXPECTED
        found = read_astropy(str(path))
        assert found["n"].tolist() == [LONG_ID, 1, 2]
        with pytest.raises(BadCatalog, match=r"row 2 \(from 0\) of stars has no position, 'a' is masked"):
            table_positions("stars", found)


def test_a_votable_says_its_frame(tmp_path):
    table = Table({"RA": [150.1], "DEC": [2.2]})
    text = votable(table).decode()
    text = text.replace("<TABLE", '<COOSYS ID="old" system="eq_FK4" equinox="B1950"/><TABLE', 1).replace(
        'name="RA"', 'name="RA" ref="old"'
    )
    (tmp_path / "old.vot").write_text(text)
    with pytest.raises(BadCatalog, match=r"'RA' in B1950 \(FK4\) ones"):
        check_local(str(tmp_path / "old.vot"), {})
    with pytest.raises(BadCatalog, match=r"'RA' in B1950 \(FK4\) ones"):
        table_positions("t", read_astropy(str(tmp_path / "old.vot")))


def test_real_votables_of_vizier(real_data):
    folder = real_data / "catalogs/vizier_astroquery"
    found = read_astropy(str(folder / "afgl2591_iram.xml"))
    assert len(found)
    # Two pairs, one in hours as published and one in degrees as VizieR has made it; no UCD says which.
    assert len(open_local(str(folder / "afgl2591_iram.xml"), {"ra": "RAJ2000", "dec": "DEJ2000"})) == len(found)
    ours, theirs = (table_positions("t", found, f"{one}RAJ2000", f"{one}DEJ2000") for one in ("", "_"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    with pytest.raises(BadCatalog, match="'_Glon' in galactic ones"):
        open_local(str(folder / "kang2010.xml"), {})


@pytest.mark.parametrize("ending", [".fits", ".fits.gz", ".fit"])
def test_fits_zipped_or_not_in_radians_or_of_another_equinox(tmp_path, ending):
    table = Table(
        {"name": ["2026abc", "2026abd"], "RA": np.radians([150.1, 10.5]), "Dec": np.radians([2.2, -45.25]), "n": [LONG_ID, 1]}
    )
    table["RA"].unit = table["Dec"].unit = "rad"
    path = str(tmp_path / f"stars{ending}")
    table.write(path, format="fits")
    catalog = open_local(path, {"id": "name"})
    assert where(catalog) == EXPECTED
    assert (catalog.source_columns.ra, catalog.source_columns.dec) == ("ra_deg", "dec_deg")
    read = read_astropy(path)
    assert read["n"].tolist() == [LONG_ID, 1]
    np.testing.assert_allclose(table_positions(path, read)[0], [150.1, 10.5])
    table.meta["RADESYS"] = "FK4"
    table.write(path, format="fits", overwrite=True)
    for refused in (lambda: check_local(path, {}), lambda: table_positions(path, read_astropy(path))):
        with pytest.raises(BadCatalog, match="B1950"):
            refused()


def test_coordinates_of_astropy_in_ecsv(tmp_path):
    galactic = SkyCoord([150.1, 10.5], [2.2, -45.25], unit="deg").galactic
    path = str(tmp_path / "stars.ecsv")
    QTable({"name": ["2026abc", "2026abd"], "place": galactic}).write(path)
    assert where(open_local(path, {"id": "name"})) == EXPECTED
    np.testing.assert_allclose(table_positions(path, read_astropy(path))[0], [150.1, 10.5])


def test_parquet_of_astropy_tells_its_units(tmp_path):
    path = str(tmp_path / "stars.parquet")
    QTable({"name": ["2026abc", "2026abd"], "ra": np.radians([150.1, 10.5]) * u.rad, "dec": [2.2, -45.25] * u.deg}).write(path)
    assert where(open_local(path, {"id": "name"})) == EXPECTED
    np.testing.assert_allclose(table_positions(path, read_astropy(path))[0], [150.1, 10.5])


def test_a_folder_of_parquet_parts(tmp_path):
    folder = tmp_path / "stars"
    for number, (name, ra, dec) in enumerate([("2026abc", 150.1, 2.2), ("2026abd", 10.5, -45.25)]):
        (folder / f"Norder={number}").mkdir(parents=True)
        pq.write_table(
            pa.table({"name": [name], "id": [LONG_ID + number], "ra": [ra], "dec": [dec]}),
            folder / f"Norder={number}" / "p.parquet",
        )
    (folder / "_metadata").write_bytes(b"")
    pq.write_table(pa.table({"name": ["x"], "id": [1], "ra": [150.1], "dec": [2.2]}), folder / "data_thumbnail.parquet")
    assert where(open_local(str(folder), {"id": "name"})) == EXPECTED
    assert read_table(str(folder), open_local_file).column("id").to_pylist() == [LONG_ID, LONG_ID + 1]
    assert len(read_astropy(str(folder))) == 2
    # What the folders' names say, as Hive and HATS have it.
    assert read_table(str(folder), open_local_file).column("Norder").to_pylist() == ["0", "1"]
    assert "Norder" in read_header(str(folder), open_local_file).kinds
    first = shared_local(str(folder), {})
    assert shared_local(str(folder), {}) is first
    pq.write_table(pa.table({"name": ["new"], "id": [7], "ra": [1.0], "dec": [2.0]}), folder / "more.parquet")
    assert len(shared_local(str(folder), {})) == 3
    empty = tmp_path / "none"
    empty.mkdir()
    with pytest.raises(BadCatalog, match=r"holds no \.parquet file"):
        check_local(str(empty), {})


def test_parts_of_which_one_has_floats_for_ids_are_refused(tmp_path):
    pq.write_table(pa.table({"id": [LONG_ID], "ra": [1.0], "dec": [2.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": [1.0], "ra": [1.0], "dec": [2.0]}), tmp_path / "b.parquet")
    for read in (read_header, read_table):
        with pytest.raises(BadCatalog, match=r"cannot be read as a folder of Parquet parts .*id"):
            read(str(tmp_path), open_local_file)


def test_an_id_of_19_digits_is_exact_from_every_format(tmp_path):
    table = Table({"ra": [150.1, 10.5], "dec": [2.2, -45.25], "objid": MaskedColumn([LONG_ID + 1, 0], mask=[False, True])})
    pq.write_table(
        pa.table({"ra": [150.1, 10.5], "dec": [2.2, -45.25], "objid": pa.array([LONG_ID + 1, None])}), tmp_path / "a.parquet"
    )
    (tmp_path / "a.csv").write_text(f"ra,dec,objid\n150.1,2.2,{LONG_ID + 1}\n10.5,-45.25,\n")
    table.write(tmp_path / "a.ecsv")
    (tmp_path / "a.vot").write_bytes(votable(table))
    for ending in ("parquet", "csv", "ecsv", "vot"):
        path = str(tmp_path / f"a.{ending}")
        column = read_astropy(path)["objid"]
        assert (column.dtype, column[0], bool(column.mask[1])) == (np.dtype(np.int64), LONG_ID + 1, True), ending
        assert read_table(path, open_local_file).column("objid").to_pylist() == [LONG_ID + 1, None], ending


def test_tables_of_astropy_and_of_arrow_are_each_other():
    """Categories, dates, lists, objects and times: what is neither number, truth nor text, too; a null is masked."""
    day, lists = date(2026, 3, 10), [[1, 2], None, [3]]
    table = pa.table({"band": pa.array(["g", None, "g"]).dictionary_encode(), "day": [day, None, day], "lists": lists})
    made = to_astropy(table)
    assert [made[name].mask.tolist() for name in made.colnames] == 3 * [[False, True, False]]
    assert (made["band"][0], made["day"][2], made["lists"][0]) == ("g", day, [1, 2])
    texts = np.ma.MaskedArray(np.array(["a", None, "c"], dtype=object), mask=[False, False, True])
    arrays = np.empty(3, dtype=object)
    arrays[:] = [np.array([1, 2], ">i4"), None, np.array([3], ">i4")]
    pairs = np.ma.MaskedArray(np.array([["a", "b"]] * 3, dtype=object), mask=[[False] * 2, [True, False], [True] * 2])
    times = Time(["2026-03-10T05:00:00"] * 3)
    made = Table([MaskedColumn(texts), arrays, MaskedColumn(pairs), times], names=["texts", "arrays", "pairs", "times"])
    found = from_astropy(made).to_pydict()
    assert found["texts"] == ["a", None, None]
    assert found["arrays"] == [[1, 2], None, [3]]
    assert found["pairs"] == [["a", "b"], ["a", "b"], None]
    assert found["times"] == ["2026-03-10T05:00:00.000"] * 3


def test_a_file_of_remarks_and_rows_under_one_name_are_no_tables(tmp_path, monkeypatch):
    path = tmp_path / "stars.csv"
    path.write_text("star\n10.5,20\n11.5,21\n")
    with pytest.raises(BadCatalog, match="rows of 2 values under one name, 'star'; name every column"):
        check_local(str(path), {})
    monkeypatch.setattr(read_csv, "_MAX_PREAMBLE_BYTES", 100)
    path.write_text("# a remark\n" * 12 + "ra,dec\n10.5,20\n")
    with pytest.raises(BadCatalog, match="has no line that names the columns in its first 100 bytes"):
        check_local(str(path), {})
    path.write_text("# a remark\n" * 8 + "ra,dec\n10.5,20\n")
    assert check_local(str(path), {}).ra == "ra"


def test_a_number_that_only_the_rows_show_to_be_none_is_named():
    texts = pa.chunked_array([["1.5", " 2 ", "null"], ["3", "n/a.", "4"]])
    with pytest.raises(BadCatalog, match=r"column 'mag' of stars.csv has 'n/a.'; write all of it as decimal numbers"):
        read_csv.csv_floats("stars.csv", "mag", texts)
    assert read_csv.csv_floats("stars.csv", "mag", texts.slice(0, 4)).to_pylist() == [1.5, 2.0, None, 3.0]
