"""ZTF alerts of schema 4.02: the camera at Palomar and the packet around a detection."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulation import ztf_history as history
from simulation.families import WITHOUT_STAR
from simulation.instrument import Instrument, Mask
from simulation.light_curves import LightCurve, light_curve
from simulation.objects import Kind, SkyObject
from simulation.plan import NightPlan, Stream
from simulation.sky import Floats, separation_arcsec
from simulation.stamps import ZTF_SIDE, Scene, Star, blank_edge, farther, on_chip, paint, pixel_noise, ztf_stamp
from simulation.survey import MadeAlert, SimulatedSurvey, utc_from_mjd
from simulation.ztf_history import JD_OF_MJD, NOTHING, PIXEL_ARCSEC

TEMPLATE_FWHM_PIXELS = 2.0
LONG_KNOWN = (Kind.VARIABLE_STAR, Kind.ACTIVE_NUCLEUS, Kind.FLARE, Kind.VARIABLE)
"""What was there before the history begins."""
ARCHIVE_FOLDER = "/ztf/archive/sci/"


def _coverage(rng: np.random.Generator, count: int) -> Mask:
    """Some chips' halves lose more exposures than others, to clouds, ghosts and gaps."""
    return np.asarray(rng.random(count) < rng.uniform(0.3, 1.0))


PALOMAR = Instrument(
    longitude_deg=-116.863,
    first_exposure_hours=2 + 40 / 60,
    cadence_secs=60,
    blocks=5,
    fields_per_block=40,
    passes=3,
    bands=("g", "r", "i"),
    bands_of_pass=((0,), (1,), (0, 1, 0, 1, 2)),
    depth_mag=(20.5, 20.4, 19.9),
    seeing_arcsec=2.1,
    chips=tuple((channel % 8, channel // 8) for channel in range(64)),
    chip_pixels=history.CHIP_PIXELS,
    pixel_arcsec=PIXEL_ARCSEC,
    rows_run_south=True,
    cell_arcsec=60,
    field_rows_deg=(-22, 71),
    field_spacing_deg=7.5,
    alerts_per_field=100,
    alerts_in_night={1: 0.62, 2: 0.28, 3: 0.1},
    past_days=30,
    past_nights=(10, 22),
    past_pass_chance=0.7,
    coverage=_coverage,
    scatter_arcsec=0.1,
    position_decimals=7,
    solar_system_share=0.2,
    steady_in="mag",
    max_alerts=5_000_000,
)


def make(plan: NightPlan, sky_object: SkyObject, passing: int) -> MadeAlert:
    """The packet of an object's detection at the night's pass ``passing``."""
    curve = light_curve(plan, sky_object)
    position = sky_object.field.exposures.earlier + passing
    which = np.append(np.flatnonzero(curve.covered[:position]), position)
    *previous, detection = history.detections_and_limits(sky_object, curve, which)
    traits = plan.rng(Stream.TRAITS, sky_object.index).random(48)
    forced = np.arange(max(0, position - 16 - int(traits[0] * 6)), position)
    candidate = detection | _beyond_history(sky_object, curve, traits, which, detection)
    record = {
        "schemavsn": "4.02",
        "publisher": "ZTF (simulated)",
        "objectId": object_id(plan, sky_object, candidate["jdstarthist"]),
        "candid": candidate["candid"],
        "candidate": candidate,
        "prv_candidates": previous,
        "fp_hists": history.forced_photometry(sky_object, curve, forced),
        **_cutouts(plan, sky_object, curve, candidate, position),
    }
    ra, dec, jd = candidate["ra"], candidate["dec"], candidate["jd"]
    return MadeAlert(record, record["candid"], record["objectId"], ra, dec, utc_from_mjd(jd - JD_OF_MJD))


def object_id(plan: NightPlan, sky_object: SkyObject, first_jd: float) -> str:
    """``ZTF``, the year of the first detection, and seven letters that no other object of the night has."""
    year = utc_from_mjd(first_jd - JD_OF_MJD).year % 100
    # Multiplying by a number without common factor with 26 scatters the names and keeps them apart.
    code, letters = (sky_object.index * 4_826_809_211 + plan.night_mjd) % 26**7, ""
    for _ in range(7):
        code, letter = divmod(code, 26)
        letters = chr(ord("a") + letter) + letters
    return f"ZTF{year:02d}{letters}"


def _beyond_history(
    sky_object: SkyObject, curve: LightCurve, traits: Floats, which: Any, detection: dict[str, Any]
) -> dict[str, Any]:
    """The fields that only the alert itself has, not its history."""
    is_moving = sky_object.kind is Kind.SOLAR_SYSTEM
    return {
        "pdiffimfilename": detection["pdiffimfilename"].removeprefix(ARCHIVE_FOLDER).removesuffix(".fz"),
        "ssdistnr": (0.0 if traits[1] < 0.9 else 1.0) if is_moving else NOTHING,
        "ssmagnr": round(detection["magpsf"] + 0.4 * traits[2], 1) if is_moving else NOTHING,
        "ssnamenr": str(1000 + int(traits[3] * 800_000)) if is_moving else "null",
        **_past(sky_object, curve, traits, which, detection["jd"]),
        **_pan_starrs(sky_object, traits[4:25], detection),
        **_gaia(sky_object, traits[25:29], detection),
        **_calibration(traits[29:40], detection),
        "tooflag": 0,
        "rfid": int(history.reference_ids(sky_object, which[-1:])[0]),
        "jdstartref": round(2458200 + 60 * traits[40], 6),
        "jdendref": round(2458300 + 300 * traits[41], 6),
        "nframesref": 15 + int(traits[42] * 25),
        "dsnrms": round(detection["scorr"] * (0.4 + traits[43]), 6),
        "ssnrms": round(detection["scorr"] * (1.4 + traits[44]), 6),
        "dsdiff": round(-detection["scorr"] * (0.4 + traits[45]), 6),
        "exptime": 30.0,
        "drb": round(1 - 0.6 * traits[46] ** 4, 7),
        "drbversion": "d6_m7",
    }


def _past(sky_object: SkyObject, curve: LightCurve, traits: Floats, which: Any, jd: float) -> dict[str, Any]:
    """How often and since when the place was seen to change; some also before the history begins."""
    dates = history.julian_dates(sky_object)[which[curve.detected[which]]]
    older = int(400 * traits[47] ** 2) if sky_object.kind in LONG_KNOWN else 0
    first = 2458200 + (jd - 40 - 2458200) * (1 - traits[47]) if older else dates[0]
    return {
        "ndethist": len(dates) + older,
        "ncovhist": len(which) + 2 * older + int(traits[3] * 300),
        "jdstarthist": round(float(first), 7),
        "jdendhist": jd,
    }


def _pan_starrs(sky_object: SkyObject, traits: Floats, detection: dict[str, Any]) -> dict[str, Any]:
    """The three nearest stars of Pan-STARRS; the night's catalog star, where there is one, is the first."""
    if sky_object.star_id is None and traits[0] < 0.05:
        nothing = {
            f"{name}{n}": NOTHING for n in (1, 2, 3) for name in ("sgmag", "srmag", "simag", "szmag", "sgscore", "distpsnr")
        }
        return nothing | {f"objectidps{n}": -999 for n in (1, 2, 3)} | {"nmtchps": 0}
    fields: dict[str, Any] = {"nmtchps": 3 + int(20 * traits[1])}
    distance = (15 if sky_object.kind in WITHOUT_STAR else 6) + 6 * float(traits[2])
    for n in (1, 2, 3):
        draw = traits[6 * n - 3 : 6 * n + 3]
        mag, star_id = 17 + 5 * float(draw[0]), 80_000_000_000_000_003 + sky_object.index * 7_000_003 + n
        if n == 1 and sky_object.star_id is not None:
            mag, star_id = sky_object.star_mag, sky_object.star_id
            away = separation_arcsec(detection["ra"], detection["dec"], sky_object.star_ra_deg, sky_object.star_dec_deg)
        else:
            away = distance = distance + 6 * float(draw[1])
        colors = {"sgmag": 0.5, "srmag": 0.0, "simag": -0.15, "szmag": -0.2}
        # Faint stars lack some bands.
        known = {
            f"{name}{n}": round(mag + c, 4) if chance > 0.12 else NOTHING
            for (name, c), chance in zip(colors.items(), draw[2:], strict=True)
        }
        fields |= known | {f"sgscore{n}": round(float(draw[1]) ** 0.3, 6), f"distpsnr{n}": float(away), f"objectidps{n}": star_id}
    return fields


def _gaia(sky_object: SkyObject, traits: Floats, detection: dict[str, Any]) -> dict[str, Any]:
    """The nearest star of Gaia, and the nearest bright one."""
    near, mag = 5 + 60 * float(traits[0]), 16 + 4.8 * float(traits[1])
    if sky_object.star_id is not None and sky_object.star_mag < 20.5:
        near = separation_arcsec(detection["ra"], detection["dec"], sky_object.star_ra_deg, sky_object.star_dec_deg)
        mag = sky_object.star_mag - 0.1
    has_bright = traits[2] < 0.4
    return {
        "neargaia": float(near),
        "maggaia": round(mag, 6),
        "neargaiabright": round(float(near) + 10 + 60 * traits[3], 6) if has_bright else NOTHING,
        "maggaiabright": round(10 + 4 * traits[3], 6) if has_bright else NOTHING,
    }


def _calibration(traits: Floats, detection: dict[str, Any]) -> dict[str, Any]:
    """How the image's magnitudes were tied to Pan-STARRS."""
    return {
        "nmatches": 100 + int(1400 * traits[0]),
        "zpclrcov": round(-2e-4 * traits[1], 9),
        "zpmed": round(detection["magzpsci"] - 0.1 + 0.1 * traits[2], 3),
        "clrmed": round(0.5 + 0.5 * traits[3], 3),
        "clrrms": round(0.15 + 0.15 * traits[4], 6),
    }


def _cutouts(
    plan: NightPlan, sky_object: SkyObject, curve: LightCurve, candidate: dict[str, Any], position: int
) -> dict[str, Any]:
    """The three stamps as records."""
    rng = plan.rng(Stream.STAMPS, sky_object.index, position)
    images = on_chip(
        blank_edge(rng, paint(rng, _scene(rng, sky_object, curve, candidate, position))),
        candidate["xpos"],
        candidate["ypos"],
        history.CHIP_PIXELS,
    )
    # Of a source that has faded ZTF sends reference minus science: it is bright in either case.
    is_positive = candidate["isdiffpos"] == "t"
    difference = images.difference if is_positive else -images.difference
    name = f"candid{candidate['candid']}"
    science = f"{name}_pid{candidate['pid']}_targ"
    subtracted = "scimref" if is_positive else "refmsci"
    return {
        "cutoutScience": {"fileName": f"{science}_sci.fits.gz", "stampData": ztf_stamp(images.science)},
        "cutoutTemplate": {"fileName": f"{name}_ref.fits.gz", "stampData": ztf_stamp(images.template)},
        "cutoutDifference": {"fileName": f"{science}_{subtracted}.fits.gz", "stampData": ztf_stamp(difference)},
    }


def _scene(rng: np.random.Generator, sky_object: SkyObject, curve: LightCurve, candidate: dict[str, Any], position: int) -> Scene:
    """The sky about the detection in DN and pixels; x runs west, y south."""
    per_njy = history.dn_per_njy(candidate["magzpsci"])
    dx, dy = candidate["xpos"] - round(candidate["xpos"]), candidate["ypos"] - round(candidate["ypos"])
    angle, away = np.radians(curve.reference_angle_deg), curve.reference_arcsec / PIXEL_ARCSEC
    nearest = Star(dx - away * np.sin(angle), dy - away * np.cos(angle), float(curve.reference_njy[position]) * per_njy)
    places = rng.uniform(-ZTF_SIDE / 2, ZTF_SIDE / 2, (rng.poisson(2.5), 2))
    field_stars = [Star(x, y, 300 * (1 - rng.random()) ** -1.2) for x, y in farther(places, (dx, dy), away)]
    fwhm = candidate["fwhm"]
    return Scene(
        side=ZTF_SIDE,
        change=Star(dx, dy, float(curve.flux_njy[position]) * per_njy),
        others=[nearest, *field_stars],
        fwhm=fwhm,
        template_fwhm=TEMPLATE_FWHM_PIXELS,
        noise=pixel_noise(float(curve.limit_error_njy[position]) * per_njy, fwhm),
        template_noise=1.5,
        background=float(rng.uniform(70, 200)),
        decimals=3,
    )


ZTF = SimulatedSurvey(
    name="ztf",
    stream_key=1,
    version="4.02",
    framings=("container",),
    night_starts_utc_hours=0,
    time_path=("candidate", "jd"),
    instrument=PALOMAR,
    make=make,
)
