"""Stamps that mean harm: a fault of their own, in little memory."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits

from simulation.stamps import fits_header
from tests.alerts.attacks import MIB, gzipped, stamp_fault, zeros
from tests.within import within

SMALL = 64 * MIB


def file_of(*hdus: fits.hdu.base._BaseHDU) -> bytes:
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(out)
    return out.getvalue()


def tiled_bomb() -> bytes:
    """A file of 1 MB whose image of 10 x 10 pixels is one tile: gigabytes of zeros, gzip'd."""
    tile = np.frombuffer(gzipped(zeros(256 * MIB)), np.uint8)
    table = fits.BinTableHDU.from_columns([fits.Column("COMPRESSED_DATA", "1PB", array=np.array([tile], dtype=object))])
    values = {"ZIMAGE": True, "ZCMPTYPE": "GZIP_1", "ZBITPIX": 32, "ZNAXIS": 2}
    table.header.update({**values, "ZNAXIS1": 10, "ZNAXIS2": 10, "ZTILE1": 10, "ZTILE2": 10})
    return file_of(table)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_image_in_compressed_tiles_is_not_unpacked(pack):
    for data in (file_of(fits.CompImageHDU(np.zeros((60, 60), np.float32))), tiled_bomb()):
        assert "a FITS file without an image" in within(SMALL, 20, stamp_fault, pack(data))


@pytest.mark.parametrize("axes", [(0, 2**60), (2**60, 0), (-(2**20), -(2**20)), (-1, 5), (2**40, 2**40), (2**62, 2**62)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_image_that_claims_sides_of_any_length(axes, pack):
    claims = [("SIMPLE", True), ("BITPIX", -32), ("NAXIS", 2), ("NAXIS1", axes[0]), ("NAXIS2", axes[1])]
    assert within(SMALL, 20, stamp_fault, pack(fits_header(*claims) + bytes(2880)))


def test_a_header_that_never_ends_and_a_file_of_nothing_but_headers():
    cards = fits_header(("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0))
    endless = b"SIMPLE  =                    T".ljust(80) + b"COMMENT".ljust(80) * 50_000
    empty = fits_header(("XTENSION", "'IMAGE   '"), ("BITPIX", 8), ("NAXIS", 0), ("PCOUNT", 0), ("GCOUNT", 1))
    for data in (endless, cards + 1000 * empty):
        assert within(SMALL, 30, stamp_fault, data)


def test_gigabytes_of_zeros_gzipped():
    assert "unpacks to more than 4,194,304 bytes" in within(SMALL, 20, stamp_fault, gzipped(zeros(256 * MIB)))
