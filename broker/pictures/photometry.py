"""How a packet's measurements become points of a picture; where they stand in the packet is told by its survey's facts.

ZTF's forced photometry is DN; it is turned into magnitudes as its makers do (Masci et al. 2023, arXiv:2305.16279): from 3
sigma on a detection, below that an upper limit of 5 sigma.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from alerts.surveys import Survey
from alerts.surveys.photometry import Photometry, Series
from broker.pictures.packets import NoPicture, Packet, first

BRIGHTEST_MAG, FAINTEST_MAG = -5.0, 40.0
"""What is beyond is no magnitude: limits of -1006.9 occur."""
DETECTED_SIGMA, LIMIT_SIGMA = 3.0, 5.0
_MJD_OF_JD_ZERO = -2400000.5
_MJD_OF_1970 = 40587.0
_SAME_TIME_DAYS = 1e-5


@dataclass(frozen=True)
class Measurement:
    """One point of a light curve."""

    mjd: float
    """In the survey's own time scale."""
    band: str
    value: float
    """Magnitude or flux."""
    error: float
    """1 sigma; NaN where it is not known, and for limits."""
    is_limit: bool = False
    is_negative: bool = False
    """Fainter than in the template."""
    is_forced: bool = False
    alert_id: int | None = None
    is_alert: bool = False
    """Whether it is the alert's own, not from its history."""


def photometry_of(survey: Survey) -> Photometry:
    """Facts of a survey's photometry. Raises ``NoPicture`` where it has none."""
    if survey.photometry is None:
        raise NoPicture(
            f"nobody has told where {survey.name} packets keep their brightness: alerts/surveys/{survey.name}.py needs "
            "photometry=Photometry(...), as ztf.py has it"
        )
    return survey.photometry


def measurements(packets: Iterable[Packet], survey: Survey) -> list[Measurement]:
    """All that packets of one object tell of its brightness, in order of time, each measurement once.

    Of detections the alert id tells which are the same; of limits and forced photometry, which have no id, the exposure,
    that is time and band. Of several the first counts, so give the newest packet first.
    """
    kept: dict[Any, Measurement] = {}
    for packet in packets:
        for one in _of_packet(packet, survey):
            exposure = round(one.mjd / _SAME_TIME_DAYS), one.band, one.is_forced, one.is_limit and not one.is_forced
            kept.setdefault(exposure if one.alert_id is None else one.alert_id, one)
    return sorted(kept.values(), key=lambda one: (one.mjd, one.band))


def own_measurement(packet: Packet, survey: Survey) -> Measurement | None:
    """The measurement of the alert itself; None where it has none, or nobody has told where it is."""
    if survey.photometry is None:
        return None
    return next((one for one in _of_packet(packet, survey) if one.is_alert), None)


def band_of(packet: Packet, survey: Survey) -> str:
    """The band of the alert; empty where nobody has told where it is."""
    if survey.photometry is None:
        return ""
    facts = photometry_of(survey)
    return facts.band_name(first(packet.get(facts.series[0].name) or {}, facts.series[0].band))


def _of_packet(packet: Packet, survey: Survey) -> Iterator[Measurement]:
    facts = photometry_of(survey)
    for number, series in enumerate(facts.series):
        records = packet.get(series.name)
        for record in [records] if isinstance(records, Mapping) else records or ():
            found = _measurement(record, series, facts, survey)
            if found is None:
                continue
            alert_id = first(packet, survey.alert_id) if number == 0 else first(record, series.alert_id)
            yield replace(found, alert_id=None if found.is_limit else alert_id, is_alert=number == 0)


def _measurement(record: Packet, series: Series, facts: Photometry, survey: Survey) -> Measurement | None:
    mjd = _mjd(first(record, series.time), facts, survey)
    value, error, limit = (_number(first(record, names), facts) for names in (series.value, series.error, series.limit))
    is_negative = first(record, series.sign) in ("f", "0", 0, False) if series.sign else value < 0
    is_limit = False
    if series.zero_point:
        value, error, is_limit = _magnitude(value, error, _number(first(record, series.zero_point), facts))
    elif math.isnan(value):
        value, error, is_limit = limit, math.nan, True
    if math.isnan(mjd) or math.isnan(value):
        return None
    if facts.quantity == "magnitude" and not BRIGHTEST_MAG < value < FAINTEST_MAG:
        return None
    known_error = error if error > 0 else math.nan
    return Measurement(
        mjd,
        facts.band_name(first(record, series.band)),
        value,
        known_error,
        is_limit,
        is_negative and not is_limit,
        series.kind == "forced",
    )


def _magnitude(flux: float, error: float, zero_point: float) -> tuple[float, float, bool]:
    """Magnitude of a flux in DN or of its limit, the error, and whether it is a limit; NaN where there is no flux."""
    if not error > 0 or math.isnan(flux):
        return math.nan, math.nan, False
    if abs(flux) < DETECTED_SIGMA * error:
        return zero_point - 2.5 * math.log10(LIMIT_SIGMA * error), math.nan, True
    return zero_point - 2.5 * math.log10(abs(flux)), 2.5 / math.log(10) * error / abs(flux), False


def _number(value: Any, facts: Photometry) -> float:
    """A number, NaN for null, NaN, infinity and what stands for "none"."""
    if value is None or not math.isfinite(value) or value in facts.missing:
        return math.nan
    return float(value)


def _mjd(value: Any, facts: Photometry, survey: Survey) -> float:
    time = _number(value, facts)
    if time >= survey.time_in_seconds_from:
        return _MJD_OF_1970 + time / 86400
    return time + _MJD_OF_JD_ZERO if survey.time_format == "jd" else time
