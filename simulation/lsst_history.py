"""LSST's light curves as packets tell them: sources (detections), forced sources, and the statistics of their object."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np

from simulation.light_curves import LightCurve
from simulation.objects import Kind, SkyObject
from simulation.plan import UNIX_EPOCH_MJD
from simulation.sky import Floats, Ints
from simulation.survey import as_rows, between, only_where, record_fields

BANDS = "ugrizy"
PIXEL_ARCSEC = 0.2
HALF_EXPOSURE_DAYS = 15 / 86400
PROCESSING_DAYS = 150 / 86400
FIRST_DAY = date(2010, 1, 1)
RELEASE = 2
FORCED = 1 << 18
"""Distinguishes the ids of forced sources from those of sources."""
NO_SOURCE: dict[str, Any] = {
    name: False if "boolean" in kind else None for name, kind in record_fields("lsst", "10.0", "diaSource").items()
}
"""A source without any flag and any measurement."""
NO_OBJECT: dict[str, Any] = dict.fromkeys(record_fields("lsst", "10.0", "diaObject"))


def nights(sky_object: SkyObject) -> list[date]:
    """The night of each exposure: the date of its UTC time minus 12 hours."""
    days = np.floor(sky_object.field.exposures.mjd_utc - 0.5).astype(int) - UNIX_EPOCH_MJD
    return [date(1970, 1, 1) + timedelta(days=day) for day in days.tolist()]


def visits(sky_object: SkyObject) -> Ints:
    """Visit of each exposure: YYYYMMDD of the night, then five digits that count from 1."""
    dates = np.array([night.year * 10_000 + night.month * 100 + night.day for night in nights(sky_object)])
    return np.asarray(dates * 100_000 + sky_object.field.exposures.slot + 1)


def source_ids(sky_object: SkyObject) -> Ints:
    """Id of a source at each exposure, packed as Rubin does: release, day, visit of the night, detector, counter."""
    days = np.array([(night - FIRST_DAY).days for night in nights(sky_object)])
    visit = ((RELEASE << 14 | days) << 15) + sky_object.field.exposures.slot + 1
    return np.asarray((((visit << 8) + sky_object.chip) << 19) + sky_object.number)


def midpoints_mjd_tai(sky_object: SkyObject, leap_secs: int) -> Floats:
    """Middle of each exposure, which began at ``Exposures.mjd_utc`` and took 30 s."""
    return np.round(sky_object.field.exposures.mjd_utc + HALF_EXPOSURE_DAYS + leap_secs / 86400, 10)


def fwhm_pixels(sky_object: SkyObject, which: Ints) -> Floats:
    """Full width at half maximum of a star."""
    return sky_object.field.exposures.seeing_arcsec[which] / PIXEL_ARCSEC


def template_njy(curve: LightCurve, which: Ints) -> Floats:
    """Flux of the template at the place of the source; little where the template's nearest source is elsewhere."""
    return np.asarray(curve.reference_njy[which] * np.exp(-((curve.reference_arcsec / 0.8) ** 2)))


def sources(
    sky_object: SkyObject, curve: LightCurve, which: Ints, object_ids: tuple[int, int], leap_secs: int
) -> list[dict[str, Any]]:
    """Detections as ``diaSource`` records. ``object_ids``: diaObjectId and ssObjectId, 0 for none."""
    draws, flux, error = curve.draws[which].T, curve.flux_njy[which], curve.error_njy[which]
    ids, time = source_ids(sky_object)[which], midpoints_mjd_tai(sky_object, leap_secs)[which]
    snr = np.abs(flux) / error
    position_error = fwhm_pixels(sky_object, which) / 2.35 / snr
    columns = {
        "diaSourceId": ids,
        "visit": visits(sky_object)[which],
        "detector": sky_object.chip,
        "diaObjectId": object_ids[0],
        "ssObjectId": object_ids[1],
        "parentDiaSourceId": 0,
        "midpointMjdTai": time,
        "ra": curve.ra_deg[which],
        "raErr": position_error * PIXEL_ARCSEC / 3600,
        "dec": curve.dec_deg[which],
        "decErr": position_error * PIXEL_ARCSEC / 3600 * between(0.9, 1.1, draws[0]),
        "ra_dec_Cov": (position_error * PIXEL_ARCSEC / 3600) ** 2 * between(-0.1, 0.1, draws[1]),
        "x": sky_object.x + between(-0.2, 0.2, draws[2]),
        "xErr": position_error,
        "y": sky_object.y + between(-0.2, 0.2, draws[3]),
        "yErr": position_error * between(0.9, 1.1, draws[0]),
        **_fluxes(sky_object, curve, which, draws),
        **_trails_and_shapes(sky_object, curve, which, draws),
        **_dipoles(curve, which, draws),
        "pixelFlags_interpolated": draws[16] < 0.08,
        "pixelFlags_saturated": draws[16] < 0.01,
        "reliability": 1 - draws[9] ** 3,
        "band": [BANDS[band] for band in sky_object.field.exposures.band[which].tolist()],
        "timeProcessedMjdTai": np.round(time + PROCESSING_DAYS * between(0.8, 1.4, draws[10]), 10),
        "bboxSize": bbox_sizes(snr),
    }
    return [NO_SOURCE | row for row in as_rows(columns)]


def bbox_sizes(snr: Floats) -> Ints:
    """Side of the box about a source's footprint in pixels: the brighter, the larger."""
    return np.asarray(np.clip(16 + 14 * np.log10(snr), 22, 56), dtype=np.int64)


def _fluxes(sky_object: SkyObject, curve: LightCurve, which: Ints, draws: Floats) -> dict[str, Any]:
    flux, error, template = curve.flux_njy[which], curve.error_njy[which], template_njy(curve, which)
    return {
        "apFlux": flux + error * between(-1.5, 1.5, draws[4]),
        "apFluxErr": 1.4 * error,
        "isNegative": flux < 0,
        "snr": np.abs(flux) / error,
        "psfFlux": flux,
        "psfFluxErr": error,
        "psfChi2": 1681 * between(0.95, 1.3, draws[5]),
        "psfNdata": 1681,
        "scienceFlux": template + flux,
        "scienceFluxErr": 1.01 * error,
        "templateFlux": template,
        "templateFluxErr": 0.05 * curve.limit_error_njy[which],
    }


def _trails_and_shapes(sky_object: SkyObject, curve: LightCurve, which: Ints, draws: Floats) -> dict[str, Any]:
    """A trail is fitted to every source; that of a star has about the length of the seeing. Moments are in arcsec^2."""
    flux, variance = curve.flux_njy[which], (sky_object.field.exposures.seeing_arcsec[which] / 2.35) ** 2
    moving = 1.5 if sky_object.kind in (Kind.SOLAR_SYSTEM, Kind.MOVER) else 1.0
    fitted = ~_is_dipole(draws)
    columns = {
        "trailFlux": flux * 1.12,
        "trailFluxErr": np.abs(flux) * 1e-4,
        "trailRa": curve.ra_deg[which],
        "trailDec": curve.dec_deg[which],
        "trailLength": moving * between(0.6, 1.2, draws[6]),
        "trailAngle": between(-180, 180, draws[7]),
        "ixx": variance * between(0.8, 1.2, draws[11]),
        "iyy": variance * between(0.8, 1.2, draws[12]),
        "ixy": variance * between(-0.15, 0.15, draws[13]),
        "extendedness": draws[8] ** 4,
    }
    psf = {"ixxPSF": variance, "iyyPSF": variance, "ixyPSF": 0.0, "trailNdata": 0, "shape_flag": ~fitted}
    return {name: only_where(fitted, values) for name, values in columns.items()} | psf


def _is_dipole(draws: Floats) -> Any:
    """The few sources that a bad alignment of the images has split in two."""
    return draws[14] < 0.04


def _dipoles(curve: LightCurve, which: Ints, draws: Floats) -> dict[str, Any]:
    is_dipole, template = _is_dipole(draws), template_njy(curve, which)
    columns = {
        "dipoleMeanFlux": np.abs(template) + np.abs(curve.flux_njy[which]),
        "dipoleMeanFluxErr": curve.error_njy[which],
        "dipoleFluxDiff": curve.flux_njy[which],
        "dipoleLength": between(0.1, 0.4, draws[15]),
        "dipoleAngle": between(-180, 180, draws[7]),
        "dipoleChi2": between(500, 8000, draws[8]),
    }
    numbers = {"dipoleNdata": np.where(is_dipole, 2610, 0), "isDipole": is_dipole, "dipoleFitAttempted": is_dipole}
    return {name: only_where(is_dipole, values) for name, values in columns.items()} | numbers


def forced_sources(sky_object: SkyObject, curve: LightCurve, which: Ints, object_id: int, leap_secs: int) -> list[dict[str, Any]]:
    """Fluxes measured at the object's place, detected or not."""
    time, template = midpoints_mjd_tai(sky_object, leap_secs)[which], template_njy(curve, which)
    columns = {
        "diaForcedSourceId": source_ids(sky_object)[which] + FORCED,
        "diaObjectId": object_id,
        "ra": sky_object.ra_deg,
        "dec": sky_object.dec_deg,
        "visit": visits(sky_object)[which],
        "detector": sky_object.chip,
        "psfFlux": curve.flux_njy[which],
        "psfFluxErr": curve.error_njy[which],
        "midpointMjdTai": time,
        "scienceFlux": template + curve.flux_njy[which],
        "scienceFluxErr": 1.01 * curve.error_njy[which],
        "band": [BANDS[band] for band in sky_object.field.exposures.band[which].tolist()],
        "timeProcessedMjdTai": np.round(time + PROCESSING_DAYS, 10),
        "timeWithdrawnMjdTai": None,
    }
    return as_rows(columns)


def dia_object(sky_object: SkyObject, detections: list[dict[str, Any]], object_id: int) -> dict[str, Any]:
    """The object as known after the last of its detections, with statistics of each band that has any."""
    last = detections[-1]
    record = NO_OBJECT | {
        "diaObjectId": object_id,
        "validityStartMjdTai": last["timeProcessedMjdTai"],
        "ra": sky_object.ra_deg,
        "raErr": last["raErr"] / len(detections) ** 0.5,
        "dec": sky_object.dec_deg,
        "decErr": last["decErr"] / len(detections) ** 0.5,
        "ra_dec_Cov": last["ra_dec_Cov"] / len(detections),
        "nDiaSources": len(detections),
    }
    for band in BANDS:
        record |= _band_statistics(band, [source for source in detections if source["band"] == band])
    return record


def _band_statistics(band: str, detections: list[dict[str, Any]]) -> dict[str, Any]:
    """Weighted means, range and steepest rise in one band; what too few detections do not give stays null."""
    count: dict[str, Any] = {f"{band}_psfFluxNdata": len(detections)}
    if not detections:
        return count
    flux, error, science, time = (
        np.array([detection[name] for detection in detections])
        for name in ("psfFlux", "psfFluxErr", "scienceFlux", "midpointMjdTai")
    )
    weight = 1 / error**2
    mean_error = float(weight.sum() ** -0.5)
    record = count | {
        f"{band}_psfFluxMean": float((weight * flux).sum() / weight.sum()),
        f"{band}_psfFluxMeanErr": mean_error,
        f"{band}_scienceFluxMean": float((weight * science).sum() / weight.sum()),
        f"{band}_scienceFluxMeanErr": mean_error,
        f"{band}_psfFluxMin": float(flux.min()),
        f"{band}_psfFluxMax": float(flux.max()),
        f"{band}_psfFluxErrMean": float(error.mean()),
    }
    if len(detections) > 1:
        slope = np.diff(flux) / np.diff(time)
        record |= {f"{band}_psfFluxSigma": float(flux.std(ddof=1)), f"{band}_psfFluxMaxSlope": float(slope.max())}
    return record
