"""All that packets of one object tell of its brightness, as one flat table.

Detections and forced photometry are two kinds, never merged, each once per time and band (LSST: visit, detector and band). Where
packets have sent several values for one point the newest packet's stands, and how many others there were is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.avro.record_paths import pluck
from alerts.errors import AlertError
from alerts.surveys import Survey, magnitudes
from alerts.surveys.photometry import Photometry, Series
from alerts.times import to_utc

BRIGHTEST_MAG, FAINTEST_MAG = -5.0, 40.0
"""What is beyond is no magnitude: limits of -1006.9 occur."""
MJD_OF_JD_ZERO = -2400000.5
_MJD_OF_1970 = 40587.0
_SAME_TIME_DAYS = 1e-5

Packet = Mapping[str, Any]


class NoPhotometry(AlertError):
    """Nobody has told where a survey's packets keep their brightness."""


SCHEMA = pa.schema(
    [
        pa.field(name, kind, metadata={"description": text})
        for name, kind, text in (
            ("survey", pa.string(), "Name of the survey."),
            ("object_id", pa.string(), "The survey's id of the object."),
            ("mjd_utc", pa.float64(), "MJD, UTC."),
            ("jd_utc", pa.float64(), "JD, UTC; resolves 40 us."),
            ("time_reference", pa.string(), "Which moment of the exposure the time is: start or midpoint."),
            ("mjd", pa.float64(), "MJD in the survey's own scale."),
            ("time_scale", pa.string(), "That scale: utc or tai."),
            ("band", pa.string(), "Name of the band."),
            ("kind", pa.string(), "detection, limit (nothing was found in the exposure) or forced (measured at a known place)."),
            ("measures", pa.string(), "What flux_njy and mag are of: the difference from the template."),
            ("flux_njy", pa.float64(), "Flux, nJy, negative where fainter than the template; NULL where none is known in nJy."),
            ("flux_err_njy", pa.float64(), "1 sigma."),
            ("mag", pa.float64(), "Magnitude of the absolute value of the flux; of fluxes only from 3 sigma on."),
            ("mag_err", pa.float64(), "1 sigma."),
            ("mag_system", pa.string(), "AB; NULL where the survey does not say."),
            ("is_negative", pa.bool_(), "Fainter than in the template."),
            ("limit_mag", pa.float64(), "Upper limit, where there is no magnitude."),
            ("limit_n_sigma", pa.float64(), "How many sigma the limit is."),
            ("apparent_mag", pa.float64(), "Magnitude of the source itself, not of its difference, where that can be told."),
            ("apparent_mag_err", pa.float64(), "1 sigma."),
            ("flags", pa.string(), "What is wrong with the measurement, as the survey says; NULL where nothing is."),
            ("programid", pa.int64(), "Program the exposure was taken for; 1 is public in ZTF."),
            ("visit", pa.int64(), "LSST's visit."),
            ("detector", pa.int64(), "LSST's detector."),
            ("alert_id", pa.int64(), "The alert that a detection was sent as."),
            (
                "n_other_values",
                pa.int64(),
                "Other values that packets have sent for this point; here is the newest packet's.",
            ),
        )
    ]
)


@dataclass(frozen=True)
class Entry:
    """One record of a series, as packets sent it."""

    series: Series
    record: Packet
    newest: Any
    """When the newest packet with it was sent: the larger, the newer."""
    alert_id: int | None = None


def facts_of(survey: Survey) -> Photometry:
    """A survey's facts of photometry. Raises ``NoPhotometry``."""
    if survey.photometry is None:
        raise NoPhotometry(
            f"nobody has told where {survey.name} packets keep their brightness: alerts/surveys/{survey.name}.py needs "
            "photometry=Photometry(...), as ztf.py has it"
        )
    return survey.photometry


def light_curve(packets: Iterable[Packet], survey: Survey, object_id: str | None = None) -> pa.Table:
    """The table (``SCHEMA``, in order of time) of packets of one object, given newest first. Raises ``NoPhotometry``."""
    entries = [entry for number, packet in enumerate(packets) for entry in entries_of(packet, survey, -number)]
    return curve_of(entries, survey, object_id)


def entries_of(packet: Packet, survey: Survey, newest: Any) -> Iterator[Entry]:
    """The records of a packet that hold brightness: its own first."""
    for number, series in enumerate(facts_of(survey).series):
        records = packet.get(series.name)
        for record in [records] if isinstance(records, Mapping) else records or ():
            own = pluck_first(packet, survey.alert_id) if number == 0 else first(record, series.alert_id)
            yield Entry(series, record, newest, own)


def curve_of(entries: Iterable[Entry], survey: Survey, object_id: str | None = None) -> pa.Table:
    """The table of records from whatever packets. Raises ``NoPhotometry``."""
    facts = facts_of(survey)
    points: dict[Any, list[dict[str, Any]]] = {}
    # Sorting is stable: of one packet its own record comes before its history.
    for entry in sorted(entries, key=lambda entry: entry.newest, reverse=True):
        point = _point(entry, facts, survey)
        if not math.isnan(point["mjd"]):
            points.setdefault(_place(point), []).append(point)
    rows = [_chosen(point) for point in points.values()]
    rows.sort(key=lambda row: (row["mjd"], row["band"], row["kind"]))
    return _table(rows, survey, object_id)


def _place(point: Mapping[str, Any]) -> tuple[Any, ...]:
    """What makes values two of one point."""
    exposure = (point["visit"], point["detector"])
    when = exposure if None not in exposure else round(point["mjd"] / _SAME_TIME_DAYS)
    return point["kind"] == "forced", when, point["band"]


def _chosen(values: list[dict[str, Any]]) -> dict[str, Any]:
    """The newest of the values of one point; a detection in any packet is one, whatever another says of the exposure."""
    kept = next((entry for entry in values if entry["kind"] != "limit"), values[0])
    different = {_compared(entry) for entry in values if entry["kind"] == kept["kind"]}
    return kept | {"n_other_values": len(different) - 1}


def _compared(point: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("flux_njy", "flux_err_njy", "mag", "mag_err", "limit_mag", "is_negative", "flags")
    return tuple(None if isinstance(value := point[name], float) and math.isnan(value) else value for name in names)


def _point(entry: Entry, facts: Photometry, survey: Survey) -> dict[str, Any]:
    series, record = entry.series, entry.record
    found = measured(record, series, facts)
    kind: str = series.kind
    if kind == "detection" and series.limit and entry.alert_id is None and math.isnan(found["sent"]):
        kind, found["limit_mag"] = "limit", _magnitude(record, series.limit, facts)
        found["limit_n_sigma"] = math.nan if math.isnan(found["limit_mag"]) else facts.limit_n_sigma
    exposure = {name: value for name in series.exposure if (value := record.get(name)) is not None}
    return found | {
        "mjd": _mjd(first(record, series.time), facts, survey),
        "band": facts.band_name(first(record, series.band)),
        "kind": kind,
        "flags": _flags(record, series),
        "programid": first(record, series.program),
        "visit": exposure.get("visit"),
        "detector": exposure.get("detector"),
        "alert_id": None if kind == "forced" else entry.alert_id,
    }


def _flags(record: Packet, series: Series) -> str | None:
    status = first(record, series.status)
    raised = [] if status in (None, "0") else [f"{series.status[0]} {status}"]
    raised += [name for name in series.flags if record.get(name) is True]
    return ", ".join(raised) or None


def measured(record: Packet, series: Series, facts: Photometry) -> dict[str, Any]:
    """What a record says of the brightness: columns of the table, NaN where there is no value.

    Also ``sent`` and ``sent_error``, the packet's own numbers in its own unit.
    """
    value, error = number(first(record, series.value), facts), number(first(record, series.error), facts)
    error = error if error > 0 else math.nan
    zero_point = number(first(record, series.zero_point), facts) if series.zero_point else facts.zero_point_mag
    sent = {"sent": value if zero_point is not None else _in_range(value), "sent_error": error}
    row: dict[str, Any] = dict.fromkeys(("flux_njy", "flux_err_njy", "mag", "mag_err", "limit_mag", "limit_n_sigma"), math.nan)
    if zero_point is None:
        row |= _of_magnitude(_in_range(value), error, first(record, series.sign) in ("f", "0", 0, False), facts)
    else:
        row |= _of_flux(value * magnitudes.njy_per_unit(zero_point), error * magnitudes.njy_per_unit(zero_point))
    return row | sent | _apparent(row, record, series, facts)


def _of_magnitude(mag: float, error: float, is_negative: bool, facts: Photometry) -> dict[str, Any]:
    flux = math.nan if facts.system is None else magnitudes.flux_njy(mag) * (-1 if is_negative else 1)
    return {
        "mag": mag,
        "mag_err": error if not math.isnan(mag) else math.nan,
        "is_negative": None if math.isnan(mag) else is_negative,
        "flux_njy": flux,
        "flux_err_njy": magnitudes.flux_error_njy(flux, error),
    }


def _of_flux(flux: float, error: float) -> dict[str, Any]:
    row: dict[str, Any] = {"flux_njy": flux, "flux_err_njy": error if not math.isnan(flux) else math.nan}
    row["is_negative"] = None if math.isnan(flux) else flux < 0
    if magnitudes.is_significant(flux, error):
        return row | {"mag": magnitudes.ab_mag(flux), "mag_err": magnitudes.mag_error(flux, error)}
    if math.isnan(flux) or math.isnan(error):
        return row
    return row | {"limit_mag": magnitudes.ab_mag(magnitudes.LIMIT_SIGMA * error), "limit_n_sigma": magnitudes.LIMIT_SIGMA}


def _apparent(row: Mapping[str, Any], record: Packet, series: Series, facts: Photometry) -> dict[str, float]:
    """Apparent magnitude and error: of the flux in the science image where packets have it, else difference and reference."""
    total = error = math.nan
    if series.apparent:
        scale = magnitudes.njy_per_unit(facts.zero_point_mag or 0.0)
        total, error = (scale * number(first(record, names), facts) for names in (series.apparent, series.apparent_error))
        total = total if total > 0 and magnitudes.is_significant(total, error) else math.nan
    elif series.reference_mag:
        reference = _magnitude(record, series.reference_mag, facts)
        away = number(first(record, series.reference_distance), facts) * series.arcsec_per_distance
        total = magnitudes.total_flux_njy(row["flux_njy"], reference, away)
        uncertain = number(first(record, series.reference_error_mag), facts)
        error = math.hypot(row["flux_err_njy"], magnitudes.flux_error_njy(magnitudes.flux_njy(reference), uncertain))
    mag = magnitudes.ab_mag(total)
    return {"apparent_mag": mag, "apparent_mag_err": math.nan if math.isnan(mag) else magnitudes.mag_error(total, error)}


def first(record: Packet, names: tuple[str, ...]) -> Any:
    """The value of the first of the names that a record has; None where it has none of them."""
    return next((record[name] for name in names if name in record), None)


def pluck_first(packet: Packet, paths: tuple[str, ...]) -> Any:
    """The value at the first of the dotted paths that is not null."""
    values = (pluck(packet, tuple(path.split("."))) for path in paths)
    return next((value for value in values if value is not None), None)


def number(value: Any, facts: Photometry) -> float:
    """A number; NaN for null, NaN, infinity and what stands for "none" in this survey, by equality."""
    if value is None or not math.isfinite(value) or value in facts.missing:
        return math.nan
    return float(value)


def _magnitude(record: Packet, names: tuple[str, ...], facts: Photometry) -> float:
    return _in_range(number(first(record, names), facts))


def _in_range(mag: float) -> float:
    return mag if BRIGHTEST_MAG < mag < FAINTEST_MAG else math.nan


def _mjd(value: Any, facts: Photometry, survey: Survey) -> float:
    time = number(value, facts)
    if time >= survey.time_in_seconds_from:
        return _MJD_OF_1970 + time / 86400
    return time + MJD_OF_JD_ZERO if survey.time_format == "jd" else time


def mjd_utc(mjd: np.ndarray[Any, Any], survey: Survey) -> np.ndarray[Any, np.dtype[np.float64]]:
    """MJD in UTC of MJDs in the survey's scale; NaN where there is none. Leap seconds to 1 us."""
    if survey.time_scale == "utc":
        return np.asarray(mjd, np.float64)
    utc = to_utc(np.asarray(mjd, np.float64), "mjd", survey.time_scale)
    days = (utc - np.datetime64("1970-01-01T00:00:00", "us")) / np.timedelta64(1, "D")
    return np.where(np.isnat(utc), np.nan, days.astype(np.float64) + _MJD_OF_1970)


def _table(rows: list[dict[str, Any]], survey: Survey, object_id: str | None) -> pa.Table:
    facts, own = facts_of(survey), np.array([row["mjd"] for row in rows], np.float64)
    utc = mjd_utc(own, survey) if rows else own
    same = {
        "survey": survey.name,
        "object_id": object_id,
        "time_reference": survey.time_reference,
        "time_scale": survey.time_scale,
        "measures": facts.measures,
        "mag_system": facts.system,
    }
    columns = {name: [value] * len(rows) for name, value in same.items()}
    columns |= {"mjd_utc": utc.tolist(), "jd_utc": (utc - MJD_OF_JD_ZERO).tolist()}
    return pa.table(
        [
            # NaN is what a formula has no answer for; a table says NULL.
            pa.array(columns.get(field.name, [row.get(field.name) for row in rows]), field.type, from_pandas=True)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )
