"""Catalogs from files: what is in them comes out as it was, what cannot be used is refused, and moving stars are found."""

from __future__ import annotations

import gzip
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import MaskedColumn, Table

from alerts.catalogs.catalog import BadCatalog, Candidates, Catalog, SourceColumns
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.files.local import SLOW_MAS_YR, LocalCatalog, check_local, open_local
from alerts.catalogs.files.read_table import open_local_file
from alerts.catalogs.files.shared import shared_local
from alerts.catalogs.files.sky_index import SkyIndex
from alerts.catalogs.matching import separations, within
from alerts.catalogs.open import catalog_of
from alerts.catalogs.proper_motion import move
from alerts.catalogs.spec import parse_spec
from tests.alerts.catalogs.stars import BARNARD, STARS

LONG_ID = 4472832130942575872
MAS_DEG = 1 / 3.6e6
MOVING = {"pmra": "pmra", "pmdec": "pmdec", "epoch": "2016.0"}


def names_found(found: Candidates, column: str) -> list[list]:
    """For each position that found something, what stands in a column of the sources there."""
    values = found.sources.column(column).to_pylist()
    return [sorted(values[i] for i in np.flatnonzero(found.position == p)) for p in np.unique(found.position)]


def everything(catalog: LocalCatalog) -> list[dict]:
    """All rows, by searching all of the sky."""
    found = catalog.search(np.array([0.0]), np.array([0.0]), 180 * 3600.0, None)
    return sorted(found.sources.to_pylist(), key=lambda row: row["ra"])


def write_csv(path, text: str) -> str:
    path.write_text(text)
    return str(path)


class Counting:
    """Opens files, and counts how often, and how many bytes were read."""

    def __init__(self) -> None:
        self.opened, self.bytes = 0, 0

    def __call__(self, path: str) -> io.BufferedReader:
        self.opened += 1
        count = self

        class File(io.FileIO):
            def readinto(self, buffer) -> int:
                read = super().readinto(buffer)
                count.bytes += read
                return read

        return io.BufferedReader(File(path))


# ---------------------------------------------------------------------------------------------------------------- formats

RA = [10.0, 150.123456789, 359.99999, 0.0]
DEC = [-45.5, 2.2, 0.00001, 90.0]
IDS = [LONG_ID, LONG_ID + 1, 2**63 - 1, -7]


def parquet_file(folder, ending: str) -> str:
    columns = {
        "Source": pa.array(IDS, pa.int64()),
        "RA": RA,
        "Dec": DEC,
        "mag": pa.array([20.5, float("nan"), -999.0, None], pa.float32()),
        "kind": ["RR", "", "null", None],
    }
    pq.write_table(pa.table(columns), folder / f"stars{ending}", row_group_size=2)
    return str(folder / f"stars{ending}")


def csv_file(folder, ending: str) -> str:
    rows = zip(IDS, RA, DEC, ["20.5", "NaN", "-999.0", ""], ["RR", '""', '"null"', ""], strict=True)
    text = "\ufeffSource, RA,Dec,mag,kind\r\n" + "".join(",".join(map(str, row)) + "\r\n" for row in rows)
    data = text.encode()
    (folder / f"stars{ending}").write_bytes(gzip.compress(data) if ending.endswith(".gz") else data)
    return str(folder / f"stars{ending}")


def fits_file(folder, ending: str) -> str:
    table = Table(
        {
            "Source": np.array(IDS, ">i8"),
            "RA": np.array(RA, ">f8"),
            "Dec": np.array(DEC, ">f8"),
            "mag": np.array([20.5, np.nan, -999.0, np.nan], ">f4"),
            "kind": np.array([b"RR", b"", b"null", b""]),
        }
    )
    table["RA"].unit = table["Dec"].unit = "deg"
    table.write(folder / f"stars{ending}", format="fits")
    return str(folder / f"stars{ending}")


WRITERS = {".parquet": parquet_file, ".csv": csv_file, ".csv.gz": csv_file, ".fits": fits_file, ".fit": fits_file}


@pytest.mark.parametrize("ending", WRITERS)
def test_every_format_gives_back_what_was_written(tmp_path, ending):
    catalog = open_local(WRITERS[ending](tmp_path, ending), {})
    assert catalog.source_columns == SourceColumns(ra="RA", dec="Dec", source_id="Source")
    assert len(catalog) == 4
    found = catalog.search(np.array(RA), np.array(DEC), 0.001, None)
    assert found.position.tolist() == [0, 1, 2, 3]
    assert found.separation_arcsec is None
    assert found.sources.column("Source").to_pylist() == IDS
    assert found.sources.column("RA").to_pylist() == RA
    assert found.sources.column("Dec").to_pylist() == DEC
    # NaN is a number, NULL is none, and text may be empty; FITS has no null for these.
    mag, kind = found.sources.column("mag").to_pylist(), found.sources.column("kind").to_pylist()
    assert (mag[0], mag[2]) == (20.5, -999.0)
    assert np.isnan(mag[1])
    assert (np.isnan(mag[3]), kind[3]) == (True, "") if "fit" in ending else (mag[3] is None, kind[3]) == (True, None)
    assert kind[:3] == ["RR", "", "null"]


def test_a_file_keeps_its_types(tmp_path):
    parquet = open_local(parquet_file(tmp_path, ".parquet"), {})
    found = parquet.search(np.array(RA), np.array(DEC), 1.0, None)
    assert found.sources.schema.types == [pa.int64(), pa.float64(), pa.float64(), pa.float32(), pa.string()]
    assert isinstance(found.sources, pa.RecordBatch)
    # Also of an answer without any source.
    assert parquet.search(np.array([77.0]), np.array([7.0]), 1.0, None).sources.schema == found.sources.schema


def test_columns_of_fits_that_are_more_than_numbers(tmp_path):
    table = Table(
        {
            "ra": np.array([10.0, 20.0]),
            "dec": np.array([1.0, 2.0]),
            "count": MaskedColumn(np.array([5, 6], ">i2"), mask=[False, True]),
            "big": np.array([2**63 + 1, 5], "u8"),
            "flag": [True, False],
            "bands": np.arange(6, dtype=">f8").reshape(2, 3),
            "name": ["a b  ", "c"],
        }
    )
    table.write(tmp_path / "more.fits")
    assert everything(open_local(str(tmp_path / "more.fits"), {})) == [
        {"ra": 10.0, "dec": 1.0, "count": 5, "big": 2**63 + 1, "flag": True, "bands": [0.0, 1.0, 2.0], "name": "a b"},
        {"ra": 20.0, "dec": 2.0, "count": None, "big": 5, "flag": False, "bands": [3.0, 4.0, 5.0], "name": "c"},
    ]


def test_an_ascii_table_in_fits_after_an_image(tmp_path):
    columns = [
        fits.Column("RAdeg", "F12.6", array=np.array([10.5, 20.5])),
        fits.Column("DEdeg", "F12.6", array=np.array([-1.5, 2.5])),
        fits.Column("HIP", "I6", array=np.array([1, 118322])),
        fits.Column("Name", "A5", array=np.array(["a", "b c"])),
    ]
    image = fits.ImageHDU(np.zeros((3, 3)))
    fits.HDUList([fits.PrimaryHDU(), image, fits.TableHDU.from_columns(columns)]).writeto(tmp_path / "hip.fit")
    catalog = open_local(str(tmp_path / "hip.fit"), {"id": "HIP"})
    found = catalog.search(np.array([20.5]), np.array([2.5]), 1.0, None)
    assert found.sources.to_pylist() == [{"RAdeg": 20.5, "DEdeg": 2.5, "HIP": 118322, "Name": "b c"}]


def test_what_is_not_ascii_in_fits_is_read_as_latin_1_where_it_is_no_utf_8(tmp_path):
    for name, data in (("a", "caf\u00e9".encode("latin-1")), ("b", "caf\u00e9".encode())):
        Table({"ra": [1.0], "dec": [2.0], "name": np.array([data])}).write(tmp_path / f"{name}.fits")
        assert everything(open_local(str(tmp_path / f"{name}.fits"), {}))[0]["name"] == "caf\u00e9"


def test_other_types_of_numbers_and_text_in_parquet(tmp_path):
    columns = {
        "ra": pa.array([Decimal("10.5"), Decimal("20.5")]),
        "dec": pa.array([1, 2], pa.float32()),
        "name": pa.array(["a", "b"]).dictionary_encode(),
        "kind": pa.array(["RR Lyrae", "a text longer than twelve bytes"], pa.string_view()),
    }
    pq.write_table(pa.table(columns), tmp_path / "other.parquet")
    catalog = open_local(str(tmp_path / "other.parquet"), {})
    assert catalog.source_columns.source_id == "name"
    found = catalog.search(np.array([20.5]), np.array([2.0]), 1.0, None)
    assert found.sources.to_pylist() == [
        {"ra": Decimal("20.5"), "dec": 2.0, "name": "b", "kind": "a text longer than twelve bytes"}
    ]


def test_lists_and_arrays_of_parquet_come_as_they_are(tmp_path):
    columns = {"ra": [10.0, 20.0], "dec": [0.0, 0.0], "epochs": [[1, 2], []], "meta": [{"n": 1}, None]}
    pq.write_table(pa.table(columns), tmp_path / "nested.parquet")
    rows = everything(open_local(str(tmp_path / "nested.parquet"), {}))
    assert [(row["epochs"], row["meta"]) for row in rows] == [([1, 2], {"n": 1}), ([], None)]


CSV_COLUMNS = {
    "leading zeros": (["00123", "00007"], ["00123", "00007"]),
    "one leading zero": (["1", "07"], ["1", "07"]),
    "19 digits": ([str(LONG_ID), "9223372036854775807"], [LONG_ID, 2**63 - 1]),
    "unsigned": ([str(2**64 - 1), "0"], [2**64 - 1, 0]),
    "longer than any integer": ([str(2**64), "1"], [str(2**64), "1"]),
    "long among floats": ([str(LONG_ID), "1.5"], [str(LONG_ID), "1.5"]),
    "minus nothing": (["-0", "5"], [0.0, 5.0]),
    "integers with gaps": (["7", ""], [7, None]),
    "integers with a null": (["7", "null"], [7, None]),
    "floats": (["1.50", "-2e-3"], [1.5, -0.002]),
    "plus signs": (["+1.5", "+2"], [1.5, 2.0]),
    "blanks": ([" 1.5", "2.5 "], [1.5, 2.5]),
    "decimals with leading zeros": (["0012.5", "12.5"], ["0012.5", "12.5"]),
    "words": (["RR Lyr", " b"], ["RR Lyr", " b"]),
    "null as a word": (["null", "RR"], ["null", "RR"]),
    "truth": (["true", "false"], ["true", "false"]),
    "a day": (["2024-01-01", ""], ["2024-01-01", None]),
    "nothing": (["", ""], [None, None]),
    "a field with commas and lines": (['"a,b\nc"', '"say ""x"""'], ["a,b\nc", 'say "x"']),
}


@pytest.mark.parametrize("name", CSV_COLUMNS)
def test_a_column_of_csv_is_of_the_type_of_all_its_values(tmp_path, name):
    texts, values = CSV_COLUMNS[name]
    path = write_csv(tmp_path / "one.csv", f"ra,dec,x\n10,0,{texts[0]}\n20,0,{texts[1]}\n")
    found = [row["x"] for row in everything(open_local(path, {}))]
    assert found == values
    assert [type(one) for one in found] == [type(one) for one in values]


def test_the_last_row_of_a_long_csv_decides_the_type_for_all(tmp_path):
    count = 200_000
    rows = "".join(f"{360 * i / count},{i % 90},{i},{i}\n" for i in range(count))
    path = write_csv(tmp_path / "long.csv", f"ra,dec,id,n\n{rows}1.0,-89,000123,0.5\n")
    assert os.path.getsize(path) > 2 * 2**20
    found = open_local(path, {}).search(np.array([1.0, 0.0]), np.array([-89.0, 0.0]), 0.1, None)
    assert found.sources.column("id").to_pylist() == ["000123", "0"]
    assert found.sources.column("n").to_pylist() == [0.5, 0.0]


def test_lines_within_quotes_are_no_rows_however_long_the_file(tmp_path):
    remark = "first line\nsecond, line\n" * 20
    path = write_csv(tmp_path / "remarks.csv", "ra,dec,remark\n" + "".join(f'{i / 20},0,"{remark}"\n' for i in range(7000)))
    assert os.path.getsize(path) > 3 * 2**20
    assert check_local(path, {}).ra == "ra"
    rows = everything(open_local(path, {}))
    assert [row["ra"] for row in rows] == [i / 20 for i in range(7000)]
    assert {row["remark"] for row in rows} == {remark}


def test_positions_padded_with_zeros_and_signs_are_numbers(tmp_path):
    path = write_csv(tmp_path / "vizier.csv", "RAJ2000,DEJ2000,ID\n010.684708,+41.268750,0042\n 266.4,-05.25,0043\n")
    catalog = open_local(path, {})
    found = catalog.search(np.array([10.684708, 266.4]), np.array([41.26875, -5.25]), 0.01, None)
    assert found.sources.column("ID").to_pylist() == ["0042", "0043"]


def test_ids_in_csv_are_never_floats(tmp_path):
    path = write_csv(tmp_path / "ids.csv", "ra,dec,name\n10,0,12.50\n20,0,1e5\n")
    catalog = open_local(path, {})
    assert catalog.source_columns.source_id == "name"
    assert [row["name"] for row in everything(catalog)] == ["12.50", "1e5"]


def test_text_beyond_two_gigabytes_is_searched_too(tmp_path, monkeypatch):
    # As if a few bytes were beyond what 32-bit offsets reach.
    monkeypatch.setattr("alerts.catalogs.files.read_table._MAX_TEXT_BYTES", 10)
    pq.write_table(pa.table({"ra": [1.0, 2.0], "dec": [0.0, 0.0], "kind": ["eclipsing binary", None]}), tmp_path / "t.parquet")
    assert [row["kind"] for row in everything(open_local(str(tmp_path / "t.parquet"), {}))] == ["eclipsing binary", None]


# ------------------------------------------------------------------------------------------------------------ what is where


@pytest.mark.parametrize(
    ("columns", "positions", "source_id"),
    [
        (["source_id", "ra", "dec"], ("ra", "dec"), "source_id"),
        (["RA_deg", "DEC_deg", "n"], ("RA_deg", "DEC_deg"), None),
        (["Name", "RAJ2000", "DEJ2000"], ("RAJ2000", "DEJ2000"), "Name"),
        (["_RAJ2000", "_DEJ2000", "OID"], ("_RAJ2000", "_DEJ2000"), None),
        (["RA_ICRS", "DE_ICRS", "Source"], ("RA_ICRS", "DE_ICRS"), "Source"),
        (["RAdeg", "DEdeg", "ID", "Name"], ("RAdeg", "DEdeg"), "ID"),
        (["raMean", "decMean", "objID"], ("raMean", "decMean"), "objID"),
    ],
)
def test_usual_names_of_columns_need_not_be_said(tmp_path, columns, positions, source_id):
    path = write_csv(tmp_path / "usual.csv", ",".join(columns) + "\n1,2,3" + ",4" * (len(columns) - 3) + "\n")
    source_columns = check_local(path, {})
    assert ((source_columns.ra, source_columns.dec), source_columns.source_id) == (positions, source_id)
    assert (source_columns.position_epoch_jyear, source_columns.match_epoch_jyear, source_columns.moves) == (None, None, False)


def test_what_a_person_says_of_the_columns_holds(tmp_path):
    path = write_csv(tmp_path / "said.csv", "ra,dec,lon,lat,key,pm1,pm2\n1,2,30,40,k,5,6\n")
    said = {"ra": "lon", "dec": "lat", "id": "key", "pmra": "pm1", "pmdec": "pm2", "epoch": "1991.25"}
    catalog = open_local(path, said)
    assert catalog.source_columns == check_local(path, said) == SourceColumns("lon", "lat", "key", "pm1", "pm2", 1991.25)
    assert catalog.source_columns.moves
    assert catalog.search(np.array([30.0]), np.array([40.0]), 1.0, None).sources.column("key").to_pylist() == ["k"]


def test_a_float_is_no_id_unless_nobody_says_so(tmp_path):
    pq.write_table(pa.table({"ra": [1.0], "dec": [2.0], "id": [1.5], "name": ["a"]}), tmp_path / "f.parquet")
    assert check_local(str(tmp_path / "f.parquet"), {}).source_id == "name"


GOOD = "ra,dec,name,pmra,pmdec\n10,20,a,1,2\n"
REFUSALS = {
    "a parameter that files do not take": (
        GOOD,
        {"canary": "1,2"},
        "'canary'; a file takes ra, dec, id, radius, pmra, pmdec, epoch",
    ),
    "only one coordinate": (GOOD, {"ra": "ra"}, "only one of the parameters ra and dec; give both"),
    "only one proper motion": (GOOD, {"pmra": "pmra", "epoch": "2016"}, "only one of the parameters pmra and pmdec"),
    "proper motion without an epoch": (GOOD, {"pmra": "pmra", "pmdec": "pmdec"}, "no epoch; say .* epoch=2016.0"),
    "an epoch in words": (GOOD, {"epoch": "J2016"}, "'J2016'; give a Julian year"),
    "an epoch as a day": (GOOD, {"epoch": "57388.5"}, "Julian year from 1800 to 2200"),
    "an epoch that is none": (GOOD, {"epoch": "nan"}, "Julian year"),
    "a column that is not there": (GOOD, {"ra": "RA", "dec": "dec"}, "no column 'RA'; it has ra, dec, name, pmra, pmdec"),
    "an id that is not there": (GOOD, {"id": "source"}, "no column 'source'; it has ra"),
    "a motion that is not there": (GOOD, {**MOVING, "pmdec": "pmde"}, "no column 'pmde'"),
    "text for a position": (
        GOOD,
        {"ra": "name", "dec": "dec"},
        "'name' .* text such as 'a'; it must hold decimal numbers in deg",
    ),
    "text for a motion": (GOOD, {**MOVING, "pmra": "name"}, "text such as 'a'; it must hold decimal numbers in mas / yr"),
    "a position in words": ("ra,dec\nnorth,22\n", {}, "'ra' .* text such as 'north'; .* or text like 05:34:31.9"),
    "positions of another equinox": ("RAB1950,DEB1950\n1,2\n", {}, r"column 'RAB1950' in B1950 \(FK4\) ones; convert"),
    "galactic positions": ("GLON,GLAT\n1,2\n", {}, r"column 'GLON' in galactic ones; convert .*frame='galactic'"),
    "galactic positions asked for": ("l,b\n1,2\n", {"ra": "l", "dec": "b"}, "column 'l' of .* holds galactic coordinates"),
    "positions of no known name": (
        "lon,lat\n1,2\n",
        {},
        r"known to hold positions; say which with ra=..&dec=..; it has lon, lat",
    ),
    "positions of two names": ("ra,dec,RAJ2000,DEJ2000\n1,2,3,4\n", {}, r"several .* \(ra/dec, RAJ2000/DEJ2000\); say which"),
    "names that differ by case": ("ra,RA,dec\n1,2,3\n", {}, r"several .* \(ra/dec, RA/dec\)"),
    "a name twice": ("ra,dec,mag,mag\n1,2,3,4\n", {}, "two columns 'mag'; rename one"),
    "no rows": ("ra,dec\n", {}, "no rows"),
    "nothing at all": ("", {}, "is empty; its first line must name the columns"),
    "rows of other lengths": ("ra,dec\n1,2\n3,4,5\n", {}, "cannot be read as CSV .*Expected 2 columns, got 3"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_before_a_run_starts_say_what_to_do(tmp_path, name):
    text, columns, says = REFUSALS[name]
    path = write_csv(tmp_path / "bad.csv", text)
    for refuse in (check_local, open_local):
        with pytest.raises(BadCatalog, match=says) as refused:
            refuse(path, columns)
        assert str(path) in str(refused.value)
        assert "\n" not in str(refused.value)


def damaged(path: str, data: bytes) -> str:
    with open(path, "wb") as file:
        file.write(data)
    return path


def test_files_that_are_not_there_or_not_what_their_name_says(tmp_path):
    with pytest.raises(BadCatalog, match=r"cannot be opened \(FileNotFoundError.*every worker can read"):
        check_local(str(tmp_path / "none.parquet"), {})
    with pytest.raises(BadCatalog, match=r"must end in \.parquet, \.csv, \.tsv, \.fits, .* or that and \.gz, \.bz2, \.xz, \.zip"):
        check_local(str(tmp_path / "stars.txt"), {})
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(BadCatalog, match=r"the folder .* holds no \.parquet file"):
        check_local(str(tmp_path / "folder.parquet"), {})
    for ending, kind in ((".parquet", "Parquet"), (".fits", "FITS"), (".csv", "CSV")):
        for data in (b"\xff\xfe\x00\x01" * 1000, b"" if ending != ".csv" else b"\xff"):
            with pytest.raises(BadCatalog, match=f"cannot be read as {kind}.*write it anew"):
                check_local(damaged(str(tmp_path / f"other{ending}"), data), {})


@pytest.mark.filterwarnings("ignore:File may have been truncated")
@pytest.mark.parametrize("ending", WRITERS)
def test_a_file_that_is_cut_is_refused(tmp_path, ending):
    path = WRITERS[ending](tmp_path, ending)
    with open(path, "rb") as file:
        data = file.read()
    # Of a CSV file within a line, for between two nothing tells.
    kept = data[: -2880 if "fit" in ending else -9]
    # What is compressed tells only at its end.
    for refuse in (open_local,) if ending == ".csv.gz" else (open_local, check_local):
        with pytest.raises(BadCatalog, match="is cut: it ends before byte" if "fit" in ending else "cannot be read as"):
            refuse(damaged(path, kept), {})


def test_refusals_of_what_parquet_and_fits_tell_of_themselves(tmp_path):
    parquet, fits_path = str(tmp_path / "a.parquet"), str(tmp_path / "a.fits")
    pq.write_table(pa.table({"ra": ["1h"], "dec": [2.0], "id": [0.5], "when": [True]}), parquet)
    for columns, says in (
        ({"ra": "when", "dec": "dec"}, "holds bool"),
        ({"ra": "dec", "dec": "dec", "id": "id"}, "'id' of .* holds double; ids are integers or text"),
    ):
        with pytest.raises(BadCatalog, match=says):
            check_local(parquet, columns)
    with pytest.raises(BadCatalog, match=r"row 0 \(from 0\) of .* has '1h' for 'ra'"):
        open_local(parquet, {})
    table = Table({"ra": [0.1], "dec": [0.2], "ra_h": [1.0], "pmra": [0.1], "pmdec": [0.1], "odd": [1.0]})
    for name, unit in {"ra": "Jy", "dec": "deg", "pmra": "arcsec/yr", "pmdec": "mas/yr"}.items():
        table[name].unit = unit
    table.write(fits_path)
    for columns, says in (
        ({}, "'ra' of .* is in Jy, which is no unit of an angle"),
        ({"ra": "ra_h", "dec": "dec", **MOVING}, "'pmra' of .* is in arcsec.* it must be in mas / yr"),
    ):
        with pytest.raises(BadCatalog, match=says):
            check_local(fits_path, columns)
    assert check_local(fits_path, {"ra": "odd", "dec": "dec"}).ra == "odd"
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(tmp_path / "image.fits")
    with pytest.raises(BadCatalog, match="holds no table, only images"):
        check_local(str(tmp_path / "image.fits"), {})
    Table({"ra": np.empty(0), "dec": np.empty(0)}).write(tmp_path / "empty.fits")
    pq.write_table(pa.table({"ra": np.empty(0), "dec": np.empty(0)}), tmp_path / "empty.parquet")
    for name in ("empty.fits", "empty.parquet"):
        with pytest.raises(BadCatalog, match="no rows"):
            check_local(str(tmp_path / name), {})


def test_what_only_the_rows_tell_is_refused_when_they_are_read(tmp_path):
    many = "".join(f"{i % 360},0\n" for i in range(300_000))
    path = write_csv(tmp_path / "late.csv", f"ra,dec\n{many}05:34:31,0\n")
    check_local(path, {})
    with pytest.raises(BadCatalog, match=r"row 300000 \(from 0\) of .* has '05:34:31' for 'ra'; write all of the column as"):
        open_local(path, {})
    path = write_csv(tmp_path / "radians.csv", "ra,dec\n-999,-999\n400,1\n")
    with pytest.raises(BadCatalog, match=r"none of the 2 sources .* is on the sky; columns 'ra' and 'dec' must hold degrees"):
        open_local(path, {})


def test_a_check_reads_no_rows(tmp_path):
    count = 400_000
    dice = np.random.default_rng(1)
    table = {"ra": dice.uniform(0, 360, count), "dec": dice.uniform(-90, 90, count), "id": np.arange(count)}
    pq.write_table(pa.table(table), tmp_path / "big.parquet")
    Table(table).write(tmp_path / "big.fits")
    pa_csv.write_csv(pa.table(table), tmp_path / "big.csv")
    for name, most in (("big.parquet", 100_000), ("big.fits", 100_000), ("big.csv", 4 * 2**20)):
        opener = Counting()
        path = str(tmp_path / name)
        assert check_local(path, {}, opener).source_id == "id"
        assert 0 < opener.bytes < most < os.path.getsize(path)


def test_the_opener_is_asked_for_every_file_and_what_it_gives_is_closed(tmp_path):
    handles = []

    def opener(uri: str) -> io.BufferedReader:
        handles.append((tmp_path / uri.removeprefix("gs://bucket/")).open("rb"))
        return handles[-1]

    for ending, write in WRITERS.items():
        write(tmp_path, ending)
        assert len(open_local(f"gs://bucket/stars{ending}", {}, opener)) == 4
    assert len(handles) >= len(WRITERS)
    assert all(handle.closed for handle in handles)


def test_a_file_of_an_opener_that_fails_is_refused_with_its_words():
    def opener(uri: str):
        raise RuntimeError("no credentials\nfor this bucket")

    with pytest.raises(BadCatalog, match=r"gs://b/a.csv cannot be opened \(RuntimeError: no credentials for this bucket\)"):
        check_local("gs://b/a.csv", {}, opener)


# --------------------------------------------------------------------------------------------------------------- searching


def test_sources_without_a_place_on_the_sky_are_left_out_and_counted(tmp_path):
    ra = pa.array([10.0, None, float("nan"), 360.1, -0.1, 20.0, 30.0, 40.0])
    dec = pa.array([0.0, 0.0, 0.0, 0.0, 0.0, 90.5, None, -90.0])
    pq.write_table(pa.table({"ra": ra, "dec": dec, "id": list("abcdefgh")}), tmp_path / "holes.parquet")
    catalog = open_local(str(tmp_path / "holes.parquet"), {})
    assert (len(catalog), catalog.left_out) == (2, 6)
    found = catalog.search(np.array([10.0, 200.0]), np.array([0.0, -90.0]), 1.0, None)
    assert names_found(found, "id") == [["a"], ["h"]]


def test_a_run_is_told_once_how_many_sources_have_no_place(tmp_path, caplog):
    path = write_csv(tmp_path / "holes.csv", "ra,dec,id\n10,0,a\n400,0,b\n")
    catalog = catalog_of(parse_spec(f"file:{path}", 1.5), Gate(1), open_local_file)
    for _ in range(3):
        assert catalog.search(np.array([10.0]), np.array([0.0]), 1.0, None).position.tolist() == [0]
    [said] = [one.getMessage() for one in caplog.records]
    assert said == f"file:{path}: 1 sources have a position that is no place on the sky, and are left out"


def test_degrees_of_ours_take_no_name_that_the_file_has(tmp_path):
    path = write_csv(tmp_path / "names.csv", "RA,DEC,ra_deg,_ra_deg\n10:00:24,2.2,x,y\n")
    catalog = open_local(path, {"ra": "RA", "dec": "DEC"})
    found = catalog.search(np.array([150.1]), np.array([2.2]), 1.0, None)
    [source] = found.sources.to_pylist()
    assert (source["RA"], source["ra_deg"], source["_ra_deg"]) == ("10:00:24", "x", "y")
    assert (catalog.source_columns.ra, source[catalog.source_columns.ra]) == ("__ra_deg", pytest.approx(150.1))


def test_a_source_at_360_is_at_0(tmp_path):
    pq.write_table(pa.table({"ra": [360.0, 359.999], "dec": [10.0, 10.0], "id": list("ab")}), tmp_path / "round.parquet")
    catalog = open_local(str(tmp_path / "round.parquet"), {})
    assert catalog.left_out == 0
    found = catalog.search(np.array([0.0, 360.0]), np.array([10.0, 10.0]), 1.0, None)
    assert names_found(found, "id") == [["a"], ["a"]]


def test_it_is_a_catalog(tmp_path):
    catalog: Catalog = open_local(parquet_file(tmp_path, ".parquet"), {})
    nothing = catalog.search(np.empty(0), np.empty(0), 5.0, None)
    assert (nothing.position.tolist(), nothing.sources.num_rows) == ([], 0)
    # Without proper motions an epoch changes nothing.
    found = catalog.search(np.array(RA), np.array(DEC), 5.0, np.full(4, 2026.9))
    assert found.position.tolist() == [0, 1, 2, 3]


def test_candidates_are_what_the_cut_keeps(tmp_path):
    dice = np.random.default_rng(3)
    ra, dec = dice.uniform(0, 0.1, 20_000) % 360, dice.uniform(-0.05, 0.05, 20_000)
    pq.write_table(pa.table({"ra": ra, "dec": dec}), tmp_path / "field.parquet")
    catalog = open_local(str(tmp_path / "field.parquet"), {})
    positions = dice.uniform(0, 0.1, 256), dice.uniform(-0.05, 0.05, 256)
    found = catalog.search(*positions, 5.0, None)
    answer = within(found, catalog.source_columns, *positions, radius_arcsec=5.0, epoch_jyear=None)
    assert len(answer.position) == len(found.position) > 1_000


def test_four_threads_load_a_catalog_once(tmp_path):
    path = parquet_file(tmp_path, ".parquet")
    opener, alone = Counting(), Counting()
    open_local(path, {}, alone)
    together = threading.Barrier(4)

    def ask(_: int) -> LocalCatalog:
        together.wait(timeout=30)
        return shared_local(path, {}, opener)

    with ThreadPoolExecutor(4) as threads:
        catalogs = list(threads.map(ask, range(4)))
    assert len({id(one) for one in catalogs}) == 1
    assert opener.opened == alone.opened
    assert shared_local(path, {}, opener) is catalogs[0]
    assert shared_local(path, {"id": "kind"}, opener) is not catalogs[0]


def test_a_shared_catalog_that_could_not_be_opened_is_tried_again(tmp_path):
    path = str(tmp_path / "later.csv")
    with pytest.raises(BadCatalog, match="cannot be opened"):
        shared_local(path, {})
    write_csv(tmp_path / "later.csv", GOOD)
    assert len(shared_local(path, {})) == 1


def test_a_shared_catalog_whose_file_has_changed_is_read_again(tmp_path):
    path = write_csv(tmp_path / "new.csv", GOOD)
    first = shared_local(path, {})
    write_csv(tmp_path / "new.csv", GOOD + "30,40,b,0,0\n")
    assert (len(first), len(shared_local(path, {}))) == (1, 2)


def test_threads_search_one_catalog_at_once(tmp_path):
    dice = np.random.default_rng(5)
    ra, dec = dice.uniform(0, 1, 50_000), dice.uniform(0, 1, 50_000)
    pq.write_table(pa.table({"ra": ra, "dec": dec, "id": np.arange(50_000)}), tmp_path / "shared.parquet")
    catalog = open_local(str(tmp_path / "shared.parquet"), {})

    def ask(_: int) -> list[int]:
        return catalog.search(ra[:500], dec[:500], 20.0, None).sources.column("id").to_pylist()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, range(40)))
    assert len(answers[0]) > 500
    assert all(one == answers[0] for one in answers)


# ----------------------------------------------------------------------------------------------------------- proper motion


def moving_file(folder, ra, dec, pmra, pmdec, names=None) -> str:
    columns = {"ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec, "id": names if names is not None else np.arange(len(ra))}
    pq.write_table(pa.table(columns), folder / "moving.parquet")
    return str(folder / "moving.parquet")


def test_stars_are_found_where_the_literature_has_them_at_other_epochs(tmp_path):
    columns = [[star.at_2016[0] for star in STARS], [star.at_2016[1] for star in STARS]]
    path = moving_file(tmp_path, *columns, *zip(*(star.pm for star in STARS), strict=True), [star.name for star in STARS])
    catalog = open_local(path, MOVING)
    for year in (1991.25, 2000.0):
        places = [star.at_1991_25 if year == 1991.25 else star.at_2000 for star in STARS]
        ra, dec = (np.array(one) for one in zip(*places, strict=True))
        found = catalog.search(ra, dec, 1.5, np.full(len(STARS), year))
        answer = within(found, catalog.source_columns, ra, dec, radius_arcsec=1.5, epoch_jyear=np.full(len(STARS), year))
        assert answer.source_id.to_pylist() == [star.name for star in STARS]
        # Where it stood in 2016 Barnard's star is far from there.
        assert BARNARD.name not in catalog.search(ra, dec, 1.5, None).sources.column("id").to_pylist()


def crowd_of_movers(dice: np.random.Generator, count: int) -> tuple[np.ndarray, ...]:
    """10 arcsec a year, 150 mas a year, none at all or none known, and between; many at RA 0/360 and around a pole."""
    ra = np.where(dice.random(count) < 0.5, dice.uniform(0, 360, count), dice.normal(0, 0.02, count) % 360 % 360)
    dec = np.where(
        dice.random(count) < 0.3,
        89.98,
        np.where(dice.random(count) < 0.5, dice.uniform(-90, 90, count), dice.normal(0, 0.02, count)),
    )
    total, angle = dice.choice([0.0, 1.0, 150.0, SLOW_MAS_YR, 188.0, 1000.0, 10_000.0], count), dice.uniform(0, 2 * np.pi, count)
    pmra, pmdec = total * np.sin(angle), total * np.cos(angle)
    pmra[::20] = np.nan
    return ra, dec, pmra, pmdec


@pytest.mark.parametrize(
    ("years", "radius_arcsec"), [(-24.75, 1.5), (-1.0, 0.05), (0.0, 1.5), (10.9, 30.0), (30.0, 0.05), (30.0, 180.0)]
)
def test_no_star_that_comes_within_the_radius_is_missed(tmp_path, years, radius_arcsec):
    dice = np.random.default_rng(7)
    stars = crowd_of_movers(dice, 1000)
    catalog = open_local(moving_file(tmp_path, *stars), MOVING)
    there = move(*stars, from_jyear=2016.0, to_jyear=2016.0 + years)
    # Alerts on both sides of a radius from where the stars are by then.
    ra, dec = there[0], np.clip(there[1] + radius_arcsec / 3600 * dice.choice([0.0, -0.9999, 0.9999, 1.0001], 1000), -90, 90)
    position, source = (grid.ravel() for grid in np.indices((1000, 1000)))
    near = separations(ra[position], dec[position], there[0][source], there[1][source]) <= radius_arcsec
    epoch = np.full(1000, 2016.0 + years)
    found = catalog.search(ra, dec, radius_arcsec, epoch)
    answer = within(found, catalog.source_columns, ra, dec, radius_arcsec=radius_arcsec, epoch_jyear=epoch)
    pairs = zip(answer.position.tolist(), map(int, answer.source_id.to_pylist()), strict=True)
    assert np.count_nonzero(near) > 700
    assert sorted(pairs) == list(zip(position[near].tolist(), source[near].tolist(), strict=True))


def test_each_alert_is_widened_by_its_own_years_and_slow_stars_not_by_fast_ones(tmp_path):
    # Of the alerts' place a star of 10 arcsec a year is 200 arcsec north, and one of 150 mas a year 2.9; one stands at 100.
    dec = np.array([200.0, 2.9, 100.0]) / 3600
    path = moving_file(tmp_path, np.full(3, 10.0), dec, np.zeros(3), [-10_000.0, -150.0, 0.0], ["fast", "slow", "still"])
    catalog = open_local(path, MOVING)
    ra, dec, epoch = np.full(3, 10.0), np.zeros(3), np.array([2016.0, 2026.0, 2036.0])
    found = catalog.search(ra, dec, 1.5, epoch)
    assert np.unique(found.position).tolist() == [1, 2]
    assert names_found(found, "id") == [["slow"], ["fast", "slow"]]
    answer = within(found, catalog.source_columns, ra, dec, radius_arcsec=1.5, epoch_jyear=epoch)
    assert sorted(zip(answer.position.tolist(), answer.source_id.to_pylist(), strict=True)) == [
        (1, "slow"),
        (2, "fast"),
        (2, "slow"),
    ]


def test_a_filler_for_a_proper_motion_does_not_bring_all_of_the_sky(tmp_path):
    count = 1000
    ra, pm = np.arange(count) * 0.36, np.where(np.arange(count) % 2, 1e20, np.inf)
    catalog = open_local(moving_file(tmp_path, ra, np.zeros(count), pm, pm), MOVING)
    found = catalog.search(ra[:1], np.zeros(1), 1.5, np.array([2026.0]))
    assert 1 <= found.sources.num_rows < 5


def test_without_an_epoch_or_at_its_own_stars_are_where_the_file_has_them(tmp_path):
    ra, dec, *motion = crowd_of_movers(np.random.default_rng(9), 1000)
    catalog = open_local(moving_file(tmp_path, ra, dec, *motion), MOVING)
    position, source = SkyIndex(ra, dec).pairs(ra, dec, 1.5)
    for epoch in (None, np.full(1000, 2016.0), np.full(1000, np.nan)):
        found = catalog.search(ra, dec, 1.5, epoch)
        pairs = zip(found.position.tolist(), found.sources.column("id").to_pylist(), strict=True)
        assert sorted(pairs) == sorted(zip(position.tolist(), source.tolist(), strict=True))


# --------------------------------------------------------------------------------------------------------------- real data


def test_variable_stars_of_the_gcvs_are_found_as_fink_found_them(real_data):
    catalog = open_local(str(real_data / "catalogs/gcvs.parquet"), {})
    assert (len(catalog), catalog.left_out, catalog.source_columns) == (59_099, 0, SourceColumns("ra", "dec"))
    labels = pa_csv.read_csv(real_data / "catalogs/fink_xmatch_labels.csv")
    ra, dec, label = (labels.column(name).to_numpy() for name in ("ra", "dec", "gcvs"))
    found = catalog.search(ra, dec, 1.5, None)
    kinds = dict(zip(found.position.tolist(), found.sources.column("VarType").to_pylist(), strict=True))
    variable = [i for i, kind in enumerate(label) if kind not in ("", None, "Unknown")]
    assert len(variable) == 27
    # The file pads its types with blanks.
    assert [kinds[i].strip() for i in variable] == [label[i] for i in variable]
    unknown = np.flatnonzero(label == "Unknown")
    assert (len(unknown), len([i for i in unknown if i in kinds])) == (323, 1)


def test_a_catalog_in_hours_and_degrees_of_arc(real_data):
    catalog = open_local(str(real_data / "catalogs/3hsp.csv"), {"id": "3HSP Source name"})
    assert (catalog.source_columns.ra, catalog.source_columns.dec, catalog.left_out) == ("ra_deg", "dec_deg", 0)
    # 3HSPJ000116.4+293534 at 00 01 16.37 +29 35 34.0
    found = catalog.search(np.array([0.3182083333]), np.array([29.5927777778]), 0.1, None)
    assert found.sources.column("3HSP Source name").to_pylist() == ["3HSPJ000116.4+293534"]
    rows = catalog.search(np.array([0.0]), np.array([0.0]), 180 * 3600.0, None).sources.to_pylist()
    right = SkyCoord([row["R.A."] for row in rows], [row["Dec"] for row in rows], unit=("hourangle", "deg"))
    ours = SkyCoord([row["ra_deg"] for row in rows], [row["dec_deg"] for row in rows], unit="deg")
    assert len(rows) == 2013
    assert right.separation(ours).arcsec.max() < 1e-6
