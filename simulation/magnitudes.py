"""AB magnitudes and fluxes in nJy: magnitude = 31.4 - 2.5 log10(flux)."""

from __future__ import annotations

import numpy as np

from simulation.sky import Floats

ZERO_POINT_MAG = 31.4


def flux_njy(mag: float | Floats) -> Floats:
    """Flux in nJy of an AB magnitude."""
    return np.asarray(10 ** (0.4 * (ZERO_POINT_MAG - np.asarray(mag))))


def mag_ab(flux: float | Floats) -> Floats:
    """AB magnitude of a flux in nJy, which must be positive."""
    return np.asarray(ZERO_POINT_MAG - 2.5 * np.log10(flux))
