"""Positions as people write them are those that astropy writes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from alerts.sexagesimal import sexagesimal

_RANDOM = np.random.default_rng(16)
ANYWHERE = [*zip(_RANDOM.uniform(0, 360, 200), np.degrees(np.arcsin(_RANDOM.uniform(-1, 1, 200))), strict=True)]
AT_EDGES = [(0.0, 0.0), (0.0, -0.0001), (47.108, 8.084), (359.9999999, -89.9999999), (180.0, 90.0), (15.0, -90.0), (12.5, -0.5)]


@pytest.mark.parametrize(("ra_deg", "dec_deg"), [*ANYWHERE[:20], *AT_EDGES])
def test_it_writes_what_astropy_writes(ra_deg: float, dec_deg: float) -> None:
    expected = SkyCoord(ra_deg, dec_deg, unit="deg").to_string("hmsdms", sep=":", precision=3)
    assert sexagesimal(ra_deg, dec_deg) == expected


def test_it_writes_what_astropy_writes_all_over_the_sky() -> None:
    ra_deg, dec_deg = np.array(ANYWHERE).T
    expected = SkyCoord(ra_deg, dec_deg, unit="deg").to_string("hmsdms", sep=":", precision=3)
    assert [sexagesimal(*position) for position in ANYWHERE] == list(expected)
