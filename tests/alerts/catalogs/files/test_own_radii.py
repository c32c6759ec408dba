"""Sources with radii of their own: at the rim against brute force, in every format, and what is no radius."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, Table

from alerts.catalogs.asking import Asker
from alerts.catalogs.catalog import BadCatalog, Candidates, SourceColumns
from alerts.catalogs.files.local import LocalCatalog, open_local
from alerts.catalogs.files.own_radii import TIERS_ARCSEC
from alerts.catalogs.files.read_table import open_local_file
from alerts.catalogs.files.shared import shared_local
from alerts.catalogs.files.sky_index import SkyIndex
from alerts.catalogs.matching import Matches, within
from alerts.catalogs.open import check, looked_for_arcsec
from alerts.catalogs.proper_motion import move
from alerts.catalogs.spec import parse_spec
from tests.alerts.catalogs.test_asking import positions

COLUMNS = SourceColumns("ra", "dec", "id")
MOVING = SourceColumns("ra", "dec", "id", "pmra", "pmdec", position_epoch_jyear=2000.0)
DEFAULT_ARCSEC = 7.0


def pairs(answer: Matches) -> set[tuple[int, int]]:
    return set(zip(answer.position.tolist(), map(int, answer.source_id.to_pylist()), strict=True))


def asked(catalog: LocalCatalog, ra, dec, epoch=None) -> tuple[Candidates, Matches]:
    found = catalog.search(ra, dec, DEFAULT_ARCSEC, epoch)
    return found, within(found, catalog.source_columns, ra, dec, radius_arcsec=DEFAULT_ARCSEC, epoch_jyear=epoch)


def places(rng, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places all over the sky, and many where right ascension is a trap: at both poles, and at 0/360."""
    ra, dec = rng.uniform(0, 360, count), np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    part = count // 6
    dec[:part] = 90 - rng.uniform(0, 0.3, part)
    dec[part : 2 * part] = -90 + rng.uniform(0, 0.3, part)
    ra[2 * part : 3 * part] = rng.choice([0.0, 360.0, 1e-7, 359.9999999], part)
    dec[0], dec[part] = 90.0, -90.0
    return ra, dec


def radii(rng, count: int) -> np.ndarray:
    """From 0.1 to 3600 arcsec, those at the borders of tiers among them, some without one."""
    found = 10 ** rng.uniform(-1, np.log10(3600), count)
    found[:: count // 40] = np.resize([*TIERS_ARCSEC, np.nan, 0.1, 3600.0], len(found[:: count // 40]))
    return found


def at_the_rim(rng, ra, dec, radius_arcsec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A position just inside, and one just outside, each source's radius; and which are inside.

    Nearer than 2e-9 arcsec to the rim no double tells: right ascensions step by 2e-10 arcsec.
    """
    long = np.longdouble
    lon, lat, angle = (np.radians(values.astype(long)) for values in (ra, dec, rng.uniform(0, 360, len(ra))))
    center = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    east = np.array([-np.sin(lon), np.cos(lon), np.zeros(len(ra), long)])
    north = np.array([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)])
    apart = np.maximum(radius_arcsec * 1e-9, 2e-9)
    near_ra, near_dec = [], []
    # With arc sines, as astropy offsets positions, there would be no rim at the poles.
    for sign in (-1, 1):
        away = np.radians((radius_arcsec + sign * apart).astype(long) / 3600)
        x, y, z = center * np.cos(away) + (north * np.cos(angle) + east * np.sin(angle)) * np.sin(away)
        near_ra.append(np.degrees(np.arctan2(y, x)) % 360)
        near_dec.append(np.degrees(np.arctan2(z, np.hypot(x, y))))
    inside = np.repeat([True, False], len(ra))
    return np.concatenate(near_ra).astype(np.float64), np.concatenate(near_dec).astype(np.float64), inside


@pytest.mark.parametrize("seed", range(3))
def test_a_source_is_matched_up_to_its_own_rim_and_no_farther(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ra, dec = places(rng, 600)
    own = radii(rng, 600)
    batch = pa.RecordBatch.from_pydict({"id": list(range(600)), "ra": ra, "dec": dec})
    catalog = LocalCatalog(batch, COLUMNS, own)
    effective = np.where(np.isnan(own), DEFAULT_ARCSEC, own)
    near_ra, near_dec, inside = at_the_rim(rng, ra, dec, effective)
    found, answer = asked(catalog, near_ra, near_dec)
    got = pairs(answer)
    for number, is_inside in enumerate(inside.tolist()):
        assert ((number, number % 600) in got) == is_inside, (number, effective[number % 600])
    # And all other pairs, by every separation there is.
    apart = SkyCoord(near_ra[:, None] * u.deg, near_dec[:, None] * u.deg).separation(SkyCoord(ra * u.deg, dec * u.deg)).arcsec
    expected = set(zip(*(part.tolist() for part in np.nonzero(apart <= effective)), strict=True))
    clear = {(p, s) for p, s in got ^ expected if abs(apart[p, s] - effective[s]) > 1e-9}
    assert clear == set()
    assert len(expected) > 600
    assert found.looked_for_arcsec == 3600.0


def test_stars_with_radii_move_and_are_matched_where_they_are_then() -> None:
    rng = np.random.default_rng(9)
    ra, dec = places(rng, 300)
    dec = np.clip(dec, -89.99, 89.99)
    own = radii(rng, 300)
    pmra, pmdec = (rng.choice([0.0, 5.0, 180.0, 3000.0, 10_000.0, np.nan], 300) for _ in range(2))
    batch = pa.RecordBatch.from_pydict({"id": list(range(300)), "ra": ra, "dec": dec, "pmra": pmra, "pmdec": pmdec})
    catalog = LocalCatalog(batch, MOVING, own)
    effective = np.where(np.isnan(own), DEFAULT_ARCSEC, own)
    epochs = rng.uniform(1990, 2035, 300)
    then_ra, then_dec = move(ra, dec, pmra, pmdec, from_jyear=2000.0, to_jyear=epochs)
    near_ra, near_dec, inside = at_the_rim(rng, then_ra, then_dec, effective)
    _, answer = asked(catalog, near_ra, near_dec, np.tile(epochs, 2))
    got = pairs(answer)
    assert [(number, number % 300) in got for number in range(600)] == inside.tolist()


def test_few_large_radii_do_not_widen_the_search_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    count, large = 20_000, 10
    ra, dec = rng.uniform(10, 20, count), rng.uniform(-5, 5, count)
    own = np.full(count, 2.0)
    own[:large] = 3600.0
    batch = pa.RecordBatch.from_pydict({"id": list(range(count)), "ra": ra, "dec": dec})
    catalog = LocalCatalog(batch, COLUMNS, own)
    looked_at, real = [], SkyIndex.pairs

    def counted(index, *arguments):
        found = real(index, *arguments)
        looked_at.append(len(found[0]))
        return found

    monkeypatch.setattr(SkyIndex, "pairs", counted)
    at_ra, at_dec = rng.uniform(10, 20, 500), rng.uniform(-5, 5, 500)
    found, answer = asked(catalog, at_ra, at_dec)
    # One tier for all would look at every source within a degree: 500 of each position's.
    assert sum(looked_at) <= 500 * large
    assert len(found.position) == len(answer.position) > 0
    everywhere = SkyIndex(ra, dec)
    assert len(everywhere.pairs(at_ra, at_dec, 3600.0)[0]) > 100 * sum(looked_at[:-1])


# ---------------------------------------------------------------------------------------------------------------- files

RA, DEC, RADII = [10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0], [1.5, 600.0, None, 3600.0]


def astropy_table(unit: str | None, factor: float) -> Table:
    values = [0.0 if value is None else value * factor for value in RADII]
    table = Table({"name": ["a", "b", "c", "d"], "ra": RA, "dec": DEC})
    table["r"] = MaskedColumn(values, mask=[value is None for value in RADII], unit=unit)
    return table


def csv_file(path: str, unit: str | None, factor: float) -> None:
    lines = [f"{n},{r},{d},{'' if v is None else v * factor}" for n, r, d, v in zip("abcd", RA, DEC, RADII, strict=True)]
    with open(path, "w") as file:
        file.write("\n".join(["name,ra,dec,r", *lines]) + "\n")


def parquet_file(path: str, unit: str | None, factor: float) -> None:
    values = pa.array([None if value is None else value * factor for value in RADII], pa.float64())
    field = pa.field("r", pa.float64(), metadata={"unit": unit} if unit else None)
    schema = pa.schema([("name", pa.string()), ("ra", pa.float64()), ("dec", pa.float64()), field])
    pq.write_table(pa.table([list("abcd"), RA, DEC, values], schema=schema), path)


def by_astropy(form: str):
    def write(path: str, unit: str | None, factor: float) -> None:
        table = astropy_table(unit, factor)
        if form == "fits":  # has no other way to say that nothing is there
            table["r"] = MaskedColumn(np.where(table["r"].mask, np.nan, table["r"].filled(np.nan)), unit=unit)
        table.write(path, format=form)

    return write


WRITERS = {
    "list.csv": csv_file,
    "list.parquet": parquet_file,
    "list.fits": by_astropy("fits"),
    "list.vot": by_astropy("votable"),
    "list.ecsv": by_astropy("ascii.ecsv"),
}


UNITS = [(None, 1.0), ("arcsec", 1.0), ("arcmin", 60.0), ("deg", 3600.0)]


@pytest.mark.parametrize(
    ("name", "unit", "arcsec"),
    # CSV tells no units.
    [(name, *unit) for name in WRITERS for unit in (UNITS if name != "list.csv" else UNITS[:1])],
)
def test_radii_come_from_every_format_in_the_unit_that_it_tells(tmp_path, name: str, unit: str | None, arcsec: float) -> None:
    path = str(tmp_path / name)
    WRITERS[name](path, unit, 1 / arcsec)
    catalog = open_local(path, {"radius": "r", "id": "name"})
    away = np.array([1.499, 1.501, 599.9, 600.1, 6.99, 7.01, 3599.9, 3600.1]) / 3600
    found, answer = asked(catalog, np.repeat(RA, 2), np.repeat(DEC, 2) + away)
    assert answer.source_id.to_pylist() == ["a", "b", "c", "d"]
    assert answer.position.tolist() == [0, 2, 4, 6]
    assert found.looked_for_arcsec == pytest.approx(3600.0)


@pytest.mark.parametrize(
    ("column", "arcsec"),
    [("r", 1.0), ("radius_arcsec", 1.0), ("radius_arcmin", 60.0), ("Rad [deg]", 3600.0), ("rad", 1.0), ("R-deg", 3600.0)],
)
def test_a_name_may_tell_the_unit(tmp_path, column: str, arcsec: float) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"ra,dec,{column}\n10,20,0.5\n")
    assert open_local(str(path), {"radius": column}).looked_for_arcsec(7.0) == pytest.approx(0.5 * arcsec)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("0", "has 0 for 'r'; a radius must be above 0 and at most 3600 arcsec"),
        ("-2", r"row 1 \(from 0\), 'NGC 2', of .* has -2 for 'r'"),
        ("-999", "has -999 for 'r'"),
        ("inf", "has inf for 'r'"),
        ("3600.5", "has 3600.5 for 'r'"),
        ("wide", "column 'r' of .* holds text such as 'wide'; it must hold radii, decimal numbers in arcsec"),
    ],
)
def test_what_is_no_radius_stops_the_start(tmp_path, value: str, told: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"name,ra,dec,r\nNGC 1,10,20,5\nNGC 2,11,20,{value}\nNGC 3,12,20,nan\n")
    with pytest.raises(BadCatalog, match=told):
        check(parse_spec(f"file:{path}?radius=r", 5.0), open_local_file)


def test_a_unit_that_is_no_angle_s_is_refused(tmp_path) -> None:
    path = str(tmp_path / "list.ecsv")
    astropy_table("mag", 1.0).write(path, format="ascii.ecsv")
    with pytest.raises(BadCatalog, match=r"column 'r' of .* is in mag, which is no unit of an angle"):
        open_local(path, {"radius": "r"})
    with pytest.raises(BadCatalog, match=r"has no column 'radius'; it has name, ra, dec, r"):
        open_local(path, {"radius": "radius"})


def test_a_radius_in_degrees_is_told_in_both_units(tmp_path) -> None:
    path = str(tmp_path / "list.ecsv")
    astropy_table("deg", 1.0).write(path, format="ascii.ecsv")
    with pytest.raises(BadCatalog, match=r"has 1.5 for 'r', that is 5400 arcsec; a radius must be"):
        open_local(path, {"radius": "r"})


def test_rows_say_the_largest_radius_that_was_looked_for(tmp_path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("name,ra,dec,r\na,10,20,1\nb,10.1,20,600\nc,200,20,\n")
    spec = parse_spec(f"file:{path}?radius=r&radius_arcsec=3", 5.0)
    rows = Asker(spec, shared_local(str(path), spec.columns)).rows(positions("AB", [10.0, 150.0], [20.0, 20.0]))
    assert rows.column("radius_arcsec").to_pylist() == [600.0, 600.0]
    assert looked_for_arcsec(spec, open_local_file) == 600.0
    assert [[source["source_id"] for source in matches] for matches in rows.column("matches").to_pylist()] == [["a", "b"], []]
    # Without radii of their own it is what was asked.
    plain = parse_spec(f"file:{path}?radius_arcsec=3", 5.0)
    assert looked_for_arcsec(plain, open_local_file) == 3.0


def test_files_take_a_degree_and_services_three_minutes() -> None:
    assert parse_spec("file:a.csv?radius_arcsec=3600", 5.0).radius_arcsec == 3600.0
    with pytest.raises(BadCatalog, match="at most 3600"):
        parse_spec("file:a.csv?radius_arcsec=3601", 5.0)
    with pytest.raises(BadCatalog, match="at most 180"):
        parse_spec("simbad?radius_arcsec=181", 5.0)
    with pytest.raises(BadCatalog, match="'radius'; vizier takes"):
        parse_spec("vizier:II/246/out?radius=r", 5.0)
