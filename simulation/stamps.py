"""Cutouts as FITS bytes: ZTF's gzip'd 63x63 images and LSST's three-HDU images.

The science stamp is the template plus the difference, pixel by pixel. FITS is written by hand: astropy takes milliseconds
per header, and three stamps per alert must not.
"""

from __future__ import annotations

import functools
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulation.sky import Floats

FITS_BLOCK = 2880
SIGMA_PER_FWHM = 1 / 2.3548
ZTF_SIDE = 63
NAN_EDGE_CHANCE = 0.1

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Star:
    """A point source: pixels from the middle of the stamp (columns, rows), and flux in the stamp's unit."""

    dx: float
    dy: float
    flux: float


@dataclass(frozen=True)
class Scene:
    """What a set of stamps shows. Lengths are in pixels, fluxes in the stamp's unit (DN or nJy)."""

    side: int
    change: Star
    """The source of the difference image; negative where the object has faded."""
    others: Sequence[Star]
    """Sources of the template, and so of the science image."""
    fwhm: float
    template_fwhm: float
    noise: float
    """Standard deviation of a pixel of the difference."""
    template_noise: float
    background: float
    decimals: int
    """To which the pixels are rounded: keeps stamps the same on machines whose ``exp`` differ in the last bit."""


@dataclass(frozen=True)
class Images:
    """The three images of one alert. Index [row, column]."""

    science: Pixels
    template: Pixels
    difference: Pixels


def farther(places: Floats, middle: tuple[float, float], pixels: float) -> list[tuple[float, float]]:
    """Those of the places (columns, rows) that are farther than so many pixels from a middle: what is nearest stays so."""
    return [(x, y) for x, y in places.tolist() if math.hypot(x - middle[0], y - middle[1]) > pixels]


def paint(rng: np.random.Generator, scene: Scene) -> Images:
    """The images of a scene."""
    shape = (scene.side, scene.side)
    noise = rng.standard_normal((2, *shape), dtype=np.float32)
    template = noise[0] * scene.template_noise + scene.background
    for star in scene.others:
        template += point_source(scene.side, star, scene.template_fwhm)
    difference = noise[1] * scene.noise + point_source(scene.side, scene.change, scene.fwhm)
    template, difference = np.round(template, scene.decimals), np.round(difference, scene.decimals)
    science = np.round(template + difference, scene.decimals)
    return Images(*(image.astype(np.float32) for image in (science, template, difference)))


def point_source(side: int, star: Star, fwhm: float) -> Floats:
    """A Gaussian star on a square of ``side`` pixels, whose middle is the middle of the central pixel."""
    sigma = fwhm * SIGMA_PER_FWHM
    axis = np.arange(side) - side // 2
    across = np.exp(-0.5 * ((axis - star.dx) / sigma) ** 2)
    up = np.exp(-0.5 * ((axis - star.dy) / sigma) ** 2)
    return np.asarray(star.flux / (2 * np.pi * sigma**2) * up[:, None] * across)


def pixel_noise(flux_error: float, fwhm: float) -> float:
    """Noise per pixel that gives a point source's flux, fitted with a Gaussian, this error."""
    return flux_error / (2 * math.sqrt(math.pi) * fwhm * SIGMA_PER_FWHM)


# ZTF


def blank_edge(rng: np.random.Generator, images: Images) -> Images:
    """In a tenth of the alerts the reference image ends within the stamp: NaN along one side of all three."""
    if rng.random() >= NAN_EDGE_CHANCE:
        return images
    side, width = int(rng.integers(4)), int(rng.integers(1, 15))
    row, column = (slice(None, width), slice(-width, None))[side % 2], slice(None)
    where = (row, column) if side < 2 else (column, row)
    for image in (images.science, images.template, images.difference):
        image[where] = np.nan
    return images


def on_chip(images: Images, x: float, y: float, chip_pixels: tuple[int, int]) -> Images:
    """The part of the stamps that lies on the chip: smaller where the source is near its edge. Pixels count from 1."""
    half = ZTF_SIDE // 2
    columns, rows = (
        slice(half - min(half, round(place) - 1), half + 1 + min(half, size - round(place)))
        for place, size in zip((x, y), chip_pixels, strict=True)
    )
    return Images(*(image[rows, columns] for image in (images.science, images.template, images.difference)))


def ztf_stamp(image: Pixels) -> bytes:
    """An image as ZTF sends it: FITS with one HDU, gzip'd."""
    return gzipped(_ztf_header(*image.shape) + _data(image, ">f4"))


@functools.cache
def _ztf_header(rows: int, columns: int) -> bytes:
    return fits_header(("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", columns), ("NAXIS2", rows), ("BUNIT", "DN"))


def gzipped(data: bytes) -> bytes:
    """``data`` in the gzip format, without a time.

    The run-length strategy and one block of symbols leave no choice to the builds of zlib: zlib and zlib-ng, with whatever
    instructions the machine has, give the same bytes. Of stamps it makes files as small as the default does, four times faster.
    """
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, 9, zlib.Z_RLE)
    deflated = packer.compress(data) + packer.flush()
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + deflated + struct.pack("<II", zlib.crc32(data), len(data))


# LSST


def lsst_stamp(image: Pixels, variance: Pixels, psf_side: int, fwhm: float, wcs: Sequence[tuple[str, float | int]]) -> bytes:
    """An image as LSST sends it: FITS with image and variance (nJy, nJy^2) and the normalized PSF, not compressed."""
    rows, columns = image.shape
    primary = fits_header(
        ("SIMPLE", True),
        ("BITPIX", -32),
        ("NAXIS", 2),
        ("NAXIS1", columns),
        ("NAXIS2", rows),
        ("EXTEND", True),
        ("BUNIT", "nJy"),
        *wcs,
    )
    uncertainty = _extension_header("UNCERT", -32, columns, rows)
    return primary + _data(image, ">f4") + uncertainty + _data(variance, ">f4") + psf_hdu(psf_side, round(fwhm, 1))


@functools.lru_cache(maxsize=128)
def psf_hdu(side: int, fwhm: float) -> bytes:
    """The PSF as a FITS extension; exposures share a few dozen of them."""
    psf = point_source(side, Star(0, 0, 1.0), fwhm)
    return _extension_header("PSFIMAGE", -64, side, side) + _data(np.round(psf / psf.sum(), 15), ">f8")


@functools.cache
def _extension_header(name: str, bits: int, columns: int, rows: int) -> bytes:
    kind = (("UTYPE", "VarianceUncertainty"),) if name == "UNCERT" else ()
    size = (("NAXIS", 2), ("NAXIS1", columns), ("NAXIS2", rows), ("PCOUNT", 0), ("GCOUNT", 1))
    return fits_header(("XTENSION", "IMAGE   "), ("BITPIX", bits), *size, *kind, ("EXTNAME", name))


# FITS


def fits_header(*cards: tuple[str, str | bool | int | float]) -> bytes:
    """A FITS header of these keywords and values, padded to whole blocks."""
    text = "".join(f"{keyword:8}= {_value(value):70}" for keyword, value in cards) + f"{'END':80}"
    return text.ljust(-(-len(text) // FITS_BLOCK) * FITS_BLOCK).encode("ascii")


def _value(value: str | bool | int | float) -> str:
    if isinstance(value, str):
        return f"'{value:8}'"
    if isinstance(value, bool):
        return f"{'T' if value else 'F':>20}"
    if isinstance(value, int):
        return f"{value:>20}"
    # FITS wants a decimal point, which Python leaves out of 1e-05.
    text = f"{value:.13G}"
    return f"{text if '.' in text else text.replace('E', '.0E') if 'E' in text else text + '.0':>20}"


def _data(image: Pixels | Floats, dtype: str) -> bytes:
    data = image.astype(dtype).tobytes()
    return data + b"\x00" * (-len(data) % FITS_BLOCK)
