"""ZTF's light curves as packets tell them: the detection itself, previous candidates with upper limits, forced photometry."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulation.light_curves import LightCurve
from simulation.magnitudes import ZERO_POINT_MAG, mag_ab
from simulation.objects import SkyObject
from simulation.sky import Floats, Ints, offset, separation_arcsec
from simulation.survey import as_rows, between, record_fields

JD_OF_MJD = 2400000.5
FIRST_NIGHT_JD = 2457754.5
"""2017-01-01: ``nid`` counts nights from it."""
CHIP_PIXELS = (3072, 3080)
PIXEL_ARCSEC = 1.012
ZERO_POINTS = np.array([26.2, 26.25, 25.7])
"""Magnitude of 1 DN in g, r, i."""
NOTHING = -999.0
NO_FORCED = -99999.0
RB_VERSION = "t17_f5_c3"
NOT_DETECTED: dict[str, Any] = dict.fromkeys(record_fields("ztf", "4.02", "prv_candidates"))


def julian_dates(sky_object: SkyObject) -> Floats:
    """Start of each exposure of the object's field as a JD (UTC), to the 7 decimals that ZTF gives."""
    return np.round(sky_object.field.exposures.mjd_utc + JD_OF_MJD, 7)


def process_ids(jd: Floats, rcid: int) -> Ints:
    """``pid``: date of the exposure in units of 1e-5 day since 2017, readout channel, and 15 for the pipeline's step."""
    return np.asarray(((jd - FIRST_NIGHT_JD) * 1e5).astype(np.int64) * 10_000 + rcid * 100 + 15)


def zero_points(sky_object: SkyObject, which: Ints) -> Floats:
    """``magzpsci``: AB magnitude of 1 DN per exposure."""
    exposures = sky_object.field.exposures
    return np.asarray(np.round(ZERO_POINTS[exposures.band[which]] + between(-0.2, 0.2, exposures.draws[which, 0]), 5))


def dn_per_njy(zero_point: float | Floats) -> Any:
    """DN of a source of 1 nJy."""
    return 10 ** (0.4 * (zero_point - ZERO_POINT_MAG))


def fwhm_pixels(sky_object: SkyObject, which: Ints) -> Floats:
    """Full width at half maximum of a star per exposure."""
    return sky_object.field.exposures.seeing_arcsec[which] / PIXEL_ARCSEC


def detections_and_limits(sky_object: SkyObject, curve: LightCurve, which: Ints) -> list[dict[str, Any]]:
    """Exposures as records of ``prv_candidates``: with a measurement where detected, else only with the exposure's limit."""
    exposures = as_rows(_exposure_columns(sky_object, curve, which))
    seen = which[curve.detected[which]]
    measured = dict(zip(seen.tolist(), as_rows(_detection_columns(sky_object, curve, seen)), strict=True)) if len(seen) else {}
    return [
        NOT_DETECTED | shared | measured.get(position, {}) for position, shared in zip(which.tolist(), exposures, strict=True)
    ]


def _exposure_columns(sky_object: SkyObject, curve: LightCurve, which: Ints) -> dict[str, Any]:
    exposures = sky_object.field.exposures
    jd = julian_dates(sky_object)[which]
    draws = exposures.draws[which].T
    band = exposures.band[which]
    return {
        "jd": jd,
        "fid": band + 1,
        "pid": process_ids(jd, sky_object.chip),
        "diffmaglim": curve.depth_mag[which],
        "pdiffimfilename": [f"/ztf/archive/sci/{name}.fz" for name in difference_images(sky_object, which)],
        "programpi": "simulated",
        "programid": 1,
        "nid": (jd - FIRST_NIGHT_JD).astype(np.int64),
        "rcid": sky_object.chip,
        "field": sky_object.field.number,
        "magzpsci": zero_points(sky_object, which),
        "magzpsciunc": np.round(between(5e-6, 2e-4, draws[1]), 9),
        "magzpscirms": np.round(between(0.02, 0.07, draws[2]), 6),
        "clrcoeff": np.round(between(-0.12, 0.13, draws[3]), 6),
        "clrcounc": np.round(between(5e-6, 2e-4, draws[4]), 9),
        "rbversion": RB_VERSION,
    }


def difference_images(sky_object: SkyObject, which: Ints) -> list[str]:
    """Names of the difference images: date and fraction of the day, field, filter, CCD and quadrant."""
    names = []
    for jd, band in zip(julian_dates(sky_object)[which].tolist(), sky_object.field.exposures.band[which].tolist(), strict=True):
        day, fraction = divmod(jd - FIRST_NIGHT_JD, 1)
        night = np.datetime64("2017-01-01") + int(day)
        stamp = f"{str(night).replace('-', '')}{int(fraction * 1e6):06d}"
        ccd, quadrant = divmod(sky_object.chip, 4)
        place = f"{sky_object.field.number:06d}_z{'gri'[band]}_c{ccd + 1:02d}_o_q{quadrant + 1}"
        names.append(f"ztf_{stamp}_{place}_scimrefdiffimg.fits")
    return names


def _detection_columns(sky_object: SkyObject, curve: LightCurve, which: Ints) -> dict[str, Any]:
    draws = curve.draws[which].T
    jd, flux = julian_dates(sky_object)[which], curve.flux_njy[which]
    positive = flux > 0
    sigma = np.maximum(1.0857 * curve.error_njy[which] / np.abs(flux), 0.02)
    mag = mag_ab(np.abs(flux))
    aperture = mag + sigma * between(-1.5, 1.5, draws[0])
    x, y = sky_object.x + between(-0.2, 0.2, draws[1]), sky_object.y + between(-0.2, 0.2, draws[2])
    ra_nearest, dec_nearest = reference_position(sky_object, curve)
    return {
        "candid": process_ids(jd, sky_object.chip) * 1_000_000 + np.where(positive, 15_000, 10_000) + sky_object.number,
        "isdiffpos": np.where(positive, "t", "f"),
        "tblid": sky_object.number,
        "xpos": x,
        "ypos": y,
        "ra": curve.ra_deg[which],
        "dec": curve.dec_deg[which],
        "magpsf": mag,
        "sigmapsf": sigma,
        "chipsf": np.round(0.7 + 3 * draws[3] ** 3, 5),
        "magap": np.round(aperture, 4),
        "sigmagap": np.round(sigma * between(0.7, 1.4, draws[4]), 4),
        # In pixels, as ZTF has it here; that of forced photometry is in arcsec.
        "distnr": separation_arcsec(curve.ra_deg[which], curve.dec_deg[which], ra_nearest, dec_nearest) / PIXEL_ARCSEC,
        **_reference_columns(curve, which),
        "magdiff": aperture - mag,
        "mindtoedge": np.minimum(np.minimum(x, CHIP_PIXELS[0] - x), np.minimum(y, CHIP_PIXELS[1] - y)),
        "magfromlim": curve.depth_mag[which] - aperture,
        **_shape_columns(sky_object, which, draws),
        "magapbig": np.round(aperture - between(-0.1, 0.2, draws[13]), 4),
        "sigmagapbig": np.round(sigma * between(0.9, 1.8, draws[14]), 4),
        "ranr": ra_nearest,
        "decnr": dec_nearest,
        "scorr": np.round(np.abs(flux) / curve.error_njy[which], 5),
    }


def reference_position(sky_object: SkyObject, curve: LightCurve) -> tuple[float, float]:
    """``ranr, decnr``: the nearest source of the reference image."""
    ra, dec = offset(sky_object.ra_deg, sky_object.dec_deg, curve.reference_arcsec, curve.reference_angle_deg)
    return round(float(ra), 7), round(float(dec), 7)


def _reference_columns(curve: LightCurve, which: Ints) -> dict[str, Any]:
    """The nearest source of the reference image, as its own image measured it."""
    mag = mag_ab(curve.reference_njy[which])
    return {
        "magnr": np.round(mag, 3),
        "sigmagnr": np.round(0.01 + 0.3 * 10 ** (0.4 * np.minimum(mag - 23, 0.3)), 3),
        "chinr": round(between(0.3, 1.2, float(curve.draws[0, 23])), 3),
        "sharpnr": round(between(-0.1, 0.1, float(curve.draws[1, 23])), 3),
    }


def _shape_columns(sky_object: SkyObject, which: Ints, draws: Floats) -> dict[str, Any]:
    fwhm = fwhm_pixels(sky_object, which) * between(0.85, 1.15, draws[5])
    elongation = between(1.0, 1.35, draws[6])
    major = fwhm / 2.3548 * between(0.8, 1.1, draws[7])
    nneg = (6 * draws[9] ** 2).astype(np.int64)
    return {
        "sky": np.round(between(-1, 1, draws[8]), 6),
        "fwhm": np.round(fwhm, 3),
        "classtar": np.round(1 - draws[10] ** 3, 3),
        "seeratio": np.round(between(0.7, 2.0, draws[11]), 6),
        "aimage": np.round(major, 3),
        "bimage": np.round(major / elongation, 3),
        "aimagerat": major / fwhm,
        "bimagerat": major / elongation / fwhm,
        "elong": elongation,
        "nneg": nneg,
        "nbad": 0,
        "rb": np.round(between(0.2, 0.98, np.sqrt(draws[12])), 6),
        "sumrat": np.where(nneg == 0, 1.0, np.round(between(0.6, 1.0, draws[15]), 6)),
    }


def forced_photometry(sky_object: SkyObject, curve: LightCurve, which: Ints) -> list[dict[str, Any]]:
    """``fp_hists``: flux in DN at the place of the object, detected or not; -99999 where the photometry failed."""
    exposures = sky_object.field.exposures
    draws, jd, band = curve.draws[which].T, julian_dates(sky_object)[which], exposures.band[which]
    status = _process_status(curve, which)
    done, known = np.isin(status, ["0", "56"]), curve.covered[which]
    zero_point = zero_points(sky_object, which)
    per_njy = dn_per_njy(zero_point)
    ra_nearest, dec_nearest = reference_position(sky_object, curve)
    reference = _reference_columns(curve, which)
    distance = separation_arcsec(sky_object.ra_deg, sky_object.dec_deg, ra_nearest, dec_nearest)
    noise = curve.error_njy[which] * per_njy
    columns = {
        "field": sky_object.field.number,
        "rcid": sky_object.chip,
        "fid": band + 1,
        "pid": process_ids(jd, sky_object.chip),
        "rfid": reference_ids(sky_object, which),
        "sciinpseeing": np.round(fwhm_pixels(sky_object, which), 4),
        "scibckgnd": np.round(between(80, 350, draws[18]), 3),
        "scisigpix": np.round(curve.limit_error_njy[which] * per_njy / 5, 6),
        "magzpsci": zero_point,
        "magzpsciunc": np.round(between(5e-6, 2e-4, exposures.draws[which, 1]), 9),
        "magzpscirms": np.round(between(0.02, 0.07, exposures.draws[which, 2]), 6),
        "clrcoeff": np.round(between(-0.12, 0.13, exposures.draws[which, 3]), 6),
        "clrcounc": np.round(between(5e-6, 2e-4, exposures.draws[which, 4]), 9),
        "exptime": 30.0,
        "adpctdif1": np.round(between(0.06, 0.13, draws[19]), 6),
        "adpctdif2": np.round(between(0.06, 0.13, draws[20]), 6),
        "diffmaglim": curve.depth_mag[which],
        "programid": 1,
        "jd": jd,
        "forcediffimflux": np.where(done, np.round(curve.flux_njy[which] * per_njy, 5), NO_FORCED),
        "forcediffimfluxunc": np.where(done, np.round(noise, 5), NO_FORCED),
        "procstatus": status,
        "distnr": np.where(known, distance, NO_FORCED),
        "ranr": np.where(known, ra_nearest, NO_FORCED),
        "decnr": np.where(known, dec_nearest, NO_FORCED),
        **{name: np.where(known, values, NO_FORCED) for name, values in reference.items()},
    }
    return as_rows(columns)


def _process_status(curve: LightCurve, which: Ints) -> Any:
    """How forced photometry went: 0 done, 56 with a warning, 55 and 61 failed."""
    luck = curve.draws[which, 17]
    status = np.select([luck < 0.8, luck < 0.84, luck < 0.87], ["0", "56", "55"], "61")
    return np.where(curve.covered[which], status, "61")


def reference_ids(sky_object: SkyObject, which: Ints) -> Ints:
    """``rfid`` of the reference image: field, 120, filter, readout channel."""
    return sky_object.field.number * 1_000_000 + 120_000 + (sky_object.field.exposures.band[which] + 1) * 100 + sky_object.chip
