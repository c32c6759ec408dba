"""What is planted in every night: families of objects whose light curves and places are known by numbers, told in the truth.

An object's numbers come from its own random numbers, the same whenever they are asked for. It is always on working pixels, has
the same AB magnitude in every band, and is so bright that it is detected whenever it alerts in the night: nothing but noise
stands between what was planted and what packets tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulation.instrument import Instrument, Mask
from simulation.magnitudes import flux_njy
from simulation.objects import Kind, SkyObject
from simulation.sky import Floats, Ints

FAMILIES = (Kind.FADER, Kind.RISER, Kind.FLARE, Kind.VARIABLE, Kind.HOSTLESS, Kind.MOVER)
WITHOUT_STAR = (Kind.HOSTLESS, Kind.MOVER)
"""Beside these no star of the catalog stands."""
ALERTS_FOR_ONE = 16
"""So many alerts of a night bring one planted object: from 96 on a night has one of each family."""
MOTION_ARCSEC_PER_HOUR = (15.0, 30.0)
"""As asteroids of the main belt move; within a night a mover stays in its cell of the field."""
FLARED_DAYS_AGO = 4.0
"""A flare is older: its peak is not the newest thing that was seen of it."""
BAND = "r"
"""The band in whose exposures the beginnings of what is planted are seen."""


@dataclass(frozen=True)
class Planted:
    """The numbers of a planted object, None where its family has no such number. Signs are those of features."""

    slope_mag_per_day: float | None = None
    """Of faders and risers that are steady in magnitude; positive: fading."""
    slope_njy_per_day: float | None = None
    """Of those that are steady in flux; positive: brightening."""
    amplitude_mag: float | None = None
    """Of a flare: its peak over the quiet star."""
    amplitude_njy: float | None = None
    """Of a variable: half of the range of its difference flux, about 0."""
    period_days: float | None = None
    tau_days: float | None = None
    """In which a flare's flux sinks to 1/e."""
    began_mjd_utc: float | None = None
    """When it flared up; of a riser that is steady in flux, when that was 0."""
    reference_arcsec: float | None = None
    """From a hostless transient to the nearest source of the template."""
    motion_arcsec_per_hour: float | None = None
    motion_angle_deg: float | None = None
    """Position angle of the motion, from north through east."""


@dataclass(frozen=True)
class Change:
    """A planted object's difference flux in nJy at every exposure of its field, and the template's nearest source."""

    model_njy: Floats
    reference_mag: float
    reference_arcsec: float
    told: Planted


@dataclass(frozen=True)
class _Scene:
    """What a family's numbers are chosen by."""

    rng: np.random.Generator
    now_mjd_utc: float
    days: Floats
    """Time of each exposure after the object's first alert of the night."""
    alerting: Mask
    seen: Floats
    """``days`` of the earlier exposures in ``BAND``."""
    limit_mag: float
    """The shallowest limit of the night, and of ``BAND`` before it: 5 sigma."""
    steady_in: str

    def ago(self, exposures: int) -> float:
        """Days since the so-many-th latest of the exposures in ``BAND``, or since the first where there are fewer."""
        return float(-self.seen[-min(exposures, len(self.seen))]) if len(self.seen) else 0.0

    def mjd_utc(self, days: float) -> float:
        """The time so many days after the first alert of the night."""
        return round(self.now_mjd_utc + days, 6)

    def mag_above(self, least: float, most: float) -> float:
        """A magnitude so much brighter than the limit: 0.8 mag is 10 sigma."""
        return round(self.limit_mag - float(self.rng.uniform(least, most)), 4)


def deal(alerts: int, passes: int) -> tuple[Ints, Ints, Ints]:
    """Kind, number and passes of the planted objects in a night of so many alerts.

    They alert at every pass; a mover does so as another object each time, as it is elsewhere.
    """
    number = np.arange(alerts // ALERTS_FOR_ONE)
    kind = np.array(FAMILIES, dtype=np.int64)[number % len(FAMILIES)]
    parts = np.where(kind == Kind.MOVER, passes, 1)
    kind, number = np.repeat(kind, parts), np.repeat(number, parts)
    part = np.arange(len(number)) - np.searchsorted(number, number)
    return kind, number, np.where(kind == Kind.MOVER, 1 << part, (1 << passes) - 1)


def motion(rng: np.random.Generator) -> tuple[float, float]:
    """How a mover moves, in arcsec per hour, and at what position angle: the first of its random numbers."""
    return round(float(rng.uniform(*MOTION_ARCSEC_PER_HOUR)), 3), round(float(rng.uniform(0, 360)), 3)


def plant(rng: np.random.Generator, instrument: Instrument, sky_object: SkyObject, depth_mag: Floats, alerting: Mask) -> Change:
    """A planted object at the exposures of its field, of which ``depth_mag`` are the limits on its chip."""
    exposures = sky_object.field.exposures
    first = int(np.argmax(alerting))
    days = exposures.mjd_utc - exposures.mjd_utc[first]
    is_seen = exposures.band == instrument.bands.index(BAND)
    tonight = np.arange(len(days)) >= exposures.earlier
    limit = float(depth_mag[is_seen | tonight].min())
    now = float(exposures.mjd_utc[first])
    scene = _Scene(rng, now, days, alerting, days[is_seen & ~tonight], limit, instrument.steady_in)
    return _PLANTS[sky_object.kind](scene)


def _hosted(scene: _Scene, model_njy: Floats, told: Planted, above_limit_mag: float = 0.0) -> Change:
    """A change at a source of the template, which is so much brighter than the limit or more."""
    host = scene.limit_mag - above_limit_mag - float(scene.rng.uniform(0, 1.5))
    return Change(model_njy, host, float(scene.rng.uniform(0.1, 0.6)), told)


def _fader(scene: _Scene) -> Change:
    """Flared up some days ago, and fades since."""
    mag = scene.mag_above(0.8, 1.6)
    age = round(max(float(scene.rng.uniform(8, 20)), scene.ago(5) + 0.1), 4)
    is_on = scene.days >= -age
    if scene.steady_in == "mag":
        slope = round(float(scene.rng.uniform(0.12, 0.22)), 5)
        model = flux_njy(mag + slope * scene.days)
        return _hosted(scene, np.where(is_on, model, 0.0), Planted(slope_mag_per_day=slope, began_mjd_utc=scene.mjd_utc(-age)))
    slope = round(-float(flux_njy(mag)) * float(scene.rng.uniform(1.5, 4)) / age, 3)
    model = flux_njy(mag) + slope * scene.days
    return _hosted(scene, np.where(is_on, model, 0.0), Planted(slope_njy_per_day=slope, began_mjd_utc=scene.mjd_utc(-age)))


def _riser(scene: _Scene) -> Change:
    """Rises out of the noise, up to now."""
    mag = scene.mag_above(2.5, 3.2)
    if scene.steady_in == "mag":
        slope = -round(min(float(scene.rng.uniform(0.15, 0.3)), 2.3 / (scene.ago(5) + 1)), 5)
        return _hosted(scene, flux_njy(mag + slope * scene.days), Planted(slope_mag_per_day=slope))
    age = round(max(float(scene.rng.uniform(12, 40)), 1.3 * scene.ago(5)), 4)
    slope = round(float(flux_njy(mag)) / age, 3)
    model = np.maximum(slope * (scene.days + age), 0.0)
    return _hosted(scene, model, Planted(slope_njy_per_day=slope, began_mjd_utc=scene.mjd_utc(-age)))


def _flare(scene: _Scene) -> Change:
    """A star that is a little brighter than in the template, and some nights ago was very much so."""
    quiet = scene.mag_above(0.8, 1.3)
    amplitude, tau = round(float(scene.rng.uniform(1.8, 3.0)), 4), round(float(scene.rng.uniform(1.5, 3.0)), 4)
    earlier = scene.seen[scene.seen < -FLARED_DAYS_AGO]
    began = round(float(earlier[-1]) if len(earlier) else -FLARED_DAYS_AGO, 4) - 0.01
    since = scene.days - began
    above = np.where(since >= 0, (10 ** (0.4 * amplitude) - 1) * np.exp(-np.maximum(since, 0) / tau), 0.0)
    return _hosted(
        scene, flux_njy(quiet) * (1 + above), Planted(amplitude_mag=amplitude, tau_days=tau, began_mjd_utc=scene.mjd_utc(began))
    )


def _variable(scene: _Scene) -> Change:
    """A star about the brightness that it has in the template: now brighter, now fainter, and this night near one end."""
    amplitude = round(float(flux_njy(scene.mag_above(1.6, 2.6))), 2)
    phase = np.pi * (scene.rng.uniform(0.3, 0.5) + (scene.rng.random() < 0.5))
    for period in np.round(scene.rng.uniform(0.6, 6, 20), 4).tolist():
        seen = np.sin(2 * np.pi * scene.seen / period + phase)
        # A period with which the exposures before this night, too, show both signs.
        if len(seen) and seen.min() < -0.5 and seen.max() > 0.5:
            break
    model = amplitude * np.sin(2 * np.pi * scene.days / period + phase)
    return _hosted(scene, model, Planted(amplitude_njy=amplitude, period_days=period), above_limit_mag=3.0)


def _hostless(scene: _Scene) -> Change:
    """A young transient, rising and then declining, with no source of the template near it."""
    mag, away = scene.mag_above(0.8, 2.0), round(float(scene.rng.uniform(13, 20)), 3)
    age, rise, decline = (round(float(scene.rng.uniform(low, high)), 4) for low, high in ((4, 12), (2, 8), (15, 60)))
    since = np.maximum(scene.days + age, 0)
    shape = (1 - np.exp(-since / rise)) * np.exp(-since / decline)
    model = flux_njy(mag) * shape / shape[int(np.argmax(scene.alerting))]
    told = Planted(began_mjd_utc=scene.mjd_utc(-age), reference_arcsec=away)
    return Change(model, scene.limit_mag + float(scene.rng.uniform(0, 1)), away, told)


def _mover(scene: _Scene) -> Change:
    """Somewhere only while one exposure lasts."""
    rate, angle = motion(scene.rng)
    mag, away = scene.mag_above(0.8, 2.0), float(scene.rng.uniform(13, 20))
    model = np.where(scene.alerting, flux_njy(mag), 0.0)
    told = Planted(motion_arcsec_per_hour=rate, motion_angle_deg=angle)
    return Change(model, scene.limit_mag + float(scene.rng.uniform(0, 1)), away, told)


_PLANTS: dict[Kind, Callable[[_Scene], Change]] = {
    Kind.FADER: _fader,
    Kind.RISER: _riser,
    Kind.FLARE: _flare,
    Kind.VARIABLE: _variable,
    Kind.HOSTLESS: _hostless,
    Kind.MOVER: _mover,
}
