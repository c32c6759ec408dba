"""Features of an alert's own measurement and place, which take no history."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from alerts.features.points import Told
from alerts.features.records import Floats, days, fluxes_njy, mags, numbers
from alerts.light_curve import facts_of
from alerts.surveys import Survey
from alerts.surveys.magnitudes import DETECTED_SIGMA, MAG_PER_RELATIVE_ERROR, MAX_REFERENCE_ARCSEC, njy_per_unit
from alerts.surveys.photometry import NJY_AB_MAG

_GALACTIC_POLE = (-0.867666149019004701181616534570, -0.198076373431201528180486091412, 0.455983776175066922272100478348)
"""The north galactic pole in ICRS: row 3 of the matrix of Hipparcos vol. 1, 1.5.3, to the digits of SOFA's ``icrs2g``."""
_OBLIQUITY_RAD = float(np.radians(84381.406 / 3600))
"""Of J2000, IAU 2006. The 0.02 arcsec between ICRS and the equator of J2000 are left out."""
_ECLIPTIC_POLE = (0.0, -float(np.sin(_OBLIQUITY_RAD)), float(np.cos(_OBLIQUITY_RAD)))


def positions(rows: pa.RecordBatch) -> tuple[Floats, Floats]:
    """The alerts' ``ra_deg`` and ``dec_deg``; NaN where the batch has none, and for what is no place on the sky."""
    ra, dec = (rows.schema.get_field_index(name) for name in ("ra_deg", "dec_deg"))
    none = np.full(rows.num_rows, np.nan)
    found = [none if place < 0 else rows.column(place).to_numpy(zero_copy_only=False).astype(np.float64) for place in (ra, dec)]
    on_sky = (found[0] >= 0) & (found[0] <= 360) & (found[1] >= -90) & (found[1] <= 90)
    return np.where(on_sky, found[0], np.nan), np.where(on_sky, found[1], np.nan)


def latitudes_deg(ra_deg: Floats, dec_deg: Floats) -> tuple[Floats, Floats]:
    """Galactic latitudes of positions in ICRS, and those above the mean ecliptic of J2000, to 0.03 arcsec."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    equator = np.cos(dec)
    x, y, z = equator * np.cos(ra), equator * np.sin(ra), np.sin(dec)

    def above(pole: tuple[float, float, float]) -> Floats:
        return np.degrees(np.arcsin(np.clip(x * pole[0] + y * pole[1] + z * pole[2], -1.0, 1.0)))

    return above(_GALACTIC_POLE), above(_ECLIPTIC_POLE)


def age_days(own: Told, survey: Survey) -> Floats:
    """How long before the alert the survey's first detection was that its own record tells of."""
    with np.errstate(over="ignore"):
        return np.asarray(own.raw["days"] - days(own.records, (facts_of(survey).first_found,), survey), np.float64)


def apparent_mags(own: Told, survey: Survey) -> tuple[Floats, Floats]:
    """Apparent magnitude of each alert's own measurement and its error, as ``alerts.light_curve`` tells them."""
    facts = facts_of(survey)
    total = error = np.full(len(own.records), np.nan)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if own.series.apparent:
            scale = njy_per_unit(facts.zero_point_mag or 0.0)
            names = (own.series.apparent, own.series.apparent_error)
            total, error = (scale * numbers(own.records, field, facts) for field in names)
            total = np.where((error > 0) & (total >= DETECTED_SIGMA * error), total, np.nan)
        elif own.series.reference_mag:
            total, error = _with_reference(own, survey)
        return NJY_AB_MAG - 2.5 * np.log10(total), MAG_PER_RELATIVE_ERROR * error / total


def _with_reference(own: Told, survey: Survey) -> tuple[Floats, Floats]:
    """Flux (nJy) and error of the reference source and what the signed difference adds; NaN where there is no such source."""
    facts = facts_of(survey)
    records, series = own.records, own.series
    reference = fluxes_njy(mags(records, series.reference_mag, facts))
    away = numbers(records, series.reference_distance, facts) * series.arcsec_per_distance
    total = np.where(away <= MAX_REFERENCE_ARCSEC, reference + own.raw["flux_njy"], np.nan)
    reference_error = reference * numbers(records, series.reference_error_mag, facts) / MAG_PER_RELATIVE_ERROR
    return np.where(total > 0, total, np.nan), np.hypot(own.raw["flux_err_njy"], reference_error)
