"""LSST alerts of schema 10.0: the camera on Cerro Pachon and the packet around a detection."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from simulation import lsst_history as history
from simulation import lsst_solar_system as solar_system
from simulation.instrument import Instrument, Mask
from simulation.light_curves import LightCurve, light_curve
from simulation.objects import Kind, SkyObject
from simulation.plan import NightPlan, Stream
from simulation.stamps import Scene, Star, farther, lsst_stamp, paint, pixel_noise
from simulation.survey import MadeAlert, SimulatedSurvey, utc_from_mjd

PASSES = 2
PSF_SIDE, TEMPLATE_PSF_SIDE = 41, 55
TEMPLATE_FWHM_PIXELS = 4.0
SMALLEST_STAMP = 30


def _coverage(rng: np.random.Generator, count: int) -> Mask:
    """An object's history begins when it is first detected: some are new tonight, few have been followed for months."""
    visits = 0 if rng.random() < 0.12 else int(rng.lognormal(np.log(30), 0.9))
    since_discovery = np.arange(count) >= count - PASSES - visits
    return np.asarray(since_discovery & (rng.random(count) < 0.95))


def _science_array() -> tuple[tuple[int, int], ...]:
    """15 x 15 detectors without the four corner rafts of 3 x 3: 189, numbered raft by raft."""
    corners = {(0, 0), (0, 4), (4, 0), (4, 4)}
    rafts = [(column, row) for row in range(5) for column in range(5) if (column, row) not in corners]
    return tuple((3 * column + x, 3 * row + y) for column, row in rafts for y in range(3) for x in range(3))


RUBIN = Instrument(
    longitude_deg=-70.749,
    first_exposure_hours=24.25,
    cadence_secs=39,
    blocks=8,
    fields_per_block=50,
    passes=PASSES,
    bands=tuple(history.BANDS),
    bands_of_pass=((1, 2, 3), (0, 2, 3, 4, 5)),
    depth_mag=(22.8, 23.6, 23.4, 23.1, 22.5, 21.7),
    seeing_arcsec=0.85,
    chips=_science_array(),
    chip_pixels=(4072, 4000),
    pixel_arcsec=history.PIXEL_ARCSEC,
    rows_run_south=False,
    cell_arcsec=40,
    field_rows_deg=(-68, 6),
    field_spacing_deg=3.7,
    alerts_per_field=1000,
    alerts_in_night={1: 0.65, 2: 0.35},
    past_days=110,
    past_nights=(96, 108),
    past_pass_chance=0.97,
    coverage=_coverage,
    scatter_arcsec=0.05,
    position_decimals=9,
    solar_system_share=0.15,
    steady_in="njy",
    max_alerts=8_000_000,
)


@functools.cache
def tai_minus_utc_secs(mjd_utc: int) -> int:
    """Leap seconds of a date: 37 since 2017."""
    from astropy.time import Time  # noqa: PLC0415 - it takes a quarter of a second, and the command's help needs none

    time = Time(mjd_utc, format="mjd", scale="utc")
    return round(float(time.tai.mjd - time.mjd) * 86400)


def make(plan: NightPlan, sky_object: SkyObject, passing: int) -> MadeAlert:
    """The packet of an object's detection at the night's pass ``passing``."""
    curve = light_curve(plan, sky_object)
    position = sky_object.field.exposures.earlier + passing
    leap_secs = tai_minus_utc_secs(plan.night_mjd)
    traits = plan.rng(Stream.TRAITS, sky_object.index).random(16)
    if sky_object.kind is Kind.SOLAR_SYSTEM:
        content, object_id = _solar_system_alert(sky_object, curve, position, traits, leap_secs)
    else:
        content, object_id = _object_alert(sky_object, curve, position, traits, leap_secs)
    source = content["diaSource"]
    record = {
        "diaSourceId": source["diaSourceId"],
        "observation_reason": "simulated",
        "target_name": f"simulated field {sky_object.field.number}",
        **content,
        **_cutouts(plan, sky_object, curve, source, position),
    }
    observed_at = utc_from_mjd(source["midpointMjdTai"], leap_secs)
    return MadeAlert(record, source["diaSourceId"], str(object_id), source["ra"], source["dec"], observed_at)


def _object_alert(
    sky_object: SkyObject, curve: LightCurve, position: int, traits: Any, leap_secs: int
) -> tuple[dict[str, Any], int]:
    """Source, history and object of something that stays where it is. The object bears the id of its first source."""
    which = np.append(np.flatnonzero(curve.detected[:position]), position)
    object_id = int(history.source_ids(sky_object)[which[0]])
    detections = history.sources(sky_object, curve, which, (object_id, 0), leap_secs)
    # Forced photometry begins at the discovery and is done at this visit, too.
    forced = np.flatnonzero(curve.covered[: position + 1])
    forced = forced[forced >= which[0]] if len(which) > 1 else forced[:0]
    # The survey sends both null and [] for a history that is empty.
    empty: list[Any] | None = [] if traits[0] < 0.2 else None
    empty_forced: list[Any] | None = [] if traits[1] < 0.2 else None
    content = {
        "diaSource": detections[-1],
        "prvDiaSources": detections[:-1] or empty,
        "prvDiaForcedSources": history.forced_sources(sky_object, curve, forced, object_id, leap_secs) or empty_forced,
        "diaObject": history.dia_object(sky_object, detections, object_id),
        "ssSource": None,
        "mpc_orbits": None,
    }
    return content, object_id


def _solar_system_alert(
    sky_object: SkyObject, curve: LightCurve, position: int, traits: Any, leap_secs: int
) -> tuple[dict[str, Any], int]:
    """Source and orbit of an asteroid: no history, no object, and ``diaObjectId`` 0."""
    object_id = solar_system.ss_object_id(solar_system.designation(sky_object.index)[1])
    [source] = history.sources(sky_object, curve, np.array([position]), (0, object_id), leap_secs)
    orbit = solar_system.orbit(sky_object, traits)
    content = {
        "diaSource": source,
        "prvDiaSources": None,
        "prvDiaForcedSources": None,
        "diaObject": None,
        "ssSource": solar_system.ss_source(sky_object, source, orbit["a"], traits),
        "mpc_orbits": orbit,
    }
    return content, object_id


def _cutouts(
    plan: NightPlan, sky_object: SkyObject, curve: LightCurve, source: dict[str, Any], position: int
) -> dict[str, bytes]:
    """The three stamps, each with its variance and PSF."""
    rng = plan.rng(Stream.STAMPS, sky_object.index, position)
    scene = _scene(rng, sky_object, curve, source, position)
    images = paint(rng, scene)
    wcs = _world_coordinates(source, scene)
    variance = np.full(images.science.shape, np.round(scene.noise**2, 3), np.float32)
    variance += np.round(np.abs(images.science) * np.float32(0.05 * scene.noise), 3)
    template_variance = np.full(images.science.shape, scene.template_noise**2, np.float32)
    return {
        "cutoutDifference": lsst_stamp(images.difference, variance, PSF_SIDE, scene.fwhm, wcs),
        "cutoutScience": lsst_stamp(images.science, variance, PSF_SIDE, scene.fwhm, wcs),
        "cutoutTemplate": lsst_stamp(images.template, template_variance, TEMPLATE_PSF_SIDE, TEMPLATE_FWHM_PIXELS, wcs),
    }


def _scene(rng: np.random.Generator, sky_object: SkyObject, curve: LightCurve, source: dict[str, Any], position: int) -> Scene:
    """The sky about the source in nJy and pixels; x runs west, y north."""
    side = max(SMALLEST_STAMP, source["bboxSize"])
    dx, dy = source["x"] - round(source["x"]), source["y"] - round(source["y"])
    angle, away = np.radians(curve.reference_angle_deg), curve.reference_arcsec / history.PIXEL_ARCSEC
    nearest = Star(dx - away * np.sin(angle), dy + away * np.cos(angle), float(curve.reference_njy[position]))
    limit = 5 * float(curve.limit_error_njy[position])
    places = rng.uniform(-side / 2, side / 2, (rng.poisson(1.5), 2))
    brightness = 0.3 * limit
    field_stars = [Star(x, y, brightness * (1 - rng.random()) ** -1.2) for x, y in farther(places, (dx, dy), away)]
    fwhm = float(history.fwhm_pixels(sky_object, np.array([position]))[0])
    noise = pixel_noise(float(curve.limit_error_njy[position]), fwhm)
    return Scene(
        side=side,
        change=Star(dx, dy, float(curve.flux_njy[position])),
        others=[nearest, *field_stars],
        fwhm=fwhm,
        template_fwhm=TEMPLATE_FWHM_PIXELS,
        noise=noise,
        template_noise=round(0.15 * noise, 3),
        background=0.0,
        decimals=3,
    )


def _world_coordinates(source: dict[str, Any], scene: Scene) -> list[tuple[str, float | int]]:
    """WCS of the stamp. As in Rubin's own there is no CTYPE: the projection, TAN, has to be known."""
    x0, y0 = (round(source[axis]) - scene.side // 2 for axis in "xy")
    scale = history.PIXEL_ARCSEC / 3600
    return [
        ("CUTMINX", x0),
        ("CUTMINY", y0),
        ("ROTPA", 0.0),
        ("WCSAXES", 2),
        ("CRPIX1", source["x"] - x0 + 1),
        ("CRPIX2", source["y"] - y0 + 1),
        ("PC1_1", -scale),
        ("PC1_2", 0.0),
        ("PC2_1", 0.0),
        ("PC2_2", scale),
        ("CDELT1", 1.0),
        ("CDELT2", 1.0),
        ("CRVAL1", source["ra"]),
        ("CRVAL2", source["dec"]),
        ("LATPOLE", 90.0),
        ("MJDREF", 0.0),
    ]


LSST = SimulatedSurvey(
    name="lsst",
    stream_key=2,
    version="10.0",
    framings=("container", "wire"),
    night_starts_utc_hours=12,
    time_path=("diaSource", "midpointMjdTai"),
    instrument=RUBIN,
    make=make,
)
