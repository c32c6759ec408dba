"""Positions from users' tables: astropy is the judge, and what is no position is refused with its row."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import astropy.units as u
import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import Angle, Latitude, Longitude, SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.files.position_columns import ColumnFacts, find_positions
from alerts.catalogs.files.table_positions import table_positions

DEC = [1.0, 5.0, 2.0]
MISSING = {
    "a masked column": (MaskedColumn([10.0, 0.0, 20.0], mask=[False, True, False]), "masked"),
    "a masked column of integers": (MaskedColumn([10, 0, 20], mask=[False, True, False]), "masked"),
    "a masked column of text": (MaskedColumn(["10", "0", "20"], mask=[False, True, False]), "masked"),
    "a masked quantity": (Masked([10.0, 0.0, 20.0] * u.deg, mask=[False, True, False]), "masked"),
    "masked longitudes": (Masked(Longitude([10.0, 0.0, 20.0] * u.deg), mask=[False, True, False]), "masked"),
    "NaN": (Column([10.0, np.nan, 20.0]), "nan"),
    "NaN in a quantity": ([10.0, np.nan, 20.0] * u.deg, "nan deg"),
    "an empty text": (Column(["10", "", "20"]), "''"),
    "blanks": (Column(["10", "  ", "20"]), "'  '"),
    "an empty text among angles": (Column(["00:40:00", "", "01:20:00"]), "''"),
    "Python's None": (Column(np.array([10.0, None, 20.0], dtype=object)), "None"),
    "a null of Arrow": (pa.array([10.0, None, 20.0]), "NULL"),
    "a null text of Arrow": (pa.array(["10", None, "20"]), "NULL"),
}


def table_of(ra, dec=None) -> Table | pa.Table:
    dec = DEC[: len(ra)] if dec is None else dec
    return pa.table({"ra": ra, "dec": dec}) if isinstance(ra, pa.Array) else QTable({"ra": ra, "dec": dec})


@pytest.mark.parametrize("name", MISSING)
def test_a_row_without_a_position_is_named_and_not_taken_for_ra_0(name):
    ra, shown = MISSING[name]
    says = rf"row 1 \(from 0\) of the table has no position, 'ra' is {shown}; leave it out"
    with pytest.raises(BadCatalog, match=says):
        table_positions("the table", table_of(ra))
    # The same thing under declination.
    swapped = table_of(ra)
    swapped = swapped.rename_columns(["dec", "ra"]) if isinstance(swapped, pa.Table) else QTable(swapped, names=["dec", "ra"])
    with pytest.raises(BadCatalog, match=says.replace("'ra'", "'dec'")):
        table_positions("the table", swapped)


@pytest.mark.parametrize("ra", [361.0, -0.5, np.inf, -999.0, 1e20])
def test_a_row_off_the_sky_is_named_with_its_value(ra):
    with pytest.raises(BadCatalog, match=r"row 1 \(from 0\) of stars.csv .*'?ra'?.*no place on the sky"):
        table_positions("stars.csv", Table({"ra": [1.0, ra], "dec": [0.0, 0.0]}))
    with pytest.raises(BadCatalog, match=r"dec 90\.1"):
        table_positions("stars.csv", Table({"ra": [1.0], "dec": [90.1]}))


def test_ra_360_is_ra_0():
    ra, _ = table_positions("the table", Table({"ra": [360.0, 0.0, 359.9], "dec": DEC}))
    assert ra.tolist() == [0.0, 0.0, 359.9]
    ra, _ = table_positions("the table", Table({"ra": ["24:00:00", "23:59:60", "0:0:0"], "dec": DEC}))
    assert ra.tolist() == [0.0, 0.0, 0.0]


UNITS = {
    "radians": (Column(np.radians([10.0, 350.0, 20.0]), unit="rad"), Column(np.radians(DEC), unit="rad")),
    "hours": (Column([10 / 15, 350 / 15, 20 / 15], unit="hourangle"), DEC),
    "quantities": ([36000, 1260000, 72000] * u.arcsec, DEC * u.deg),
    "angles": (Longitude([10.0, 350.0, 20.0] * u.deg), Latitude(np.radians(DEC) * u.rad)),
    "text in degrees": (["10.0", " 350", "+20.0"], ["1", "+5", "2.0"]),
    "text in hours": (["00:40:00", "23h20m00s", "01 20 00.0"], ["+01:00:00", "5d0m0s", "02 00 00"]),
    "text in degrees and minutes": (Column(["10:00:00", "350:00:00", "20:0:0"], unit="deg"), DEC),
    "VizieR's unit of text": (Column(["00 40 00", "23 20 00", "01 20 00"], unit=u.Unit('"h:m:s"', parse_strict="silent")), DEC),
    "bytes": (np.array([b"10", b"350", b"20"]), DEC),
}


@pytest.mark.parametrize("name", UNITS)
def test_units_are_heeded(name):
    ra, dec = UNITS[name]
    found = table_positions("the table", (Table if isinstance(ra, Column) else QTable)({"ra": ra, "dec": dec}))
    np.testing.assert_allclose(found[0], [10.0, 350.0, 20.0], atol=1e-10)
    np.testing.assert_allclose(found[1], DEC, atol=1e-10)


def test_sexagesimal_text_is_what_astropy_takes_it_for():
    generator = np.random.default_rng(3)
    places = SkyCoord(generator.uniform(0, 359, 2000), np.degrees(np.arcsin(generator.uniform(-1, 1, 2000))), unit="deg")
    for separator in (":", " ", "hms"):
        for fields in (2, 3):
            how = {"sep": separator if separator != "hms" or fields == 3 else "hm", "precision": 6, "fields": fields, "pad": True}
            ra = [
                text if fields == 3 else text + ".25" * (separator != "hms") for text in places.ra.to_string("hourangle", **how)
            ]
            how["sep"] = how["sep"].replace("h", "d")
            dec = places.dec.to_string("deg", alwayssign=True, **how)
            found = table_positions("the table", Table({"ra": ra, "dec": list(dec)}))
            np.testing.assert_allclose(found[0], Angle(ra, "hourangle").deg % 360, rtol=0, atol=1e-12)
            np.testing.assert_allclose(found[1], Angle(list(dec), "deg").deg, rtol=0, atol=1e-12)
    # The sign of what begins with zero, and a minus that is not ASCII.
    assert table_positions("t", Table({"ra": ["0 0 1"], "dec": ["-00 30 00"]}))[1] == [-0.5]
    assert table_positions("t", Table({"ra": ["0 0 1"], "dec": ["\u221200 30 00"]}))[1] == [-0.5]


@pytest.mark.parametrize(
    ("texts", "row"),
    [
        (["10", "north"], 1),
        (["00:40:00", "10.5"], 1),
        (["10.5", "11.5", "00:40:00", "12.5"], 2),
        (["00:40:00", "188:30:00"], 1),
        (["00:60:00"], 0),
        (["00:10:61"], 0),
        (["00:10.5:30"], 0),
        (["00:40:00", "00:40:00 W"], 1),
        (["1e"], 0),
    ],
)
def test_text_that_is_no_right_ascension_is_refused_with_its_row(texts, row):
    with pytest.raises(
        BadCatalog, match=rf"row {row} \(from 0\) of the table has '{texts[row]}' for 'ra'; write all of the column"
    ):
        table_positions("the table", Table({"ra": texts, "dec": np.zeros(len(texts))}))


def test_positions_kept_as_categories_are_positions():
    """As DuckDB, Polars and Parquet keep columns with few values."""
    angles = pa.array(["00:40:00", "00:40:00", "01:20:00"]).dictionary_encode()
    ra, dec = table_positions("the table", pa.table({"ra": angles, "dec": pa.array(DEC).dictionary_encode()}))
    assert (ra.tolist(), dec.tolist()) == (pytest.approx([10.0, 10.0, 20.0]), DEC)


def test_declination_in_hours_and_columns_of_other_kinds_are_refused():
    with pytest.raises(BadCatalog, match="has '05h00m00s' for 'dec'"):
        table_positions("the table", Table({"ra": [1.0], "dec": ["05h00m00s"]}))
    with pytest.raises(BadCatalog, match="'ra' of the table holds bool"):
        table_positions("the table", Table({"ra": [True], "dec": [1.0]}))
    with pytest.raises(BadCatalog, match=r"'ra' of the table holds date32\[day\]; it must hold decimal numbers in deg, or text"):
        table_positions("the table", pa.table({"ra": [date(2026, 3, 10)], "dec": [1.0]}))
    with pytest.raises(BadCatalog, match="'ra' of the table holds arrays"):
        table_positions("the table", Table({"ra": [[1.0, 2.0]], "dec": [1.0]}))
    with pytest.raises(BadCatalog, match=r"'ra' of the table is in mag, which is no unit of an angle"):
        table_positions("the table", Table({"ra": Column([1.0], unit="mag"), "dec": [1.0]}))


def test_coordinates_of_astropy_know_their_frame():
    galactic = SkyCoord([0.0], [0.0], frame="galactic", unit="deg")
    ra, dec = table_positions("the table", QTable({"name": ["center"], "place": galactic}))
    assert (ra[0], dec[0]) == pytest.approx((266.40498829, -28.93617776), abs=1e-7)
    masked = QTable({"place": SkyCoord(Masked([1.0, 2.0] * u.deg, mask=[False, True]), [1.0, 2.0] * u.deg)})
    with pytest.raises(BadCatalog, match="row 1 "):
        table_positions("the table", masked)


PAIRS = [
    ("RA", "Dec"),
    ("RA", "DEC"),
    ("ra", "declination"),
    ("RA_ICRS", "DE_ICRS"),
    ("RAdeg", "DEdeg"),
    ("raj2000", "dej2000"),
    ("_RAJ2000", "_DEJ2000"),
    ("meanra", "meandec"),
    ("i:ra", "i:dec"),
    ("ra_deg", "dec_deg"),
    ("R.A.", "Dec."),
    ("RA (J2000)", "Dec (J2000)"),
    ("ra [deg]", "dec [deg]"),
    ("candidate.ra", "candidate.dec"),
    ("ALPHA_J2000", "DELTA_J2000"),
    ("Right Ascension", "Declination"),
    ("TARGET_RA", "TARGET_DEC"),
]


@pytest.mark.parametrize("pair", PAIRS)
def test_the_usual_names_are_known(pair):
    found = find_positions(
        "t",
        [
            ColumnFacts("id"),
            *map(ColumnFacts, pair),
            ColumnFacts("e_ra"),
            ColumnFacts("ra_err"),
            ColumnFacts("pmra"),
            ColumnFacts("pmdec"),
        ],
    )
    assert (found.ra, found.dec) == pair


def test_names_that_tell_a_unit():
    found = find_positions("t", [ColumnFacts("ra_rad"), ColumnFacts("dec_rad")])
    assert (found.ra_unit, found.dec_unit) == (u.rad, u.rad)
    # Hipparcos-2 has degrees there.
    assert find_positions("t", [ColumnFacts("RArad"), ColumnFacts("DErad")]).ra_unit is None
    assert find_positions("t", [ColumnFacts("ra [rad]"), ColumnFacts("dec [rad]")]).ra_unit == u.rad
    assert find_positions("t", [ColumnFacts("RAJ2000", '"h:m:s"'), ColumnFacts("DEJ2000", '"d:m:s"')]).ra_unit == u.hourangle


def test_the_main_ucd_decides_and_several_names_are_asked_about():
    fields = [
        ColumnFacts("ra"),
        ColumnFacts("dec"),
        ColumnFacts("alpha", "deg", "pos.eq.ra;meta.main"),
        ColumnFacts("delta", "deg", "pos.eq.dec;meta.main"),
    ]
    assert find_positions("t", fields).ra == "alpha"
    assert (
        find_positions("t", [ColumnFacts("a", ucd="POS_EQ_RA_MAIN"), ColumnFacts("d", ucd="POS_EQ_DEC_MAIN"), *fields[:2]]).ra
        == "a"
    )
    # A plain UCD where no name is known; an error of a position is no position.
    plain = [ColumnFacts("a", ucd="pos.eq.ra"), ColumnFacts("d", ucd="pos.eq.dec"), ColumnFacts("ea", ucd="stat.error;pos.eq.ra")]
    assert find_positions("t", plain).ra == "a"
    with pytest.raises(BadCatalog, match=r"several columns of t may hold the positions \(ra/dec, RAJ2000/DEJ2000\); say which"):
        find_positions("t", [ColumnFacts("ra"), ColumnFacts("dec"), ColumnFacts("RAJ2000"), ColumnFacts("DEJ2000")])
    found = find_positions("t", [ColumnFacts("ra"), ColumnFacts("dec"), ColumnFacts("x"), ColumnFacts("y")], "x", "y")
    assert (found.ra, found.dec) == ("x", "y")
    with pytest.raises(BadCatalog, match="t has no column 'z'; it has x"):
        find_positions("t", [ColumnFacts("x")], "x", "z")
    with pytest.raises(BadCatalog, match="give both"):
        find_positions("t", [ColumnFacts("x")], ra="x")


OTHERS = [
    ([ColumnFacts("RAB1950"), ColumnFacts("DEB1950")], "'RAB1950' in B1950"),
    ([ColumnFacts("_RAB1950"), ColumnFacts("_DEB1950")], "'_RAB1950' in B1950"),
    ([ColumnFacts("ra_1950"), ColumnFacts("dec_1950")], "'ra_1950' in B1950"),
    ([ColumnFacts("RA (B1950)"), ColumnFacts("Dec (B1950)")], "B1950"),
    ([ColumnFacts("GLON"), ColumnFacts("GLAT")], "'GLON' in galactic"),
    ([ColumnFacts("gal_l"), ColumnFacts("gal_b")], "galactic"),
    ([ColumnFacts("ELON"), ColumnFacts("ELAT")], "ecliptic"),
    ([ColumnFacts("x", ucd="pos.galactic.lon"), ColumnFacts("y", ucd="pos.galactic.lat")], "'x' in galactic"),
    ([ColumnFacts("ra", frame="eq_FK4 B1950"), ColumnFacts("dec", frame="eq_FK4 B1950")], "'ra' in B1950"),
    ([ColumnFacts("ra", frame="FK5 1975.0"), ColumnFacts("dec", frame="FK5 1975.0")], "another equinox"),
]


@pytest.mark.parametrize(("fields", "says"), OTHERS)
def test_other_systems_are_refused_by_name(fields, says):
    with pytest.raises(BadCatalog, match=says) as refused:
        find_positions("t", fields)
    assert "SkyCoord" in str(refused.value)
    with pytest.raises(BadCatalog, match="convert them to ICRS"):
        find_positions("t", fields, *[one.name for one in fields])
    # Beside columns that are right they do no harm.
    assert find_positions("t", [*fields, ColumnFacts("_RAJ2000"), ColumnFacts("_DEJ2000")]).ra == "_RAJ2000"


def test_many_threads_read_angles_at_once():
    barrier = threading.Barrier(8)
    texts = [[f"{hour:02d}:{minute:02d}:30.5" for minute in range(60)] for hour in range(8)]

    def positions(hour):
        barrier.wait(10)
        return [table_positions("t", Table({"ra": texts[hour], "dec": np.zeros(60)}))[0] for _ in range(20)]

    with ThreadPoolExecutor(8) as pool:
        for hour, found in enumerate(pool.map(positions, range(8))):
            right = Angle(texts[hour], "hourangle").deg
            assert all(np.allclose(one, right, rtol=0, atol=1e-12) for one in found)
