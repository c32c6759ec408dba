"""How stamps lie on the sky, held against places on the chip and on the sky of real detections."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import fastavro
import numpy as np
import pytest
from astropy.io import fits

from alerts.cutouts import read_stamp
from alerts.fits_stamps import BadStamp, world_coordinates
from alerts.surveys import SURVEYS
from alerts.surveys.orientation import sky_of_pixels
from simulation import simulate_packets
from tests.alerts.test_cutouts import records
from tests.conftest import RealData

Places = list[tuple[float, float, float, float]]
ZTF_NIGHTS = ("ztf_commissioning_20171218", "ztf_public_20181129", "ztf_public_20231012", "ztf_public_20240715")


def fitted(places: Places) -> np.ndarray:
    """Arcsec east and north per pixel in x and y, by least squares over (x, y, RA, Dec in degrees)."""
    x, y, ra, dec = np.array(places, float).T
    east, north = (ra - ra.mean()) * np.cos(np.radians(dec.mean())), dec - dec.mean()
    pixels = np.column_stack([x - x.mean(), y - y.mean()])
    return np.linalg.lstsq(pixels, np.column_stack([east, north]) * 3600, rcond=None)[0].T


def ztf_exposures(packets: Iterable[dict[str, Any]], least: int) -> dict[tuple[int, int], Places]:
    """Places of the detections of each exposure and quadrant with enough of them."""
    found: dict[tuple[int, int], dict[int, tuple[float, float, float, float]]] = defaultdict(dict)
    for packet in packets:
        one = packet["candidate"]
        found[one["pid"], one["rcid"] or 0][packet["candid"]] = one["xpos"], one["ypos"], one["ra"], one["dec"]
    return {key: list(places.values()) for key, places in found.items() if len(places) >= least}


@pytest.mark.parametrize("night", ZTF_NIGHTS)
def test_in_every_quadrant_of_ztf_row_0_is_in_the_north_and_column_0_in_the_east(real_data: RealData, night: str) -> None:
    exposures = ztf_exposures(records(real_data / f"ztf/nightly/{night}.tar.gz"), 5)
    assert exposures
    for key, places in exposures.items():
        assert fitted(places) == pytest.approx(np.array(SURVEYS["ztf"].sky_of_pixels_arcsec), abs=0.025), key


def test_quadrants_of_all_four_kinds_were_looked_at(real_data: RealData) -> None:
    exposures = ztf_exposures(records(real_data / "ztf/nightly/ztf_public_20181129.tar.gz"), 5)
    assert {rcid % 4 for _, rcid in exposures} == {0, 1, 2, 3}


def test_winter(all_real_data: RealData) -> None:
    real_data = all_real_data
    sent = [next(iter(records(path))) for path in real_data.glob("other_surveys/winter/*.avro")]
    places = [tuple(one["candidate"][name] for name in ("xpos", "ypos", "ra", "dec")) for one in sent]
    assert len({one["candidate"]["jd"] for one in sent}) == 1
    assert fitted(places) == pytest.approx(np.array(SURVEYS["winter"].sky_of_pixels_arcsec), abs=0.02)
    # The names of 2MASS stars are positions: there the template is bright, and not at the places of other orientations.
    [packet] = [one for one in sent if one["candid"] == 3608701]
    pixels = read_stamp(packet["cutout_template"]).pixels
    matrix = np.array(SURVEYS["winter"].sky_of_pixels_arcsec)
    for number in (1, 2, 3):
        name = packet["candidate"][f"tmobjectid{number}"]
        ra = 15 * (float(name[0:2]) + float(name[2:4]) / 60 + float(name[4:8]) / 100 / 3600)
        dec = float(name[9:11]) + float(name[11:13]) / 60 + float(name[13:16]) / 10 / 3600
        east = (ra - packet["candidate"]["ra"]) * np.cos(np.radians(dec)) * 3600
        x, y = np.linalg.solve(matrix, [east, (dec - packet["candidate"]["dec"]) * 3600])

        def brightness(x: float, y: float) -> float:
            column, row = round(40 + x), round(40 + y)
            return float(np.nanmax(pixels[row - 1 : row + 2, column - 1 : column + 2]))

        assert brightness(x, y) > 5 * max(brightness(-x, y), brightness(-x, -y), brightness(y, x))


def test_pgir(real_data: RealData) -> None:
    for path in real_data.glob("other_surveys/pgir/*.avro"):
        packet = next(iter(records(path)))
        own = packet["candidate"]
        same = ("field", "quadpos", "subquadpos")
        seen = [one for one in [own, *packet["prv_candidates"]] if all(one[name] == own[name] for name in same)]
        places = [tuple(one[name] for name in ("xpos", "ypos", "ra", "dec")) for one in seen if one["xpos"] is not None]
        assert len(places) >= 10
        assert fitted(places) == pytest.approx(np.array(SURVEYS["pgir"].sky_of_pixels_arcsec), abs=0.1)


LSST = {"lsst_20260310_v10_0": {47.6, 131.2}, "lsst_test_v7_4": set(), "lsst_test_v9_0": set()}


@pytest.mark.parametrize("night", LSST)
def test_each_stamp_of_rubin_lies_as_its_own_header_says(real_data: RealData, night: str) -> None:
    places: dict[tuple[int, int], dict[int, tuple[float, float, float, float]]] = defaultdict(dict)
    stamps: dict[int, tuple[tuple[int, int], bytes]] = {}
    for packet in records(real_data / f"lsst/nightly/{night}.tar.gz"):
        for one in [packet["diaSource"], *(packet["prvDiaSources"] or [])]:
            places[one["visit"], one["detector"]][one["diaSourceId"]] = one["x"], one["y"], one["ra"], one["dec"]
        own = packet["diaSource"]
        stamps[own["diaSourceId"]] = (own["visit"], own["detector"]), packet["cutoutScience"]
    checked, angles = 0, set()
    for number, (exposure, data) in stamps.items():
        for other, (x, y, ra, dec) in places[exposure].items():
            if other == number:
                continue
            own_x, own_y, own_ra, own_dec = places[exposure][number]
            stamp = read_stamp(data)
            assert stamp.reference is not None
            matrix = sky_of_pixels(stamp, SURVEYS["lsst"], stamp.reference)
            assert matrix is not None
            assert np.linalg.det(matrix) < 0  # no mirror
            east = (ra - own_ra) * np.cos(np.radians((dec + own_dec) / 2)) * 3600
            told = matrix @ [x - own_x, y - own_y]
            # Positions on one detector, of which a stamp's matrix is the middle: it is a little otherwise elsewhere.
            assert np.hypot(*(told - [east, (dec - own_dec) * 3600])) < 0.02 * np.hypot(*told)
            with fits.open(io.BytesIO(bytes(data))) as hdus:
                angles |= {round(hdus[0].header["ROTPA"], 1)} if "ROTPA" in hdus[0].header else set()
            checked += 1
    assert checked >= 4
    assert angles == LSST[night]


def test_of_decam_nobody_knows(real_data: RealData) -> None:
    packet = next(iter(records(real_data / "other_surveys/decam/alert.avro")))
    assert sky_of_pixels(read_stamp(packet["cutoutScience"]), SURVEYS["decam"], (31, 31)) is None


def test_simulated_stamps_lie_as_real_ones_do() -> None:
    packets = [next(iter(fastavro.reader(io.BytesIO(one.data)))) for one in simulate_packets(survey="ztf", alerts=400, seed=3)]
    for key, places in ztf_exposures(packets, 4).items():
        assert fitted(places) == pytest.approx(np.array(SURVEYS["ztf"].sky_of_pixels_arcsec), abs=0.03), key
    # The nearest source of the reference is where the packet says, in the template.
    matrix, seen = np.array(SURVEYS["ztf"].sky_of_pixels_arcsec), 0
    for packet in packets:
        one = packet["candidate"]
        pixels = read_stamp(packet["cutoutTemplate"]["stampData"]).pixels
        if pixels.shape != (63, 63) or np.isnan(pixels).any() or one["magnr"] > 17 or one["distnr"] < 4:
            continue
        east = (one["ranr"] - one["ra"]) * np.cos(np.radians(one["dec"])) * 3600
        x, y = np.linalg.solve(matrix, [east, (one["decnr"] - one["dec"]) * 3600])
        column, row = round(31 + x), round(31 + y)
        mirrored = round(31 - y)
        assert pixels[row, column] > 2 * pixels[mirrored, column] or abs(y) < 2
        seen += abs(y) >= 2
    assert seen > 3


def cards(**changed: Any) -> fits.Header:
    """The coordinates of a stamp of 63 pixels around M 31."""
    header = fits.Header({"CRPIX1": 32.0, "CRPIX2": 32.0, "CRVAL1": 10.68, "CRVAL2": 41.27, "CDELT1": -2.8e-4, "CDELT2": 2.8e-4})
    header.update(changed)
    return header


def test_coordinates_of_a_stamp_are_those_of_its_header() -> None:
    assert world_coordinates(fits.Header()) is None
    for header in (cards(), cards(CTYPE1="RA---SIN", CTYPE2="DEC--SIN")):
        found = world_coordinates(header)
        assert found is not None
        assert [*found.wcs.ctype] == [header.get("CTYPE1", "RA---TAN"), header.get("CTYPE2", "DEC--TAN")]
        assert found.pixel_to_world_values(31, 31) == pytest.approx((10.68, 41.27))
    assert world_coordinates(cards(CTYPE1="FREQ", CTYPE2="VELO")) is None
    with pytest.raises(BadStamp, match="the stamp's coordinates make no sense"):
        world_coordinates(cards(CTYPE1="RA---TAN", CTYPE2="RA---TAN"))
