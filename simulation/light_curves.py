"""How bright an object was at every exposure of its field, and whether the survey detected it.

Fluxes are difference fluxes (now minus template) in nJy.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.families import Change, Planted, plant
from simulation.instrument import Instrument, Mask
from simulation.magnitudes import ZERO_POINT_MAG, flux_njy
from simulation.objects import Exposures, Kind, SkyObject
from simulation.plan import NightPlan, Stream
from simulation.sky import Floats

DETECTION_SNR = 5.0
SYSTEMATIC_ERROR = 0.015
"""Share of the flux that limits the precision of bright sources."""


@dataclass(frozen=True)
class LightCurve:
    """One object at all exposures of its field: arrays in the order of ``Exposures``.

    It is the same whichever of the object's alerts asks for it; so a later alert's history repeats the earlier alerts.
    """

    depth_mag: Floats
    """5-sigma limit on this chip."""
    limit_error_njy: Floats
    """Error of a faint source: a fifth of the limit."""
    flux_njy: Floats
    error_njy: Floats
    reference_njy: Floats
    """Total flux of the nearest source of the template, in the exposure's band."""
    reference_arcsec: float
    reference_angle_deg: float
    covered: Mask
    """The object lay on working pixels."""
    detected: Mask
    ra_deg: Floats
    dec_deg: Floats
    draws: Floats
    """Uniform random numbers, one row per exposure, for the many quantities of a detection that nothing depends on."""


@dataclass(frozen=True)
class _Brightness:
    """Difference flux at every exposure, and the template's nearest source: its flux, and how far away it is."""

    model_njy: Floats
    reference_njy: Floats
    reference_arcsec: float


def light_curve(plan: NightPlan, sky_object: SkyObject) -> LightCurve:
    """The light curve of one object."""
    rng = plan.rng(Stream.LIGHT_CURVE, sky_object.index)
    alerting = _alerting(sky_object)
    bright = _brightness(plan, sky_object, rng, alerting)
    model, depth = bright.model_njy, _depth_mag(sky_object)
    limit_error = flux_njy(depth) / DETECTION_SNR
    error = np.hypot(limit_error, SYSTEMATIC_ERROR * model)
    flux = _measured(rng, model, error, alerting)
    covered = _covered(plan.instrument, sky_object, rng, alerting)
    ra, dec = _measured_positions(rng, plan.instrument, sky_object, len(flux))
    return LightCurve(
        depth_mag=depth,
        limit_error_njy=limit_error,
        flux_njy=flux,
        error_njy=error,
        reference_njy=bright.reference_njy,
        reference_arcsec=bright.reference_arcsec,
        reference_angle_deg=rng.uniform(0, 360),
        covered=covered,
        detected=covered & (np.abs(flux) >= DETECTION_SNR * error),
        ra_deg=ra,
        dec_deg=dec,
        draws=rng.random((len(flux), 24)),
    )


def planted(plan: NightPlan, sky_object: SkyObject) -> Planted:
    """What was planted of an object: nothing of most."""
    if sky_object.planted is None:
        return Planted()
    return _planted(plan, sky_object, sky_object.planted, _alerting(sky_object)).told


def _depth_mag(sky_object: SkyObject) -> Floats:
    return np.asarray(sky_object.field.exposures.depth_mag + sky_object.field.chip_depth_mag[sky_object.chip])


def _alerting(sky_object: SkyObject) -> Mask:
    """The exposures at which the object alerts in this night."""
    exposures = sky_object.field.exposures
    passing = np.arange(len(exposures.mjd_utc)) - exposures.earlier
    return np.asarray((passing >= 0) & ((sky_object.passes >> np.maximum(passing, 0)) & 1 == 1))


def _covered(instrument: Instrument, sky_object: SkyObject, rng: np.random.Generator, alerting: Mask) -> Mask:
    """The exposures that saw the object on working pixels.

    Of what stays where it is, no pass of the night that brought no alert: it would have been seen there.
    """
    covered = instrument.coverage(rng, len(alerting)) | alerting
    if sky_object.planted is not None:
        return np.ones_like(covered)
    if sky_object.kind is Kind.SOLAR_SYSTEM:
        return covered
    tonight = np.arange(len(alerting)) >= sky_object.field.exposures.earlier
    return np.asarray(covered & (alerting | ~tonight))


def _brightness(plan: NightPlan, sky_object: SkyObject, rng: np.random.Generator, alerting: Mask) -> _Brightness:
    if sky_object.planted is None:
        return _unplanted(rng, sky_object.kind, sky_object.field.exposures, _depth_mag(sky_object), alerting)
    change = _planted(plan, sky_object, sky_object.planted, alerting)
    return _Brightness(change.model_njy, np.full(len(alerting), flux_njy(change.reference_mag)), change.reference_arcsec)


def _planted(plan: NightPlan, sky_object: SkyObject, number: int, alerting: Mask) -> Change:
    rng = plan.rng(Stream.FAMILIES, number)
    return plant(rng, plan.instrument, sky_object, _depth_mag(sky_object), alerting)


def _unplanted(rng: np.random.Generator, kind: Kind, exposures: Exposures, depth_mag: Floats, alerting: Mask) -> _Brightness:
    first = int(np.argmax(alerting))
    shape, reference_mag_above, reference_arcsec = _shape(rng, kind, exposures.mjd_utc - exposures.mjd_utc[first], alerting)
    # Bright alerts are rare: three quarters lie within 1.7 mag of the limit.
    mag = depth_mag[first] - 0.15 - min(rng.exponential(1.2), 5.5)
    color = flux_njy(ZERO_POINT_MAG + rng.normal(0, 0.25) * (exposures.band - exposures.band[first]))
    return _Brightness(flux_njy(mag) * color * shape, flux_njy(mag - reference_mag_above) * color, reference_arcsec)


def _shape(rng: np.random.Generator, kind: Kind, days: Floats, alerting: Mask) -> tuple[Floats, float, float]:
    """Unit light curve (1 or -1 at the object's first alert of the night), and the template's source beside it.

    By how many magnitudes that is brighter than the change, and how far away it is in arcsec.
    """
    sign = 1 if rng.random() < 0.6 else -1
    if kind is Kind.TRANSIENT:
        age, rise, decline = rng.uniform(1.5, 25), rng.uniform(1, 8), rng.uniform(12, 60)
        since = np.maximum(days + age, 0)
        shape = (1 - np.exp(-since / rise)) * np.exp(-since / decline)
        shape /= (1 - np.exp(-age / rise)) * np.exp(-age / decline)
        return shape, rng.uniform(-1.5, 1.5), rng.uniform(0.3, 6)
    if kind is Kind.VARIABLE_STAR:
        shape = sign * _waves(rng, days, periods=10 ** rng.uniform(-0.6, 1.5, 1))
        return shape, rng.uniform(0.9, 3.5), rng.uniform(0.02, 0.6)
    if kind is Kind.ACTIVE_NUCLEUS:
        shape = sign * _waves(rng, days, periods=np.array([4.3, 15.7, 61.0]))
        return shape, rng.uniform(1.0, 3.0), rng.uniform(0.02, 0.4)
    # An asteroid is here for one exposure, and the template has some faint star not far away.
    return alerting.astype(np.float64), rng.uniform(-4, -1), rng.uniform(2, 20)


def _waves(rng: np.random.Generator, days: Floats, periods: Floats) -> Floats:
    """Sum of sine waves that is 1 at day 0 and not at a node there."""
    phases = rng.uniform(np.pi / 6, 5 * np.pi / 6, len(periods))
    waves = np.sin(2 * np.pi * days[:, None] / periods + phases).sum(axis=1)
    return np.asarray(waves / np.sin(phases).sum())


def _measured(rng: np.random.Generator, model: Floats, error: Floats, alerting: Mask) -> Floats:
    """The model with noise; detected at least where the plan says so."""
    flux = model + error * rng.standard_normal(len(model))
    at_least = np.abs(flux[alerting]) / error[alerting]
    sign = np.where(model[alerting] < 0, -1, 1)
    flux[alerting] = sign * error[alerting] * np.maximum(at_least, DETECTION_SNR + 0.3 * rng.random(int(alerting.sum())))
    return np.asarray(flux)


def _measured_positions(
    rng: np.random.Generator, instrument: Instrument, sky_object: SkyObject, count: int
) -> tuple[Floats, Floats]:
    """Positions about the object's, rounded as packets state them."""
    north, east = instrument.scatter_arcsec * rng.standard_normal((2, count)) / 3600
    ra = (sky_object.ra_deg + east / np.cos(np.radians(sky_object.dec_deg))) % 360
    decimals = instrument.position_decimals
    return np.round(ra, decimals) % 360, np.round(sky_object.dec_deg + north, decimals)
