"""The image in a FITS file held in memory: plain ones by a short reader of our own, all others by astropy.

Format: FITS Standard 4.0, sections 3.3 (a header is blocks of 2880 bytes, cards of 80) and 4.4.1 (the mandatory keywords
and their order). Our reader takes what surveys send, a primary HDU of 32-bit floats whose header fits into one block, and
only where it gives the very bits that astropy gives; whatever else a file may hold is astropy's.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from astropy.wcs import WCS

from alerts.errors import AlertError
from alerts.limits import MAX_STAMP_BYTES

Image = np.ndarray[Any, np.dtype[np.float32]]
Place = tuple[float, float]
Buffer = bytes | memoryview

_BLOCK_BYTES = 2880
_CARD_BYTES = 80
_MANDATORY = ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2")
_SPACES = b" " * _BLOCK_BYTES


class BadStamp(AlertError):
    """A stamp that cannot be turned into pixels; the message says why in one sentence."""


def read_fits(data: Buffer) -> tuple[Image, Place | None]:
    """The first image, and the reference pixel (x, y, counted from 0) where the header names one inside it.

    The image is ``[row, column]``, row 0 lowest, as FITS stores it, in the unit of the file, float32 in either byte order;
    it may be a view that must not be written to. Raises ``BadStamp``.
    """
    cards = _one_block(data)
    shape = _plain_shape(cards[: len(_MANDATORY) * _CARD_BYTES])
    rescaled = b"BSCALE" in cards or b"BZERO" in cards or b"BLANK" in cards
    if not shape or rescaled or len(data) < _BLOCK_BYTES + 4 * shape[0] * shape[1]:
        return _read_by_astropy(data)
    pixels = np.frombuffer(data, ">f4", shape[0] * shape[1], _BLOCK_BYTES).reshape(shape)
    if b"CRPIX1" not in cards:
        return pixels, None
    return pixels, _inside((_number(cards, b"CRPIX1"), _number(cards, b"CRPIX2")), shape)


def header_of(data: Buffer) -> fits.Header:
    """All cards of the first HDU with an image. Raises ``BadStamp``."""
    with _opened(data) as hdus:
        return _first_image(hdus).header.copy()


def world_coordinates(header: fits.Header) -> WCS | None:
    """The celestial coordinates of a stamp's pixels; None where its header has none. Raises ``BadStamp`` for damaged ones.

    Rubin's stamps have all cards of a WCS but CTYPE, without which astropy takes the axes for linear: the projection is TAN.
    """
    if not all(name in header for name in ("CRPIX1", "CRPIX2", "CRVAL1", "CRVAL2")):
        return None
    header = header.copy()
    if "CTYPE1" not in header:
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            found = WCS(header, naxis=2)
            return found if found.has_celestial else None
        except Exception as error:  # astropy and wcslib raise what they like for damaged cards
            raise BadStamp(f"the stamp's coordinates make no sense ({type(error).__name__}: {error})") from error


def _one_block(data: Buffer) -> bytes:
    """The cards of a header that ends within the first block, without END; empty where it does not."""
    block = bytes(data[:_BLOCK_BYTES])
    if len(block) == _BLOCK_BYTES:
        for end in range(len(_MANDATORY) * _CARD_BYTES, _BLOCK_BYTES, _CARD_BYTES):
            if block.startswith(b"END ", end):
                return block[:end] if block.endswith(_SPACES[end + len(b"END") :]) else b""
    return b""


@functools.lru_cache(maxsize=1024)
def _plain_shape(cards: bytes) -> tuple[int, int] | None:
    """Rows and columns that the mandatory cards of a primary HDU of 32-bit floats give; None for any other."""
    values = []
    for number, name in enumerate(_MANDATORY):
        card = cards[number * _CARD_BYTES : (number + 1) * _CARD_BYTES]
        if not card.startswith(f"{name:8}= ".encode()):
            return None
        values.append(card[10:].split(b"/")[0].strip())
    if values[:3] != [b"T", b"-32", b"2"] or not (values[3].isdigit() and values[4].isdigit()):
        return None
    columns, rows = int(values[3]), int(values[4])
    return (rows, columns) if 0 < 4 * rows * columns <= MAX_STAMP_BYTES else None


def _number(header: bytes, name: bytes) -> float:
    """The number of a card, NaN where there is none."""
    place = header.find(name + b"  = ")
    if place < 0 or place % _CARD_BYTES:
        return math.nan
    try:
        return float(header[place + 10 : place + _CARD_BYTES].split(b"/")[0])
    except ValueError:
        return math.nan


def _inside(reference: Place, shape: tuple[int, ...]) -> Place | None:
    """A reference pixel counted from 0 instead of 1, if it is on the image."""
    x, y = reference[0] - 1, reference[1] - 1
    on_image = -0.5 <= x < shape[1] - 0.5 and -0.5 <= y < shape[0] - 0.5
    return (x, y) if on_image else None


def _read_by_astropy(data: Buffer) -> tuple[Image, Place | None]:
    with _opened(data) as hdus:
        hdu = _first_image(hdus)
        shape = hdu.shape
        try:
            with np.errstate(over="ignore"):
                pixels = np.asarray(hdu.data, dtype=np.float32)
        except Exception as error:  # astropy has no base class for what damaged files make it raise
            raise BadStamp(f"the stamp's pixels cannot be read ({type(error).__name__}: {error})") from error
        return pixels, _inside((_card(hdu.header, "CRPIX1"), _card(hdu.header, "CRPIX2")), shape)


def _card(header: fits.Header, name: str) -> float:
    try:
        return float(header[name])
    except Exception:  # absent, no number, or damaged
        return math.nan


@contextlib.contextmanager
def _opened(data: Buffer) -> Iterator[fits.HDUList]:
    # Rubin's writer and ZTF's have their ways with the standard, of which astropy warns.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        try:
            # No survey sends tiles of compressed pixels, which astropy unpacks to any length.
            hdus = fits.open(io.BytesIO(data), ignore_missing_simple=True, memmap=False, disable_image_compression=True)
        except Exception as error:  # as above
            raise BadStamp(f"the stamp is no FITS file that can be read ({type(error).__name__}: {error})") from error
        with hdus:
            yield hdus


def _first_image(hdus: fits.HDUList) -> Any:
    """The first HDU with an image of two axes, before its pixels are read."""
    try:
        found = next((hdu for hdu in hdus if hdu.is_image and getattr(hdu, "shape", ())), None)
    except Exception as error:  # as above; headers are read when they are asked for
        raise BadStamp(f"the stamp's header cannot be read ({type(error).__name__}: {error})") from error
    if found is None:
        raise BadStamp("the stamp is a FITS file without an image")
    if len(found.shape) != 2:
        raise BadStamp(f"the stamp's image has {len(found.shape)} axes; a stamp has 2")
    rows, columns = found.shape
    if rows < 1 or columns < 1 or 4 * rows * columns > MAX_STAMP_BYTES:
        raise BadStamp(f"the stamp claims {rows} x {columns} pixels; the limit is {MAX_STAMP_BYTES // 4:,} pixels")
    return found
