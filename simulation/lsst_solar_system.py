"""The solar-system part of an LSST alert: where the asteroid was, and its orbit. Distances are in au, speeds in au per day."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import numpy as np

from simulation.objects import SkyObject
from simulation.sky import Floats

OBLIQUITY_DEG = 23.43928
HALF_MONTHS = "ABCDEFGHJKLMNOPQRSTUVWXY"
ORDERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"
BASE_62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
DESIGNATIONS = 20 * len(HALF_MONTHS) * len(ORDERS) * 620
GALACTIC_FROM_ICRS = np.array(
    [
        [-0.0548755604, -0.8734370902, -0.4838350155],
        [0.4941094279, -0.4448296300, 0.7469822445],
        [-0.8676661490, -0.1980763734, 0.4559837762],
    ]
)
NEVER = datetime(1970, 1, 1, tzinfo=timezone.utc)


def designation(number: int) -> tuple[str, str]:
    """Provisional designation of an asteroid of 2000 to 2019, plain and packed: ``2011 HR41``, ``K11H41R``."""
    # A factor without common divisor with their number scatters the designations.
    rest, year = divmod(number * 7_368_787 % DESIGNATIONS, 20)
    rest, half_month = divmod(rest, len(HALF_MONTHS))
    cycle, order = divmod(rest, len(ORDERS))
    first, second = HALF_MONTHS[half_month], ORDERS[order]
    packed = f"K{year:02d}{first}{BASE_62[cycle // 10]}{cycle % 10}{second}"
    return f"20{year:02d} {first}{second}{cycle or ''}", packed


def ss_object_id(packed: str) -> int:
    """Rubin's id of a solar-system object: the ASCII codes of its packed designation, read as one number."""
    return int.from_bytes(packed.encode("ascii"), "big")


def orbit(sky_object: SkyObject, traits: Floats) -> dict[str, Any]:
    """``mpc_orbits``: a main-belt orbit. Angles in degrees, times in days."""
    name, packed = designation(sky_object.index)
    a, e = 2.1 + 1.1 * float(traits[0]), 0.3 * float(traits[1])
    period, epoch = 365.25 * a**1.5, 61000.0
    anomaly = 360 * float(traits[5])
    elements = {
        "a": a,
        "q": a * (1 - e),
        "e": e,
        "i": 20 * float(traits[2]),
        "node": 360 * float(traits[3]),
        "argperi": 360 * float(traits[4]),
        "peri_time": epoch - anomaly / 360 * period,
        "mean_anomaly": anomaly,
        "period": period,
        "mean_motion": 360 / period,
    }
    absent = ("yarkovsky", "srp", "a1", "a2", "a3", "dt")
    return {
        "id": 0,
        "designation": name,
        "packed_primary_provisional_designation": packed,
        "unpacked_primary_provisional_designation": name,
        "mpc_orb_jsonb": json.dumps(
            {"COM": {"coefficient_names": list(elements), "coefficient_values": list(elements.values())}}
        ),
        "created_at": NEVER,
        "updated_at": NEVER,
        "orbit_type_int": -1,
        "u_param": 0,
        "nopp": 5 + int(18 * traits[6]),
        "arc_length_total": 2000 + 10000 * float(traits[6]),
        "arc_length_sel": 2000 + 10000 * float(traits[6]),
        "nobs_total": 100 + int(4000 * traits[6]),
        "nobs_total_sel": 100 + int(3900 * traits[6]),
        **elements,
        **dict.fromkeys(absent, 0.0),
        **{f"{element}_unc": abs(value) * 1e-8 for element, value in elements.items()},
        **{f"{element}_unc": 0.0 for element in absent},
        "epoch_mjd": epoch,
        "h": round(14 + 5 * float(traits[7]), 3),
        "g": 0.15,
        "not_normalized_rms": 0.0,
        "normalized_rms": round(0.4 + 0.4 * float(traits[8]), 6),
        "earth_moid": 0.0,
        "fitting_datetime": NEVER,
    }


def ss_source(sky_object: SkyObject, source: dict[str, Any], distance_from_sun: float, traits: Floats) -> dict[str, Any]:
    """``ssSource``: geometry of Sun, Earth and asteroid at the time of the source, and its offset from the ephemeris."""
    name, packed = designation(sky_object.index)
    sight = _unit_vector(source["ra"], source["dec"])
    earth = _earth(source["midpointMjdTai"])
    # The asteroid is where the line of sight leaves the sphere of its distance from the Sun.
    along = float(sight @ earth)
    topo_range = -along + float(np.sqrt(along**2 + distance_from_sun**2 - earth @ earth))
    topo = topo_range * sight
    helio = earth + topo
    velocity = np.cross(_from_ecliptic(0, 0, 1), helio)
    velocity *= 0.01720209895 / np.sqrt(distance_from_sun) / np.linalg.norm(velocity)
    earth_velocity = np.cross(_from_ecliptic(0, 0, 1), earth) * 0.01720209895
    topo_velocity = velocity - earth_velocity
    east, north = 0.05 * (traits[9] - 0.5), 0.05 * (traits[10] - 0.5)
    lon, lat = _angles(_into_ecliptic(sight))
    gal_lon, gal_lat = _angles(GALACTIC_FROM_ICRS @ sight)
    return {
        "diaSourceId": source["diaSourceId"],
        "ssObjectId": ss_object_id(packed),
        "designation": name,
        "eclLambda": lon,
        "eclBeta": lat,
        "galLon": gal_lon,
        "galLat": gal_lat,
        "elongation": _angle_deg(-earth, topo),
        "phaseAngle": _angle_deg(helio, topo),
        "topoRange": topo_range,
        "topoRangeRate": float(topo_velocity @ sight),
        "helioRange": distance_from_sun,
        "helioRangeRate": float(velocity @ helio) / distance_from_sun,
        "ephRa": source["ra"] - east / 3600 / float(np.cos(np.radians(source["dec"]))),
        "ephDec": source["dec"] - north / 3600,
        "ephVmag": 0.0,
        "ephRate": 0.0,
        "ephRateRa": 0.0,
        "ephRateDec": 0.0,
        "ephOffset": float(np.hypot(east, north)),
        "ephOffsetRa": float(east),
        "ephOffsetDec": float(north),
        "ephOffsetAlongTrack": None,
        "ephOffsetCrossTrack": None,
        **_vector("helio", helio, velocity),
        **_vector("topo", topo, topo_velocity),
        "diaDistanceRank": 1,
    }


def _vector(name: str, place: Floats, velocity: Floats) -> dict[str, float]:
    axes = {f"{name}_{axis}": float(value) for axis, value in zip("xyz", place, strict=True)}
    speeds = {f"{name}_v{axis}": float(value) for axis, value in zip("xyz", velocity, strict=True)}
    return axes | speeds | {f"{name}_vtot": float(np.linalg.norm(velocity))}


def _unit_vector(ra_deg: float, dec_deg: float) -> Floats:
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


def _angles(vector: Floats) -> tuple[float, float]:
    x, y, z = vector
    longitude, latitude = np.degrees(np.arctan2(y, x)) % 360, np.degrees(np.arctan2(z, np.hypot(x, y)))
    return round(float(longitude), 10), round(float(latitude), 10)


def _angle_deg(first: Floats, other: Floats) -> float:
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(first, other)), first @ other)))


def _earth(mjd: float) -> Floats:
    """The Earth seen from the Sun, good to a degree or two: a circle from the September equinox of 2026 on."""
    longitude = np.radians(0.9856474 * (mjd - 61306.0))
    return _from_ecliptic(float(np.cos(longitude)), float(np.sin(longitude)), 0)


def _from_ecliptic(x: float, y: float, z: float) -> Floats:
    cosine, sine = np.cos(np.radians(OBLIQUITY_DEG)), np.sin(np.radians(OBLIQUITY_DEG))
    return np.array([x, y * cosine - z * sine, y * sine + z * cosine])


def _into_ecliptic(vector: Floats) -> Floats:
    cosine, sine = np.cos(np.radians(OBLIQUITY_DEG)), np.sin(np.radians(OBLIQUITY_DEG))
    x, y, z = vector
    return np.array([x, y * cosine + z * sine, z * cosine - y * sine])
