"""Where each survey's packets keep their photometry, and how it is read: the one place to add a survey's.

ZTF's forced photometry is DN; it is turned into magnitudes as its makers do (Masci et al. 2023, arXiv:2305.16279): from 3
sigma on a detection, below that an upper limit of 5 sigma.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from alerts.surveys import Survey
from broker.pictures.packets import Packet, first

MISSING = (-999.0, -99999.0)
"""Numbers by which ZTF says that there is none."""
BRIGHTEST_MAG, FAINTEST_MAG = -5.0, 40.0
"""What is beyond is no magnitude: limits of -1006.9 occur."""
DETECTED_SIGMA, LIMIT_SIGMA = 3.0, 5.0
_MJD_OF_JD_ZERO = -2400000.5
_MJD_OF_1970 = 40587.0
_SAME_TIME_DAYS = 1e-5


@dataclass(frozen=True)
class Series:
    """One top-level field of a packet with measurements: a record or an array of records, and the names of their fields."""

    name: str
    value: tuple[str, ...]
    error: tuple[str, ...]
    time: tuple[str, ...]
    band: tuple[str, ...] = ()
    alert_id: tuple[str, ...] = ()
    """Empty where the records are no alerts, or the alert itself."""
    sign: tuple[str, ...] = ()
    """Says whether the source was brighter (t, 1, true) or fainter (f, 0, false) than the template."""
    limit: tuple[str, ...] = ()
    """The upper limit of an exposure in which nothing was found."""
    zero_point: tuple[str, ...] = ()
    """Magnitude of 1 DN, where the value is a flux in DN and is wanted as a magnitude."""
    forced: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """All the fields."""
        given = self.value, self.error, self.time, self.band, self.alert_id, self.sign, self.limit, self.zero_point
        return tuple(name for names in given for name in names)


@dataclass(frozen=True)
class Photometry:
    """Facts of one survey."""

    quantity: Literal["magnitude", "flux"]
    unit: str
    label: str
    """For the axis."""
    series: tuple[Series, ...]
    """First that of the alert itself."""
    bands: Mapping[Any, str] = field(default_factory=dict)
    """Names of bands that are numbers in the packet."""
    only_band: str = "?"
    """Where the packet does not tell."""
    stamp_side: int | None = None
    """Pixels of a whole stamp, where its header does not say where the source is."""


_MAG: dict[str, Any] = {"value": ("magpsf",), "error": ("sigmapsf",), "sign": ("isdiffpos",), "time": ("jd",)}
_LSST: dict[str, Any] = {
    "value": ("psfFlux", "psFlux"),
    "error": ("psfFluxErr", "psFluxErr"),
    "time": ("midpointMjdTai", "midPointTai"),
    "band": ("band", "filterName"),
}
_DECAM: dict[str, Any] = {"value": ("psfFlux",), "error": ("psfFluxErr",), "time": ("mjd",), "band": ("band",)}
_FORCED_ZTF = Series(
    "fp_hists",
    value=("forcediffimflux",),
    error=("forcediffimfluxunc",),
    time=("jd",),
    band=("fid",),
    zero_point=("magzpsci",),
    forced=True,
)

PHOTOMETRY: dict[str, Photometry] = {
    "ztf": Photometry(
        "magnitude",
        "mag",
        "magnitude of the difference (PSF fit, AB)",
        (
            Series("candidate", **_MAG, band=("fid",)),
            Series("prv_candidates", **_MAG, band=("fid",), alert_id=("candid",), limit=("diffmaglim",)),
            _FORCED_ZTF,
        ),
        bands={1: "g", 2: "r", 3: "i"},
        stamp_side=63,
    ),
    "lsst": Photometry(
        "flux",
        "nJy",
        "flux of the difference (PSF fit, nJy)",
        (
            Series("diaSource", **_LSST),
            Series("prvDiaSources", **_LSST, alert_id=("diaSourceId",)),
            Series("prvDiaForcedSources", **_LSST, forced=True),
        ),
    ),
    # Not nJy: the errors are those of the survey's depth only if a flux of 1 is a magnitude of 27.5, SNANA's custom.
    "elasticc": Photometry(
        "flux",
        "FLUXCAL",
        "flux (FLUXCAL: 1 is 27.5 mag AB)",
        (
            Series("diaSource", **_LSST),
            Series("prvDiaSources", **_LSST, alert_id=("diaSourceId",)),
            Series("prvDiaForcedSources", **_LSST, forced=True),
        ),
    ),
    "decam": Photometry(
        "flux",
        "nJy",
        "flux of the difference (PSF fit, nJy)",
        (Series("candidate", **_DECAM), Series("fp_hists", **_DECAM, forced=True)),
        stamp_side=63,
    ),
    "winter": Photometry(
        "magnitude",
        "mag",
        "magnitude of the difference (PSF fit)",
        (Series("candidate", **_MAG, band=("fid",)), Series("prv_candidates", **_MAG, band=("fid",), alert_id=("candid",))),
        bands={0: "Y", 1: "J", 2: "H", 3: "K"},
        stamp_side=81,
    ),
    "pgir": Photometry(
        "magnitude",
        "mag",
        "magnitude of the difference (PSF fit)",
        (Series("candidate", **_MAG), Series("prv_candidates", **_MAG, alert_id=("candid",), limit=("diffmaglim",))),
        only_band="J",
        stamp_side=61,
    ),
}


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
    """The measurement of the alert itself; None where it has none."""
    return next((one for one in _of_packet(packet, survey) if one.is_alert), None)


def band_of(packet: Packet, survey: Survey) -> str:
    """The band of the alert."""
    facts = PHOTOMETRY[survey.name]
    return _band(packet.get(facts.series[0].name) or {}, facts.series[0], facts)


def _of_packet(packet: Packet, survey: Survey) -> Iterator[Measurement]:
    facts = PHOTOMETRY[survey.name]
    for number, series in enumerate(facts.series):
        records = packet.get(series.name)
        for record in [records] if isinstance(records, Mapping) else records or ():
            found = _measurement(record, series, facts, survey)
            if found is None:
                continue
            alert_id = first(packet, survey.alert_id) if number == 0 else first(record, series.alert_id)
            yield replace(found, alert_id=None if found.is_limit else alert_id, is_alert=number == 0)


def _measurement(record: Packet, series: Series, facts: Photometry, survey: Survey) -> Measurement | None:
    mjd = _mjd(first(record, series.time), survey)
    value, error, limit = (_number(first(record, names)) for names in (series.value, series.error, series.limit))
    is_negative = first(record, series.sign) in ("f", "0", 0, False) if series.sign else value < 0
    is_limit = False
    if series.zero_point:
        value, error, is_limit = _magnitude(value, error, _number(first(record, series.zero_point)))
    elif math.isnan(value):
        value, error, is_limit = limit, math.nan, True
    if math.isnan(mjd) or math.isnan(value):
        return None
    if facts.quantity == "magnitude" and not BRIGHTEST_MAG < value < FAINTEST_MAG:
        return None
    known_error = error if error > 0 else math.nan
    return Measurement(
        mjd, _band(record, series, facts), value, known_error, is_limit, is_negative and not is_limit, series.forced
    )


def _magnitude(flux: float, error: float, zero_point: float) -> tuple[float, float, bool]:
    """Magnitude of a flux in DN or of its limit, the error, and whether it is a limit; NaN where there is no flux."""
    if not error > 0 or math.isnan(flux):
        return math.nan, math.nan, False
    if abs(flux) < DETECTED_SIGMA * error:
        return zero_point - 2.5 * math.log10(LIMIT_SIGMA * error), math.nan, True
    return zero_point - 2.5 * math.log10(abs(flux)), 2.5 / math.log(10) * error / abs(flux), False


def _number(value: Any) -> float:
    """A number, NaN for null, NaN, infinity and what stands for "none"."""
    if value is None or not math.isfinite(value) or value in MISSING:
        return math.nan
    return float(value)


def _mjd(value: Any, survey: Survey) -> float:
    time = _number(value)
    if time >= survey.time_in_seconds_from:
        return _MJD_OF_1970 + time / 86400
    return time + _MJD_OF_JD_ZERO if survey.time_format == "jd" else time


def _band(record: Packet, series: Series, facts: Photometry) -> str:
    return band_name(first(record, series.band), facts)


def band_name(value: Any, facts: Photometry) -> str:
    """The name of a band by what packets call it."""
    return facts.only_band if value is None else facts.bands.get(value, str(value))
