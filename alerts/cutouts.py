"""Stamps to pixels: whole batches for models and measurements, single ones for pictures.

A stamp comes as gzip'd FITS (ZTF), plain FITS (Rubin) or JPEG (ZTF's commissioning packets), or not at all. Where the chip
ends within a stamp it is smaller than others and the source is not in its middle; here the source is put back there.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import pyarrow as pa
from astropy.wcs import WCS
from PIL import Image as Pictures
from zlib_ng import zlib_ng

from alerts.avro.unpack import GZIP_MAGIC
from alerts.errors import shortened
from alerts.fits_stamps import BadStamp, Buffer, Image, Place, header_of, read_fits, world_coordinates
from alerts.limits import MAX_STAMP_BYTES

__all__ = [
    "JPEG_SIDE",
    "MAX_STAMP_BYTES",
    "NOT_COVERED",
    "SIDE",
    "BadStamp",
    "Cutouts",
    "Image",
    "Stamp",
    "read_stamp",
    "source_pixel",
    "to_pixels",
]

SIDE = 63
"""Pixels along the side of a whole ZTF stamp, whose source is at pixel (31, 31), counted from 0."""
JPEG_SIDE = 51
"""The same of the JPEG stamps."""
NOT_COVERED = np.finfo(np.float32).min
"""In ZTF's template stamps a pixel that the reference image does not cover, beside NaN."""
_FITS_MAGIC = b"SIMPLE"
_JPEG_MAGIC = b"\xff\xd8"
_GZIP = 31  # zlib's word for "32 kB window, gzip format"
_USUAL_BYTES = 20160  # ZTF's file of 63 x 63 pixels
_SHORT_BYTES = 4 * MAX_STAMP_BYTES // 1032
"""Deflate makes at most 1032 bytes of one: a stamp so short takes no more than some 20 MB, and that for a moment."""
_ZLIB_ERROR = cast(type[Exception], zlib_ng.error)

Positions: TypeAlias = "Sequence[float | None] | np.ndarray[Any, Any] | pa.Array | pa.ChunkedArray"
Stamps: TypeAlias = "Sequence[Buffer | None] | pa.Array | pa.ChunkedArray"


@dataclass(frozen=True)
class Cutouts:
    """The stamps of a batch as one array, and which of them could not be read."""

    pixels: Image
    """``[stamp, row, column]``, float32, native byte order, as sent and not turned (ZTF's row 0 is in the north, Rubin's camera
    turns: ``alerts.surveys.orientation``), in the stamps' own unit: DN (ZTF), nJy (Rubin), gray levels of 0 to 255 (JPEG). NaN
    where a pixel is missing, ``NOT_COVERED`` ones among them, and throughout where the stamp is null or damaged."""
    faults: dict[int, str] = field(default_factory=dict)
    """Number of a damaged stamp: what is wrong with it, in one sentence. A null is no fault."""


@dataclass(frozen=True)
class Stamp:
    """One stamp, unpacked."""

    pixels: Image
    """``[row, column]``, float32, native byte order, values and their order as sent: ``alerts.surveys.orientation`` says how it
    lies on the sky. (Of a JPEG, which begins at its top, row 0 is the lowest, as FITS has it.)"""
    reference: Place | None
    """The pixel of the source (x, y, counted from 0) where the header says so, as Rubin's do."""
    data: Buffer
    """The FITS or JPEG file."""

    @property
    def is_jpeg(self) -> bool:
        """Whether the pixels are gray levels, no measurements."""
        return _is_jpeg(self.data)

    @property
    def world_coordinates(self) -> WCS | None:
        """Celestial coordinates of the pixels; None where the stamp does not tell. Raises ``BadStamp``."""
        return None if self.is_jpeg else world_coordinates(header_of(self.data))


def to_pixels(stamps: Stamps, *, xpos: Positions | None = None, ypos: Positions | None = None, side: int = SIDE) -> Cutouts:
    """All stamps as one array of ``side`` x ``side`` pixels, the source of each at pixel ``side // 2`` of both axes.

    ``stamps`` are bytes or null, in a list or an Arrow array. ``xpos``, ``ypos`` are the sources' places on the chip in
    pixels, as ZTF's candidates have them; they are asked for stamps that are cut at an edge (see ``source_pixel``).
    ``side`` is the survey's: 63 for ZTF, 81 for WINTER, 61 for PGIR. Rubin's stamps, whose headers name the source's pixel,
    may have any; what lies outside the square is left out. Never raises for what a stamp holds.
    """
    count = len(stamps)
    places = _places(xpos, count, "xpos"), _places(ypos, count, "ypos")
    pixels = np.empty((count, side, side), np.float32)
    faults: dict[int, str] = {}
    for number, data in enumerate(_each(stamps)):
        target = pixels[number]
        if data is None:
            target.fill(np.nan)
            continue
        try:
            image, reference, file = _read(data)
            if image.shape == target.shape and reference is None:
                target[:] = image
            else:
                whole = JPEG_SIDE if _is_jpeg(file) else side
                x, y = source_pixel(image.shape, reference, whole, places[0][number], places[1][number])
                target.fill(np.nan)
                _put(image, x, y, target)
        except BadStamp as error:
            target.fill(np.nan)
            faults[number] = shortened(str(error))
    not_covered = pixels == NOT_COVERED
    if not_covered.any():
        pixels[not_covered] = np.nan
    return Cutouts(pixels, faults)


def read_stamp(data: Buffer) -> Stamp:
    """One stamp as it is: its own size, nothing moved. Raises ``BadStamp``."""
    image, reference, file = _read(data)
    return Stamp(np.ascontiguousarray(image, np.float32), reference, file)


def source_pixel(
    shape: tuple[int, ...], reference: Place | None, whole: int, xpos: float = math.nan, ypos: float = math.nan
) -> tuple[int, int]:
    """The pixel (column, row, counted from 0) in which the source of a stamp of ``shape`` (rows, columns) lies.

    A header's reference pixel tells. Else the source is in the middle pixel of a whole stamp of ``whole`` pixels. ZTF cuts
    from the chip's pixel round(xpos) - 31 to round(xpos) + 31, as far as there are any, counting from 1: where that begins
    below 1 the missing pixels are those before the source, and where it ends beyond the chip those behind it. How many are
    missing the stamp shows, on which side ``xpos`` does. That is so for all cut stamps among the collected packets, low
    and high edges, both axes; JPEG stamps, once turned upside down, do the same with 25 in place of 31.

    Raises ``BadStamp`` for a cut stamp without ``xpos`` or ``ypos``: nobody knows on which side it is cut.
    """
    if reference is not None:
        return math.floor(reference[0] + 0.5), math.floor(reference[1] + 0.5)
    return _middle(shape[1], whole, xpos, "xpos", shape), _middle(shape[0], whole, ypos, "ypos", shape)


def _middle(length: int, whole: int, position: float, name: str, shape: tuple[int, ...]) -> int:
    if length >= whole:
        return length // 2
    if math.isnan(position):
        raise BadStamp(
            f"the stamp of {shape[0]} x {shape[1]} pixels (of {whole} x {whole}) is cut, on which side {name} must tell"
        )
    half = whole // 2
    return half - (whole - length) if position < half + 1 else half


def _put(image: Image, x: int, y: int, target: Image) -> None:
    """Copy what fits, so that pixel (x, y) of the image comes to the middle of the target."""
    left, low = target.shape[1] // 2 - x, target.shape[0] // 2 - y
    rows = slice(max(low, 0), max(low + image.shape[0], 0))
    columns = slice(max(left, 0), max(left + image.shape[1], 0))
    inside = target[rows, columns]
    from_row, from_column = max(-low, 0), max(-left, 0)
    inside[:] = image[from_row : from_row + inside.shape[0], from_column : from_column + inside.shape[1]]


def _each(stamps: Stamps) -> Iterator[Buffer | None]:
    if isinstance(stamps, (pa.Array, pa.ChunkedArray)):
        for scalar in stamps:
            # A view: the bytes of an Arrow array are not copied.
            yield memoryview(scalar.as_buffer()).cast("B") if scalar.is_valid else None
    else:
        yield from stamps


def _places(given: Positions | None, count: int, name: str) -> list[float]:
    if given is None:
        return [math.nan] * count
    if len(given) != count:
        raise ValueError(f"{name} has {len(given)} values for {count} stamps; give one for each")
    values = given.to_pylist() if isinstance(given, (pa.Array, pa.ChunkedArray)) else given
    return [math.nan if value is None else float(value) for value in values]


def _read(data: Buffer) -> tuple[Image, Place | None, Buffer]:
    """Image, source's pixel if the header has it, and the file, unpacked."""
    if data[:2] == GZIP_MAGIC:
        data = _gunzip(data)
    if data[:6] == _FITS_MAGIC:
        image, reference = read_fits(data)
        return image, reference, data
    if _is_jpeg(data):
        return _read_jpeg(data), None, data
    begins = f"it begins with {bytes(data[:16])!r}" if data else "it is empty (0 bytes)"
    raise BadStamp(f"the stamp is neither FITS nor JPEG: {begins}")


def _is_jpeg(data: Buffer) -> bool:
    return data[:2] == _JPEG_MAGIC


def _gunzip(data: Buffer) -> bytes:
    """The one gzip member that a stamp is. What it claims counts for nothing: memory is bounded before it is taken."""
    if len(data) <= _SHORT_BYTES:
        try:
            # In one call, a thirtieth faster than below. What it refuses is looked at again there, to say why.
            file = zlib_ng.decompress(data, _GZIP, _USUAL_BYTES)
        except _ZLIB_ERROR:
            file = b""
        if file and len(file) <= MAX_STAMP_BYTES and len(file) == int.from_bytes(data[-4:], "little"):
            return file
    unpacker = zlib_ng.decompressobj(_GZIP)
    try:
        # One byte more than is allowed shows that there is more.
        file = unpacker.decompress(data, MAX_STAMP_BYTES + 1)
    except _ZLIB_ERROR as error:
        raise BadStamp(f"the stamp cannot be unpacked ({error})") from error
    if len(file) > MAX_STAMP_BYTES:
        raise BadStamp(f"the stamp of {len(data)} bytes unpacks to more than {MAX_STAMP_BYTES:,} bytes, the limit")
    if not unpacker.eof:
        raise BadStamp(f"the stamp is cut short: its gzip stream does not end within {len(data)} bytes")
    if unpacker.unused_data:
        raise BadStamp(f"{len(unpacker.unused_data)} bytes are left behind the end of the stamp's gzip stream")
    return file


def _read_jpeg(data: Buffer) -> Image:
    try:
        with Pictures.open(io.BytesIO(data), formats=["JPEG"]) as picture:
            # Known before the pixels are unpacked.
            columns, rows = picture.size
            if 4 * rows * columns > MAX_STAMP_BYTES:
                raise BadStamp(f"the JPEG stamp claims {rows} x {columns} pixels; the limit is {MAX_STAMP_BYTES // 4:,} pixels")
            # A picture begins at its top, a FITS image with its lowest row.
            return np.asarray(picture.convert("L"), np.float32)[::-1]
    except BadStamp:
        raise
    except Exception as error:  # Pillow raises what it likes for damaged files
        raise BadStamp(f"the JPEG stamp cannot be read ({type(error).__name__}: {error})") from error
