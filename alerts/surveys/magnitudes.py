"""Magnitudes, fluxes and what is derived of them. Fluxes are in nJy, magnitudes AB; NaN stands for what is not known.

1 nJy is 31.4 mag AB (Oke & Gunn 1983; the rounding is that of Rubin's documents). Errors are 1 sigma, to first order.
"""

from __future__ import annotations

import math

from alerts.surveys.photometry import NJY_AB_MAG

DETECTED_SIGMA, LIMIT_SIGMA = 3.0, 5.0
"""From so many sigma on a flux is told as a magnitude, below that as a limit of so many sigma (Masci et al. 2023,
arXiv:2305.16279, for ZTF's forced photometry)."""
MAG_PER_RELATIVE_ERROR = 2.5 / math.log(10)
MAX_REFERENCE_ARCSEC = 1.4
"""A reference source that is farther away is another source."""


def flux_njy(mag: float) -> float:
    """Flux of an AB magnitude."""
    return 10 ** (0.4 * (NJY_AB_MAG - mag))


def njy_per_unit(zero_point_mag: float) -> float:
    """NJy in a flux of 1 whose AB magnitude is the zero point: of a DN where that is ``magzpsci``."""
    return 10 ** (0.4 * (NJY_AB_MAG - zero_point_mag))


def flux_error_njy(flux: float, mag_error: float) -> float:
    """Error of a flux from that of its magnitude."""
    return abs(flux) * mag_error / MAG_PER_RELATIVE_ERROR


def ab_mag(flux: float) -> float:
    """AB magnitude of the absolute value of a flux; NaN of 0."""
    return NJY_AB_MAG - 2.5 * math.log10(abs(flux)) if flux and not math.isnan(flux) else math.nan


def mag_error(flux: float, error: float) -> float:
    """Error of a magnitude from that of its flux."""
    return MAG_PER_RELATIVE_ERROR * error / abs(flux) if flux else math.nan


def is_significant(flux: float, error: float) -> bool:
    """Whether a flux, positive or negative, is told as a magnitude."""
    return error > 0 and abs(flux) >= DETECTED_SIGMA * error


def total_flux_njy(difference: float, reference_mag: float, reference_arcsec: float) -> float:
    """Flux of a source of the reference image plus what the signed difference adds.

    So the apparent magnitude is -2.5 log10(10^(-0.4 magnr) +- 10^(-0.4 magpsf)) for ZTF. NaN where the reference source is
    farther than 1.4 arcsec or unknown, or the sum is not positive.
    """
    if not reference_arcsec <= MAX_REFERENCE_ARCSEC or math.isnan(reference_mag):
        return math.nan
    total = flux_njy(reference_mag) + difference
    return total if total > 0 else math.nan
