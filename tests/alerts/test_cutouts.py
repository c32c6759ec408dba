"""Stamps to pixels: what astropy gives, in the right place, faster, and whatever is wrong with one of them."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pictures

from alerts.cutouts import MAX_STAMP_BYTES, BadStamp, read_stamp, source_pixel, to_pixels
from alerts.fits_stamps import read_fits
from simulation.stamps import FITS_BLOCK, Images, Scene, Star, fits_header, on_chip, paint, ztf_stamp
from tests.alerts.making import examples
from tests.conftest import RealData

CHIP = (3072, 3080)
"""Columns and rows of a ZTF chip."""


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The packets of a real archive or file."""
    if path.name.endswith(".tar.gz"):
        with tarfile.open(path) as packed:
            for member in packed:
                if member.isfile():
                    yield from fastavro.reader(packed.extractfile(member))
    else:
        with path.open("rb") as file:
            yield from fastavro.reader(file)


def stamps_of(record: dict[str, Any]) -> dict[str, bytes | None]:
    """Its stamps by role, wherever the survey keeps them."""
    found = {}
    for role in ("science", "template", "difference"):
        value = record.get(f"cutout{role.title()}", record.get(f"cutout_{role}"))
        found[role] = value["stampData"] if isinstance(value, dict) else value
    return found


def by_astropy(data: bytes) -> np.ndarray:
    """Gunzip and astropy.io.fits, as the surveys' own examples do it."""
    if data[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(data), "rb") as file:
            data = file.read()
    with fits.open(io.BytesIO(data), ignore_missing_simple=True) as hdus:
        return next(hdu.data for hdu in hdus if hdu.data is not None).astype(np.float32)


def same(found: np.ndarray, expected: np.ndarray) -> bool:
    """Bit for bit, and float32 in the machine's byte order."""
    return (
        found.dtype == np.dtype("=f4")
        and found.shape == expected.shape
        and np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(expected, np.float32).tobytes()
    )


def images(seed: int = 1) -> Images:
    """Stamps of 63 x 63 pixels with a bright source in the middle."""
    scene = Scene(63, Star(0, 0, 5000.0), [Star(9, -6, 3000.0)], 2.0, 2.0, 8.0, 3.0, 100.0, 3)
    return paint(np.random.default_rng(seed), scene)


def fits_file(hdus: Sequence[Any]) -> bytes:
    out = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(out)
    return out.getvalue()


# What is in a stamp


def test_all_real_fits_stamps_are_what_astropy_reads(real_data: RealData) -> None:
    archives = [*real_data.glob("ztf/**/*public*.tar.gz"), *real_data.glob("lsst/nightly/*.tar.gz")]
    files = [*real_data.glob("ztf/**/*.avro"), *real_data.glob("other_surveys/*/*.avro"), *real_data.glob("lsst/ocf/*.avro")]
    read = 0
    for record in (one for path in (*archives, *files) for one in records(path)):
        for data in stamps_of(record).values():
            if data is not None and data[:2] != b"\xff\xd8":
                assert same(read_stamp(data).pixels, by_astropy(data))
                read += 1
    assert read > 3000


def test_real_jpeg_stamps_stand_on_their_lowest_row(real_data: RealData) -> None:
    for number, record in enumerate(records(real_data / "ztf/nightly/ztf_commissioning_20171218.tar.gz")):
        if number == 20:
            break
        data = stamps_of(record)["science"]
        picture = np.asarray(Pictures.open(io.BytesIO(data)), np.float32)
        assert read_stamp(data).is_jpeg
        assert same(read_stamp(data).pixels, picture[::-1])
    assert number == 20


def _scaled(image: np.ndarray) -> list[Any]:
    hdu = fits.PrimaryHDU(np.nan_to_num(image))
    hdu.scale("int16", bzero=100.0, bscale=0.5)
    return [hdu]


NOT_PLAIN = {
    "scaled integers": _scaled,
    "64-bit floats": lambda image: [fits.PrimaryHDU(image.astype(np.float64))],
    "16-bit integers": lambda image: [fits.PrimaryHDU(np.nan_to_num(image).astype(np.int16))],
    "an extension": lambda image: [fits.PrimaryHDU(), fits.ImageHDU(image)],
    "a header of two blocks": lambda image: [fits.PrimaryHDU(image, fits.Header([(f"KEY{n}", n) for n in range(40)]))],
}


@pytest.mark.parametrize("kind", NOT_PLAIN)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_files_that_are_not_plain_are_read_by_astropy(kind: str, pack: Callable[[bytes], bytes]) -> None:
    file = fits_file(NOT_PLAIN[kind](images().science))
    assert same(read_stamp(pack(file)).pixels, by_astropy(file))
    assert same(to_pixels([pack(file)]).pixels[0], by_astropy(file))


def test_scaling_is_not_overlooked() -> None:
    # Floats with BSCALE: our own reader would take them for what they are not.
    shape = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 63), ("NAXIS2", 63)]
    pixels = images().science
    file = fits_header(*shape, ("BSCALE", 2.0), ("BZERO", 5.0)) + pixels.astype(">f4").tobytes()
    file += bytes(-len(file) % FITS_BLOCK)
    assert np.allclose(read_stamp(file).pixels, 2 * pixels + 5)


# Batches


@pytest.fixture(scope="module")
def batch() -> list[bytes | None]:
    made: list[bytes | None] = []
    for seed in range(4):
        found = images(seed)
        found.science[:, :5] = np.nan
        made += [ztf_stamp(found.science), None, ztf_stamp(found.difference)]
    return made


def arrow_forms(stamps: list[bytes | None]) -> dict[str, Any]:
    return {
        "binary": pa.array(stamps, pa.binary()),
        "large_binary": pa.array(stamps, pa.large_binary()),
        "chunked": pa.chunked_array([pa.array(stamps[:5], pa.binary()), pa.array(stamps[5:], pa.binary())]),
        "sliced": pa.array([b"before", *stamps, b"behind"], pa.binary()).slice(1, len(stamps)),
    }


def test_a_batch_is_one_array_in_native_order(batch: list[bytes | None]) -> None:
    found = to_pixels(batch)
    assert found.pixels.shape == (12, 63, 63)
    assert found.faults == {}
    for image, data in zip(found.pixels, batch, strict=True):
        assert same(image, by_astropy(data) if data else np.full((63, 63), np.nan))


@pytest.mark.parametrize("form", ["binary", "large_binary", "chunked", "sliced"])
def test_arrow_arrays_give_the_same_as_lists(batch: list[bytes | None], form: str) -> None:
    found = to_pixels(arrow_forms(batch)[form])
    assert same(found.pixels, to_pixels(batch).pixels)
    assert found.faults == {}


def test_pixels_that_a_template_does_not_cover_are_missing(real_data: RealData) -> None:
    found = 0
    for record in records(real_data / "ztf/nightly/ztf_public_20231012.tar.gz"):
        data = stamps_of(record)["template"]
        sent = by_astropy(data)
        [pixels] = to_pixels([data]).pixels
        missing = np.isnan(sent) | (sent == np.finfo(np.float32).min)
        assert np.array_equal(np.isnan(pixels), missing)
        assert np.array_equal(pixels[~missing], sent[~missing])
        found += (missing & ~np.isnan(sent)).any()
    assert found == 2


def test_an_empty_batch() -> None:
    assert to_pixels([]).pixels.shape == (0, 63, 63)


def test_positions_are_one_for_each_stamp(batch: list[bytes | None]) -> None:
    with pytest.raises(ValueError, match="xpos has 2 values for 12 stamps"):
        to_pixels(batch, xpos=[1.0, 2.0])


# The edges of the chip


def expected_on_chip(stamp: np.ndarray, xpos: float, ypos: float, side: int) -> np.ndarray:
    """The square around the chip's pixel (round(xpos), round(ypos)), pixels counted from 1, NaN beyond the chip."""
    half, spans = side // 2, []
    for place, size in zip((xpos, ypos), CHIP, strict=True):
        first = round(place) - half
        spans.append((max(first, 1) - first, min(round(place) + half, size) - first + 1))
    square = np.full((side, side), np.nan, np.float32)
    (left, right), (low, high) = spans
    assert stamp.shape == (high - low, right - left)
    square[low:high, left:right] = stamp
    return square


EDGES = {
    "left": (12.3, 1500.0),
    "right": (3060.7, 1500.0),
    "bottom": (1500.0, 19.8),
    "top": (1500.0, 3058.6),
    "lower left": (1.2, 2.4),
    "upper right": (3071.6, 3079.9),
    "lower right": (3050.5, 30.4),
    "upper left": (31.4, 3049.6),
    "just whole": (32.0, 3049.0),
}


@pytest.mark.parametrize("edge", EDGES)
def test_the_source_of_a_simulated_stamp_stays_in_the_middle(edge: str) -> None:
    x, y = EDGES[edge]
    whole = images()
    cut = on_chip(whole, x, y, CHIP)
    [found] = to_pixels([ztf_stamp(cut.science)], xpos=[x], ypos=[y]).pixels
    assert same(found, expected_on_chip(cut.science, x, y, 63))
    there = ~np.isnan(found)
    assert np.array_equal(found[there], whole.science[there])
    assert np.unravel_index(np.nanargmax(found), found.shape) == (31, 31)
    assert (edge == "just whole") == bool(there.all())


def test_cut_real_stamps_are_put_where_the_chip_says(real_data: RealData) -> None:
    stamps, places, edges = [], [], set()
    for path in [
        *real_data.glob("ztf/nightly/*public*.tar.gz"),
        *real_data.glob("ztf/by_version/v3.0*"),
        *real_data.glob("ztf/*/*1.8_*.avro"),
    ]:
        for record in records(path):
            data = stamps_of(record)["science"]
            rows, columns = by_astropy(data).shape if len(data) < 13500 else (63, 63)
            if (rows, columns) != (63, 63):
                x, y = record["candidate"]["xpos"], record["candidate"]["ypos"]
                stamps.append(data)
                places.append((x, y))
                edges |= {"low x" if x < 32 else "high x"} if columns < 63 else set()
                edges |= {"low y" if y < 32 else "high y"} if rows < 63 else set()
    x, y = zip(*places, strict=True)
    found = to_pixels(pa.array(stamps), xpos=pa.array(x, pa.float32()), ypos=np.array(y))
    assert found.faults == {}
    for image, data, place in zip(found.pixels, stamps, places, strict=True):
        assert same(image, expected_on_chip(by_astropy(data), *place, 63))
    assert edges == {"high x", "low y", "high y"}
    assert len(stamps) >= 12


def test_the_sources_of_cut_real_jpegs_are_in_the_middle(real_data: RealData) -> None:
    stamps, places = [], []
    for record in records(real_data / "ztf/nightly/ztf_commissioning_20171218.tar.gz"):
        data = stamps_of(record)["difference"]
        if Pictures.open(io.BytesIO(data)).size != (51, 51):
            stamps.append(data)
            places.append((record["candidate"]["xpos"], record["candidate"]["ypos"]))
    x, y = zip(*places, strict=True)
    found = to_pixels(stamps, xpos=x, ypos=y)
    assert found.faults == {}
    centered = 0
    for image, data, place in zip(found.pixels, stamps, places, strict=True):
        assert same(image[6:57, 6:57], expected_on_chip(read_stamp(data).pixels, *place, 51))
        row, column = np.unravel_index(np.nanargmax(image), image.shape)
        centered += abs(row - 31) <= 2 and abs(column - 31) <= 2
    assert min(x) < 26 < 3048 < max(x)
    assert (len(stamps), centered) == (13, 13)


def test_the_side_on_which_a_stamp_is_cut_is_not_guessed() -> None:
    cut = ztf_stamp(images().science[:, 10:])
    found = to_pixels([cut, cut, cut], xpos=[None, 21.7, float("nan")], ypos=[50.0, 50.0, 50.0])
    assert set(found.faults) == {0, 2}
    assert "63 x 53 pixels" in found.faults[0]
    assert "xpos" in found.faults[0]
    assert np.isnan(found.pixels[[0, 2]]).all()
    assert np.isnan(found.pixels[1]).sum() == 10 * 63
    with pytest.raises(BadStamp, match="ypos"):
        source_pixel((50, 63), None, 63, xpos=100.0)


def test_rubin_stamps_of_all_sizes_have_their_source_in_the_middle(real_data: RealData) -> None:
    stamps = [data for one in records(real_data / "lsst/nightly/lsst_20260310_v10_0.tar.gz") for data in stamps_of(one).values()]
    for side in (63, 21):
        found = to_pixels(stamps, side=side)
        assert found.faults == {}
        for image, data in zip(found.pixels, stamps, strict=True):
            with fits.open(io.BytesIO(data)) as hdus:
                header, pixels = hdus[0].header, hdus[0].data
                # Rubin's reference pixel is the source.
                x, y = (int(np.floor(header[name] - 0.5)) for name in ("CRPIX1", "CRPIX2"))
                assert image[side // 2, side // 2] == pixels[y, x]
                assert image[side // 2 + 5, side // 2 - 9] == pixels[y + 5, x - 9]
                inside = min(side * side, pixels.size)
                assert (~np.isnan(image)).sum() == inside


# Damage


def fault_of(data: bytes) -> str:
    """The fault of a stamp in a batch, whose neighbors must not notice."""
    good = ztf_stamp(images().science)
    found = to_pixels([good, data, good])
    assert set(found.faults) == {1}
    assert np.isnan(found.pixels[1]).all()
    assert same(found.pixels[0], images().science)
    assert same(found.pixels[2], images().science)
    return found.faults[1]


def jpeg(rows: int = 51, columns: int = 51) -> bytes:
    out = io.BytesIO()
    levels = np.random.default_rng(1).integers(0, 255, (rows, columns), np.uint8)
    Pictures.fromarray(levels).save(out, "JPEG")
    return out.getvalue()


def test_damaged_stamps_are_named_one_by_one() -> None:
    plain = gzip.decompress(ztf_stamp(images().science))
    packed = gzip.compress(plain)
    assert "empty" in fault_of(b"")
    assert "neither FITS nor JPEG" in fault_of(b"GIF89a, whatever")
    assert "cut short" in fault_of(packed[:5000])
    assert "unpacked" in fault_of(packed[:5000] + b"\x00" * 300 + packed[5300:])
    assert "4 bytes are left" in fault_of(packed + b"more")
    assert "left behind" in fault_of(packed + packed)
    assert "cannot be read" in fault_of(plain[:10_000])
    assert "without an image" in fault_of(fits_file([fits.PrimaryHDU()]))
    assert "3 axes" in fault_of(fits_file([fits.PrimaryHDU(np.zeros((2, 3, 4), np.float32))]))
    assert "JPEG stamp cannot be read" in fault_of(jpeg()[:400])
    assert "neither FITS nor JPEG" in fault_of(gzip.compress(gzip.compress(plain)))


@pytest.mark.parametrize(
    ("first", "second", "place"),
    [
        ("CRPIX1  =                 32.0", "CRPIX2  =                 31.0", (31.0, 30.0)),
        ("CRPIX1  =            somewhere", "CRPIX2  =                 31.0", None),
        ("CRPIX1  =                 32.0", "COMMENT   a row is not named", None),
    ],
)
def test_a_reference_pixel_is_two_numbers_or_none(first: str, second: str, place: tuple[float, float] | None) -> None:
    head = ("SIMPLE  =                    T", "BITPIX  =                  -32", "NAXIS   =                    2")
    sides = ("NAXIS1  =                   63", "NAXIS2  =                   63")
    header = b"".join(card.ljust(80).encode() for card in (*head, *sides, first, second, "END")).ljust(2880)
    _, found = read_fits(header + np.zeros((63, 63), ">f4").tobytes())
    assert found == place


def reference(data: bytes) -> np.ndarray | None:
    """What the reading by astropy alone gives; None where it refuses."""
    try:
        return by_astropy(data)
    except Exception:
        return None


@pytest.mark.filterwarnings("ignore")
@given(changes=st.lists(st.tuples(st.integers(0, 3500), st.integers(1, 255)), min_size=1, max_size=4), cut=st.integers(0, 20160))
@examples(150)
def test_damage_never_makes_pixels_that_astropy_would_not(changes: list[tuple[int, int]], cut: int) -> None:
    file = bytearray(gzip.decompress(ztf_stamp(images().difference)))
    for place, change in changes:
        # Half of them in the few cards that say something.
        file[place if place % 2 else place % 480] ^= change
    file = file[: cut if cut > 3000 else None]
    for data in (bytes(file), gzip.compress(bytes(file), 1)):
        found = to_pixels([data], xpos=[1000.0], ypos=[1000.0])
        try:
            mine = read_stamp(data).pixels
        except BadStamp:
            assert set(found.faults) == {0}
            continue
        expected = reference(data)
        assert expected is not None
        assert same(mine, expected)


@given(changes=st.lists(st.tuples(st.integers(0, 20_000), st.integers(1, 255)), min_size=1, max_size=3))
@examples(100)
def test_damaged_gzip_and_jpeg_never_raise(changes: list[tuple[int, int]]) -> None:
    for whole in (ztf_stamp(images().science), jpeg()):
        data = bytearray(whole)
        for place, change in changes:
            data[place % len(data)] ^= change
        found = to_pixels([bytes(data), whole])
        assert set(found.faults) <= {0}
        assert same(found.pixels[1], to_pixels([whole]).pixels[0])


def peak_bytes(function: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def bomb(size: int, claimed: int) -> bytes:
    """So many zeros, gzip'd, with a false size at the end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(size // 2**20)) + packer.flush()
    return packed[:-4] + claimed.to_bytes(4, "little")


def test_a_bomb_takes_no_memory() -> None:
    long, short = bomb(100 * 2**20, 20160), bomb(15 * 2**20, 20160)
    assert len(short) < 16_000 < len(long)
    assert "unpacks to more than 4,194,304 bytes" in fault_of(long)
    assert "unpacks to more than 4,194,304 bytes" in fault_of(short)
    assert "unpacks to more than 4,194,304 bytes" in fault_of(bomb(15 * 2**20, 15 * 2**20))
    assert peak_bytes(lambda: to_pixels([long])) < 3 * MAX_STAMP_BYTES
    assert peak_bytes(lambda: to_pixels([short])) < 6 * MAX_STAMP_BYTES


def test_a_picture_that_claims_to_be_huge_takes_no_memory() -> None:
    huge = bytearray(jpeg())
    place = huge.index(b"\xff\xc0") + 5
    huge[place : place + 4] = (8000).to_bytes(2, "big") * 2
    claims = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", 40_000), ("NAXIS2", 40_000)]
    for data in (bytes(huge), fits_header(*claims)):
        assert "the limit is 1,048,576 pixels" in fault_of(data)
        assert peak_bytes(lambda data=data: to_pixels([data])) < MAX_STAMP_BYTES


# Speed


def naive(stamps: Sequence[bytes]) -> np.ndarray:
    """Gunzip and astropy.io.fits stamp by stamp, into the same array."""
    pixels = np.full((len(stamps), 63, 63), np.nan, np.float32)
    for number, data in enumerate(stamps):
        with (
            gzip.open(io.BytesIO(data), "rb") as file,
            fits.open(io.BytesIO(file.read()), ignore_missing_simple=True) as hdus,
        ):
            image = hdus[0].data
            pixels[number, : image.shape[0], : image.shape[1]] = image
    pixels[pixels == np.finfo(np.float32).min] = np.nan
    return pixels


def cpu_us_per_stamp(stamps: Sequence[bytes], rounds: int = 9) -> dict[str, list[float]]:
    """CPU time of both ways, in turns, per stamp and round."""
    ways: dict[str, Callable[[Sequence[bytes]], Any]] = {"naive": naive, "ours": lambda few: to_pixels(few, side=63)}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.process_time()
            for first in range(0, len(stamps), 256):
                way(stamps[first : first + 256])
            spent[name].append((time.process_time() - begin) / len(stamps) * 1e6)
    return spent


def ratio(stamps: Sequence[bytes]) -> float:
    # The least of the rounds: what else the machine does only adds.
    spent = cpu_us_per_stamp(stamps)
    return min(spent["naive"]) / min(spent["ours"])


@pytest.mark.cost
def test_stamps_become_pixels_several_times_faster_than_by_gunzip_and_astropy(real_data: RealData) -> None:
    stamps: list[bytes] = []
    for record in records(real_data / "ztf/nightly/ztf_public_20231018.tar.gz"):
        # Whole ones: the naive way does not know where to put the others.
        stamps += [data for data in stamps_of(record).values() if data and read_stamp(data).pixels.shape == (63, 63)]
        if len(stamps) >= 384:
            break
    assert np.array_equal(to_pixels(stamps).pixels, naive(stamps), equal_nan=True)
    # Nine tenths of our time are gunzip itself, so that the ratio is as much of zlib-ng: 5.3 to 6.5, from machine to machine.
    # Were ours half as fast as it is, it would be below 4.
    assert ratio(stamps) >= 4
