"""Files that are no region, and maps that are no probability: each stops the start with a sentence of its own."""

from __future__ import annotations

import gzip
import io
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy_healpix import level_ipix_to_uniq

from alerts.limits import MAX_REGION_BYTES, MAX_REGION_PIXELS
from alerts.lists.named import BadList
from alerts.lists.regions import RegionSpec, read_region
from tests.alerts.lists.regions.making import Form, MadeMap, flat_map, multi_order_map, written


def refused(data: bytes, told: str, **said: Any) -> None:
    with pytest.raises(BadList, match=f"^the region gw of maps/gw.fits: {told}"):
        read_region(RegionSpec("gw", "maps/gw.fits", **said), data)


def changed(data: bytes, **keys: Any) -> bytes:
    with fits.open(io.BytesIO(data)) as hdus:
        for key, value in keys.items():
            if value is None:
                del hdus[1].header[key]
            else:
                hdus[1].header[key] = value
        file = io.BytesIO()
        hdus.writeto(file)
    return file.getvalue()


def with_value(value: float) -> bytes:
    made = flat_map(3)
    probability = made.probability.copy()
    probability[3] = value
    return written(MadeMap(made.orders, made.cells, probability), Form("NESTED"))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "it is empty; give a file with something in it"),
        (b" \n\n", "it is empty"),
        (b"<!DOCTYPE html><html>", "it begins with '<!DOCTYPE html><html>', and is none of a MOC"),
        (b"version https://git-lfs.github.com/spec/v1", "it begins with 'version https://git-lfs"),
        (b"\x89PNG\r\n\x1a\n\xff", r"it begins with b'\\x89PNG.*', and is none of"),
        (b"SIMPLE  = nothing", "it is damaged, or no FITS that astropy can read|it is FITS and has no table"),
        (b"\x1f\x8b\x08nothing", "it is damaged"),
    ],
)
def test_what_is_no_region_at_all(data: bytes, told: str) -> None:
    refused(data, told)


def test_a_file_that_is_cut() -> None:
    data = written(flat_map(3), Form("NESTED"))
    refused(data[:-3000], "it is damaged, or no FITS")
    refused(gzip.compress(data)[:-500], "it ends in the midst of its gzip stream; fetch it again")
    refused(data[:2880], "it is FITS and has no table of HEALPix cells")


def test_a_file_that_is_too_large_also_unpacked() -> None:
    refused(bytes(MAX_REGION_BYTES + 1), "it has 536,870,913 bytes; 536,870,912 are the most")
    small = io.BytesIO()
    with gzip.open(small, "wb", compresslevel=1) as file:
        for _ in range(MAX_REGION_BYTES // 2**26 + 1):
            file.write(bytes(2**26))
    refused(small.getvalue(), "unpacked it has more than 536,870,912 bytes")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"COORDSYS": "E"}, "its COORDSYS is 'E'; write 'C'"),
        ({"COORDSYS": None}, "it has no COORDSYS, so that nobody knows its frame; write 'C'"),
        ({"ORDERING": "SPIRAL"}, "its ORDERING is 'SPIRAL'; maps are RING, NESTED or NUNIQ"),
        ({"ORDERING": "NUNIQ"}, "its ORDERING is NUNIQ, and it has no column UNIQ"),
        ({"NSIDE": 7}, "its NSIDE is 7; it is a power of two"),
        ({"NSIDE": "x"}, "its NSIDE is 'x'"),
        ({"NSIDE": None}, "its NSIDE is None"),
        ({"NSIDE": 16}, "it has 768 pixels, and its NSIDE 16 takes 3,072; is it whole"),
        ({"NSIDE": 2048}, f"it has 50,331,648 pixels; {MAX_REGION_PIXELS:,} are the most"),
        ({"INDXSCHM": "SPARSE"}, "its INDXSCHM is 'SPARSE'"),
        ({"INDXSCHM": "EXPLICIT"}, "its INDXSCHM is EXPLICIT, and it has no column PIXEL"),
        ({"TTYPE1": "TEMPERATURE"}, "its columns are TEMPERATURE; a probability map has PROB or PROBDENSITY"),
        ({"TUNIT1": "mK"}, "its column PROB has the unit 'mK'; probabilities are pix-1, densities sr-1"),
        ({"TUNIT1": "deg-2"}, "its column PROB has the unit 'deg-2'"),
        ({"TUNIT1": "sr-1"}, "its column PROB, read as densities per steradian, has the sum 0.0163625 over the sky and not 1"),
    ],
)
def test_headers_that_tell_of_another_map(keys: dict[str, Any], told: str) -> None:
    refused(changed(written(flat_map(3), Form("NESTED")), **keys), told)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.nan, "its column PROB has nan in row 4, which is no probability; write 0"),
        (-1.6375e30, r"its column PROB has -1.6375e\+30 in row 4"),
        (-1e-9, "its column PROB has -1e-09 in row 4"),
        (np.inf, "its column PROB has inf in row 4"),
        (
            0.002,
            "its column PROB, read as probabilities of pixels, has the sum 1.00[12].* over the sky and not 1; it is another map",
        ),
    ],
)
def test_numbers_that_are_no_probabilities(value: float, told: str) -> None:
    refused(with_value(value), told)


def test_a_sum_within_a_thousandth_is_one() -> None:
    made = flat_map(3)
    for scale in (0.9991, 1.0009):
        scaled = MadeMap(made.orders, made.cells, made.probability * scale)
        assert read_region(RegionSpec("gw", "m"), written(scaled, Form("NESTED"))).is_map
    for scale in (0.9989, 1.0011):
        scaled = MadeMap(made.orders, made.cells, made.probability * scale)
        refused(written(scaled, Form("NESTED")), f"its column PROB, .* has the sum {scale} over the sky and not 1")


def test_pixels_that_are_none_or_twice() -> None:
    made, data = multi_order_map(), written(multi_order_map(), Form("NUNIQ"))
    first = int(level_ipix_to_uniq(made.orders, made.cells)[0]).to_bytes(8, "big")
    for uniq in (3, -7, 16 << 58):
        refused(data.replace(first, uniq.to_bytes(8, "big", signed=True), 1), f"its column UNIQ has {uniq}, which is no pixel")
    twice = MadeMap(np.append(made.orders, 1), np.append(made.cells, 0), np.append(made.probability, 0.0))
    refused(written(twice, Form("NUNIQ")), "two of its pixels cover the same place")
    part = written(flat_map(3), Form("NESTED", is_partial=True))
    refused(changed(part, NSIDE=2), "its column PIXEL has other numbers than pixels from 0 to 47")


def test_a_multi_order_map_of_something_else_is_no_coverage_map() -> None:
    data = written(multi_order_map(), Form("NUNIQ", unit=None))
    refused(changed(data, TTYPE2="FLUX"), "its columns are UNIQ, FLUX; a probability map has PROB or PROBDENSITY")


def test_a_table_that_claims_rows_that_it_does_not_have() -> None:
    data = written(flat_map(3), Form("NESTED"))
    card = b"NAXIS2  =                  768"
    assert card in data
    for rows in (10**6, 10**12, 2**62):
        refused(
            data.replace(card, b"NAXIS2  = %20d" % rows, 1),
            "it is damaged, or no FITS|it has .* pixels, and its NSIDE 8 takes 768",
        )


@pytest.mark.parametrize(
    "form", [Form("RING", row_length=64), Form("NUNIQ"), Form("NESTED", "PROBDENSITY", "sr-1", is_partial=True)]
)
def test_damage_is_a_sentence_or_another_map(form: Form) -> None:
    """Bytes of the headers and some of the table changed at random: nothing else is raised."""
    data = written(multi_order_map() if form.ordering == "NUNIQ" else flat_map(3), form)
    rng, told = np.random.default_rng(6), list[str]()
    for _ in range(300):
        broken = bytearray(data)
        for place in rng.integers(0, min(len(data), 9000), rng.integers(1, 6)):
            broken[place] = rng.integers(0, 256) if rng.random() < 0.5 else rng.integers(32, 127)
        try:
            read_region(RegionSpec("gw", "m"), bytes(broken))
        except BadList as error:
            told.append(str(error))
    assert len(told) > 30
    assert [each for each in told if not each.startswith("the region gw of m: ")] == []


def test_a_table_of_negative_size() -> None:
    """Of which astropy finds one behind the other, for ever."""
    data = written(flat_map(3), Form("NESTED"))
    card = b"GCOUNT  =                    1"
    assert card in data
    refused(data.replace(card, b"GCOUNT  =            -       1", 1), "it has more than 100 tables and images")


def test_an_image_is_no_region() -> None:
    file = io.BytesIO()
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(file)
    refused(file.getvalue(), "it is FITS and has no table of HEALPix cells; an image is none")


def test_a_level_within_which_nothing_is() -> None:
    made = MadeMap(np.zeros(12, int), np.arange(12), np.full(12, 1 / 12))
    for frame in ("C", "G"):
        told = "its most probable pixel alone has the level 1, so that nothing is inside 0.9; ask for more"
        refused(written(made, Form("NESTED", coordsys=frame)), told)
