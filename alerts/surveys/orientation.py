"""How a stamp lies on the sky: what one pixel along a row and one row up are in arcsec east and north.

Three sources, the best first: the stamp's own header (Rubin turns its camera at each visit), the survey's facts (found from
alerts of one exposure, whose places on the chip and on the sky are known), and nothing. The arrays themselves are never turned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # with the surveys this is imported by everybody, who need none of these
    from astropy.coordinates import SkyCoord
    from astropy.wcs import WCS

    from alerts.cutouts import Stamp
    from alerts.surveys.survey import Survey

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def sky_of_pixels(stamp: Stamp, survey: Survey, source: tuple[float, float]) -> Matrix | None:
    """``[[east of x, east of y], [north of x, north of y]]`` in arcsec per pixel; None where nobody knows.

    ``source`` is the pixel (x, y, counted from 0) about which a header's coordinates are taken as flat.
    Raises ``BadStamp`` for a header whose coordinates make no sense.
    """
    wcs = stamp.world_coordinates
    if wcs is not None:
        return _about(wcs, source)
    return None if survey.sky_of_pixels_arcsec is None else np.array(survey.sky_of_pixels_arcsec)


def _about(wcs: WCS, source: tuple[float, float]) -> Matrix:
    x, y = source
    center, along_x, along_y = (wcs.celestial.pixel_to_world(*at) for at in ((x, y), (x + 1, y), (x, y + 1)))
    return np.array([_offset_arcsec(center, axis) for axis in (along_x, along_y)]).T


def _offset_arcsec(center: SkyCoord, other: SkyCoord) -> tuple[float, float]:
    east, north = center.spherical_offsets_to(other)
    return float(east.arcsec), float(north.arcsec)
