"""Coverage maps against their own cells, and against mocpy."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import astropy.units as u
import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time, TimeDelta
from mocpy import MOC, STMOC, TimeMOC

from alerts.lists.named import BadList
from alerts.lists.regions import Region, RegionSpec, read_region
from alerts.positions import healpix29
from tests.alerts.lists.regions.making import around

CELLS = [(0, 3), (3, 17), (3, 18), (5, 4000), (8, 12345), (8, 12348), (11, 0)]


def made() -> MOC:
    orders, cells = (np.array(column) for column in zip(*CELLS, strict=True))
    return MOC.from_healpix_cells(cells.astype(np.uint64), orders.astype(np.uint8), max_depth=np.uint8(29))


def in_fits(moc: Any, folder: Path, **how: Any) -> bytes:
    moc.save(folder / "moc.fits", "fits", overwrite=True, **how)
    return (folder / "moc.fits").read_bytes()


def read(data: bytes | str, **said: Any) -> Region:
    return read_region(RegionSpec("dp1", "dp1.moc", **said), data.encode() if isinstance(data, str) else data)


@pytest.fixture(params=["range", "nuniq", "json", "ascii", "ascii in lines"])
def held(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    if request.param == "json":
        return made().to_string("json").encode()
    if request.param.startswith("ascii"):
        text = made().to_string("ascii")
        return (text.replace(" ", "\r\n") if "lines" in request.param else text).encode()
    return in_fits(made(), tmp_path, v1_compatible=request.param == "nuniq")


def test_places_in_and_beside_each_cell(held: bytes) -> None:
    region = read(held)
    orders, cells = (np.array(column) for column in zip(*CELLS, strict=True))
    # The cells themselves and their neighbors in the order of numbers, some of which are of the map, too.
    cells, orders = np.concatenate([cells, cells + 1, np.maximum(cells - 1, 0)]), np.tile(orders, 3)
    ra, dec, whose = around(cells, orders, 1e-6)
    own = {(order, cell) for order, cell in CELLS}
    expected = [
        any((order, int(cells[each]) >> 2 * (int(orders[each]) - order)) in own for order in range(int(orders[each]) + 1))
        for each in whose
    ]
    # A cell of the map within a coarser neighbor is none of the oracle's.
    clear = np.array([not _holds_others(int(orders[each]), int(cells[each])) for each in whose])
    found = region.inside(healpix29(ra, dec), ra, dec)
    np.testing.assert_array_equal(found[clear], np.array(expected)[clear])
    assert 20 < found.sum() < len(found)


def _holds_others(order: int, cell: int) -> bool:
    return any(deeper > order and other >> 2 * (deeper - order) == cell for deeper, other in CELLS)


def test_what_mocpy_says_of_places_all_over_the_sky(held: bytes) -> None:
    rng = np.random.default_rng(1)
    ra, dec = rng.uniform(0, 360, 20_000), np.degrees(np.arcsin(rng.uniform(-1, 1, 20_000)))
    expected = made().contains_lonlat(ra * u.deg, dec * u.deg)
    region = read(held)
    np.testing.assert_array_equal(region.inside(healpix29(ra, dec), ra, dec), expected)
    assert expected.sum() > 1000
    assert (region.is_map, region.event_time, len(region.edges)) == (False, None, 0)


def test_a_cone_of_mocpy_at_its_rim() -> None:
    moc = MOC.from_cone(12 * u.deg, 60 * u.deg, radius=3 * u.deg, max_depth=14)
    region = read(moc.to_string("json"))
    angle = np.linspace(0, 2 * np.pi, 2000)
    dec = 60 + 3 * np.cos(angle) + np.random.default_rng(2).normal(0, 0.002, 2000)
    ra = 12 + 3 * np.sin(angle) / np.cos(np.radians(dec))
    expected = moc.contains_lonlat(ra * u.deg, dec * u.deg)
    np.testing.assert_array_equal(region.inside(healpix29(ra, dec), ra, dec), expected)
    assert 200 < expected.sum() < 1800


def changed(data: bytes, key: str, value: Any) -> bytes:
    with fits.open(io.BytesIO(data)) as hdus:
        if value is None:
            del hdus[1].header[key]
        else:
            hdus[1].header[key] = value
        file = io.BytesIO()
        hdus.writeto(file)
    return file.getvalue()


def test_the_frame_is_icrs(tmp_path: Path) -> None:
    data = in_fits(made(), tmp_path)
    for frame, told in (("G", "its COORDSYS is 'G'"), (None, "it has no COORDSYS")):
        with pytest.raises(BadList, match=f"{told}; a MOC is in ICRS, and says so by COORDSYS 'C'"):
            read(changed(data, "COORDSYS", frame))
    with pytest.raises(BadList, match=r"it is a MOC of TIME.SPACE \(MOCDIM\); give a MOC of the sky alone"):
        read(changed(data, "MOCDIM", "TIME.SPACE"))


def test_times_and_frequencies_are_refused(tmp_path: Path) -> None:
    times = TimeMOC.from_time_ranges(Time([61000.0], format="mjd"), Time([61001.0], format="mjd"), delta_t=TimeDelta(60 * u.s))
    both = STMOC.from_times_positions(Time([61000.0], format="mjd"), 20, [10] * u.deg, [20] * u.deg, 8)
    for other in (times, both):
        with pytest.raises(BadList, match="a MOC of the sky alone"):
            read(in_fits(other, tmp_path))
        for form in ("ascii", "json"):
            with pytest.raises(BadList, match=r"the region dp1 of dp1\.moc: "):
                read(other.to_string(form))
    with pytest.raises(BadList, match="a MOC of times or frequencies, or of these and the sky"):
        read(times.to_string("ascii") if times.to_string("ascii").startswith("t") else f"t{times.to_string('ascii')}")


BAD = [
    ("3/", "its MOC is empty"),
    ("{}", "its MOC is empty"),
    ('{"3": []}', "its MOC is empty"),
    ("3/900000", "it is no MOC that mocpy can read .*Too large index"),
    ("31/3", "it is no MOC that mocpy can read .*'31'"),
    ("3/5-1", "it is a MOC with the range 5-1, which is backwards"),
    ("4/5 3/1", "overlapping"),
    ("3/1 and more", "has 'and more', which none has"),
    ('{"3": "x"}', "has no list of cells for the order 3"),
    ('{"3": [-1]}', "has the cell -1 of order 3; cells are whole numbers from 0 to 767"),
    ('{"3": [768]}', "has the cell 768 of order 3"),
    ('{"3": [true]}', "has the cell True of order 3"),
    ('{"30": [1]}', "has the name '30'; a MOC has orders from"),
    ('{"a": [1]}', "has the name 'a'"),
    ("[1, 2]", "its JSON is a list"),
    ('{"3": [1', "begins as JSON and is none"),
]


@pytest.mark.parametrize(("text", "told"), BAD)
def test_what_is_no_moc_is_refused(text: str, told: str) -> None:
    with pytest.raises(BadList, match=f"the region dp1 of dp1.moc: .*{told}"):
        read(text)


def test_a_moc_has_no_level(tmp_path: Path) -> None:
    for data in (in_fits(made(), tmp_path), b"3/1-4"):
        with pytest.raises(BadList, match=r"level=0.9 was asked for, and a MOC has no probabilities; leave level= out"):
            read(data, level=0.9)


def test_ranges_in_fits_may_touch_and_be_in_any_order() -> None:
    pieces = np.array([[4**20, 4**21], [0, 4**20], [4**25, 4**26]], np.int64)
    table = fits.BinTableHDU.from_columns([fits.Column("RANGE", "K", array=pieces.ravel())])
    table.header.update({"MOCVERS": "2.0", "MOCDIM": "SPACE", "ORDERING": "RANGE", "COORDSYS": "C", "MOCORD_S": 29})
    file = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(file)
    assert read(file.getvalue()).ranges.tolist() == [[0, 4**21], [4**25, 4**26]]


def test_an_empty_moc_in_fits_is_refused(tmp_path: Path) -> None:
    for compatible in (False, True):
        with pytest.raises(BadList, match="its MOC is empty, and nothing would be inside"):
            read(in_fits(MOC.new_empty(max_depth=10), tmp_path, v1_compatible=compatible))


def test_a_damaged_moc_in_fits_is_refused(tmp_path: Path) -> None:
    data = in_fits(made(), tmp_path)
    for broken in (data[:3000], data[:5770], data[:-2880], data[:5760] + b"\xff" * 2880):
        with pytest.raises(BadList, match=r"the region dp1 of dp1\.moc: "):
            read(broken)
