"""Positions as people write them."""

from __future__ import annotations

import erfa
import numpy as np


def sexagesimal(ra_deg: float, dec_deg: float) -> str:
    """A position (ICRS, degrees) as ``03:08:25.936 +08:05:02.140``: hours, minutes, seconds, and degrees, minutes, seconds."""
    # SOFA's, which astropy ships: astropy's own coordinates take half a second to load.
    _, hours = erfa.a2tf(3, np.radians(ra_deg % 360))
    sign, degrees = erfa.a2af(3, np.radians(dec_deg))
    return f"{_digits(hours)} {sign.tobytes().decode()}{_digits(degrees)}"


def _digits(parts: np.void) -> str:
    whole, minutes, seconds, thousandths = parts.tolist()
    return f"{whole:02d}:{minutes:02d}:{seconds:02d}.{thousandths:03d}"
