"""Made light curves, as rows of ``{survey}_alerts``: of all that surveys send, and of what they should not."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa

from alerts.surveys import Survey

Row = dict[str, Any]
NOW_JD, NOW_MJD = 2460000.75, 60250.2
NOT_MAGS = (None, float("nan"), -999.0, float("inf"), 77.7)
NOT_ERRORS = (0.0, None, float("nan"), -999.0, -0.1)
NOT_FLUXES = (None, float("nan"), -99999.0, float("-inf"))


def batch(rows: list[Row], survey: Survey, truths: tuple[str, ...] = ()) -> pa.RecordBatch:
    """Rows as a batch of the columns that they name, of each record the fields that tell of its brightness.

    Fields named in ``truths`` are BOOL, whatever the packet has.
    """
    facts = survey.photometry
    kinds = {"ra_deg": pa.float64(), "dec_deg": pa.float64()}
    for series in facts.series:
        column = survey.by_field[series.name]
        fields = [field.arrow for field in column.fields if field.name in (*series.names, facts.first_found)]
        fields = [pa.field(field.name, pa.bool_()) if field.name in truths else field for field in fields]
        kinds[column.name] = pa.list_(pa.struct(fields)) if column.mode == "REPEATED" else pa.struct(fields)
    held = [name for name in kinds if any(name in row for row in rows)]
    return pa.RecordBatch.from_pylist(rows, pa.schema([(name, kinds[name]) for name in held]))


def times(rng: random.Random, count: int) -> list[float]:
    """Days before the alert: within nights, over weeks, with gaps of years, some of them equal or nearly so."""
    found: list[float] = []
    scale = rng.choice([0.3, 3.0, 30.0, 2000.0])
    for _ in range(count):
        if found and rng.random() < 0.15:
            found.append(rng.choice([*found, 0.0]) + rng.choice([0.0, 0.0, 4e-6, -4e-6, 3e-5]))
        else:
            found.append(rng.random() * scale)
    return found


def place(rng: random.Random) -> Row:
    return {"ra_deg": rng.uniform(0, 360), "dec_deg": rng.uniform(-90, 90)}


def ztf_point(rng: random.Random, jd: float, limits: float, bands: list[int]) -> Row:
    is_limit = rng.random() < limits
    point = {"jd": jd, "fid": rng.choice(bands), "candid": None if is_limit or rng.random() < 0.1 else 7}
    point["diffmaglim"] = rng.choice([rng.uniform(17, 21), rng.uniform(17, 21), -1006.9, None])
    if is_limit:
        return point
    error = rng.choice(NOT_ERRORS) if rng.random() < 0.1 else rng.uniform(0.01, 0.3)
    mag = rng.choice(NOT_MAGS) if rng.random() < 0.05 else rng.gauss(18, 1)
    return point | {"magpsf": mag, "sigmapsf": error, "isdiffpos": rng.choice(["t", "1", "t", "f", "0", None])}


def ztf_rows(count: int, seed: int) -> list[Row]:
    """Rows of ZTF with histories and forced photometry."""
    rng = random.Random(seed)
    return [ztf_row(rng) for _ in range(count)]


def ztf_row(rng: random.Random) -> Row:
    limits, bands = rng.choice([0.0, 0.3, 0.3, 1.0]), rng.choice([[1], [1, 2], [1, 2, 3], [1, 2, 9]])
    own = ztf_point(rng, NOW_JD, 0.0, bands)
    own |= {
        "magnr": rng.choice([*NOT_MAGS, 18.0, 19.5]),
        "sigmagnr": rng.choice([*NOT_ERRORS, 0.05]),
        "distnr": rng.uniform(0, 2),
    }
    own["jdstarthist"] = rng.choice([NOW_JD - 40, NOW_JD, None, -999.0])
    del own["candid"], own["diffmaglim"]
    history = [ztf_point(rng, NOW_JD - day, limits, bands) for day in times(rng, rng.randrange(13))]
    forced = [ztf_forced(rng, NOW_JD - day, bands) for day in times(rng, rng.choice([0, 0, 3, 8]))]
    return place(rng) | {"candidate": own, "prv_candidates": history, "fp_hists": forced}


def ztf_forced(rng: random.Random, jd: float, bands: list[int]) -> Row:
    flux = rng.choice(NOT_FLUXES) if rng.random() < 0.1 else rng.gauss(100, 300)
    error = rng.choice(NOT_ERRORS) if rng.random() < 0.1 else rng.uniform(5, 50)
    point = {"jd": jd, "fid": rng.choice(bands), "forcediffimflux": flux, "forcediffimfluxunc": error}
    return point | {"magzpsci": rng.choice([26.1, 26.3, 25.9, None]), "procstatus": rng.choice(["0", "0", "0", "56", None])}


def lsst_rows(count: int, seed: int) -> list[Row]:
    """Rows of LSST with histories and forced photometry."""
    rng = random.Random(seed)
    return [lsst_row(rng) for _ in range(count)]


def lsst_row(rng: random.Random) -> Row:
    bands = rng.choice([["r"], ["g", "r"], list("ugrizy"), ["g", "H", None]])
    own = lsst_point(rng, 0.0, bands) | {"scienceFlux": rng.gauss(3000, 3000), "scienceFluxErr": rng.choice([*NOT_ERRORS, 500.0])}
    del own["diaSourceId"]
    history = [lsst_point(rng, day, bands) for day in times(rng, rng.randrange(13))]
    forced = [lsst_point(rng, day, bands) for day in times(rng, rng.choice([0, 3, 8]))]
    kept = ("midpointMjdTai", "band", "psfFlux", "psfFluxErr", "visit", "detector")
    forced = [{name: point[name] for name in kept} for point in forced]
    return place(rng) | {"diaSource": own, "prvDiaSources": history, "prvDiaForcedSources": forced}


def lsst_point(rng: random.Random, days_before: float, bands: list[Any]) -> Row:
    flux = rng.choice(NOT_FLUXES) if rng.random() < 0.05 else rng.gauss(1000, 2000)
    error = rng.choice(NOT_ERRORS) if rng.random() < 0.1 else rng.uniform(50, 400)
    point = {"midpointMjdTai": NOW_MJD - days_before, "band": rng.choice(bands), "psfFlux": flux, "psfFluxErr": error}
    # An exposure of a made time; at times two detectors saw the source at once, or nobody says which did.
    visit = round((NOW_MJD - days_before) * 86400 / 15)
    point |= {"visit": rng.choice([visit, visit, visit, None]), "detector": rng.choice([3, 3, 4])}
    flagged = rng.random() < 0.1
    return point | {"diaSourceId": 7, "psfFlux_flag": flagged, "pixelFlags_bad": rng.choice([False, None])}


MADE = {"ztf": ztf_rows, "lsst": lsst_rows}
"""By survey what makes rows of it: how many, and a seed."""
