"""What the features are: the one table of which code, schemas, help and pages are made.

A feature is a field of the struct ``features``: of a band in a struct of its name, ``features.r.span_days``, of the alert as a
whole beside them, ``features.glat_deg``. Signs are the unit's: a magnitude that grows is a source that fades.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from alerts.features.definition import POINTS, Definition
from alerts.light_curve import facts_of
from alerts.surveys import Survey
from alerts.surveys.photometry import Photometry
from schemas import Column

__all__ = ["POINTS", "Definition", "color_pairs", "columns", "of_alerts", "of_bands", "of_curves"]


@dataclass(frozen=True)
class _Curve:
    """What the definitions of one kind of light curve have in common."""

    unit: str
    points: str
    count: str
    """Name of the number of points."""
    times: str
    """What the names of times end in."""
    forced: str
    """What all names end in."""
    growing: str
    """What a number that grows means."""


_MAG = _Curve("mag", "magnitudes", "n_mag", "_mag", "", "fading")
_NJY = _Curve("njy", "detections", "n_detections", "", "", "brightening")
_FORCED = _Curve("njy", "forced", "n_forced", "_forced", "_forced", "brightening")
_PACKAGE = "light-curve"
_WEIGHED = "too few with an error"


def _of_curve(curve: _Curve) -> dict[str, Definition]:
    """The definitions of one kind of light curve, by the names of ``alerts.features.curves.VALUES``."""
    unit = {"mag": "mag", "njy": "nJy"}[curve.unit]
    y, times, forced = f"_{curve.unit}{curve.forced}", curve.times, curve.forced
    per_day = f"{curve.unit}_per_day{forced}"
    bright = "smallest" if curve.unit == "mag" else "largest"
    faint = "largest" if curve.unit == "mag" else "smallest"
    rate = f"positive: {curve.growing}"
    before, later = "positive: before the alert", "positive: the brightest is later"

    def defined(name: str, unit: str, formula: str, least: int, sign: str = "", null: str = "", source: str = "") -> Definition:  # noqa: PLR0917
        return Definition(name, unit, formula, curve.points, least, sign, null, source)

    def rates(name: str) -> tuple[Definition, Definition, Definition]:
        over = {
            "last_rate": "the latest one that is 0.5 d or more older",
            "night_rate": "the latest one that is from 0.02 d to less than 0.5 d older",
        }[name]
        null = "no two points so far apart"
        return (
            defined(
                f"{name}_{per_day}",
                f"{unit}/d",
                f"The newest point minus {over}, divided by the time between them",
                2,
                rate,
                null,
            ),
            defined(
                f"{name}_err_{per_day}",
                f"{unit}/d",
                f"1 sigma of {name}, from the errors of both points",
                *(2, "", f"{null}, or one of them without an error"),
            ),
            defined(f"{name}_gap_days{times}", "d", f"The time between the two points of {name}", 2, "never negative", null),
        )

    last, night = rates("last_rate"), rates("night_rate")
    return {
        "n": Definition(curve.count, "1", "How many points, each once per exposure and band", curve.points, 0, type="INT64"),
        "days_since_first": defined(f"days_since_first{times}", "d", "From the first point to the alert", 1, before),
        "days_since_last": defined(f"days_since_last{times}", "d", "From the newest point to the alert", 1, before),
        "span": defined(f"span_days{times}", "d", "From the first point to the newest", 1, "never negative"),
        "first": defined(f"first{y}", unit, "Of the first point", 1),
        "last": defined(f"last{y}", unit, "Of the newest point", 1),
        "brightest": defined(f"brightest{y}", unit, f"The {bright} of all points", 1),
        "days_since_brightest": defined(
            f"days_since_brightest{y}", "d", "From the first brightest point to the alert", 1, before
        ),
        "days_to_brightest": defined(f"days_to_brightest{y}", "d", "From the first point to the first brightest", 1, later),
        "faintest": defined(f"faintest{y}", unit, f"The {faint} of all points", 1),
        "days_since_faintest": defined(f"days_since_faintest{y}", "d", "From the first faintest point to the alert", 1, before),
        "mean": defined(f"mean{y}", unit, "Sum of all points, divided by their number", 1, "", "", f"{_PACKAGE}, Mean"),
        "std": defined(
            f"std{y}", unit, "sqrt(sum((y - mean)^2) / (n - 1))", 2, "never negative", "", f"{_PACKAGE}, StandardDeviation"
        ),
        "amplitude": defined(f"amplitude{y}", unit, "(max - min) / 2", 2, "never negative", "", f"{_PACKAGE}, Amplitude"),
        "weighted_mean": defined(
            f"weighted_mean{y}", unit, "sum(w y) / sum(w), w = 1 / error^2", 1, "", _WEIGHED, f"{_PACKAGE}, WeightedMean"
        ),
        "chi2_per_dof": defined(
            f"chi2_per_dof{y}",
            "1",
            "sum(w (y - weighted mean)^2) / (n - 1), n the number of points with an error",
            *(2, "never negative", _WEIGHED, f"{_PACKAGE}, ReducedChi2"),
        ),
        "slope": defined(
            f"slope_{per_day}",
            f"{unit}/d",
            "sum(w (t - weighted mean t) (y - weighted mean y)) / sum(w (t - weighted mean t)^2)",
            *(2, rate, f"{_WEIGHED}, or these all within 0.00001 d", f"{_PACKAGE}, LinearFit"),
        ),
        "slope_err": defined(
            f"slope_err_{per_day}",
            f"{unit}/d",
            "1 sigma of the slope, from the points' errors: sqrt(1 / sum(w (t - weighted mean t)^2))",
            *(2, "", f"{_WEIGHED}, or these all within 0.00001 d", f"{_PACKAGE}, LinearFit"),
        ),
        **dict(zip(("last_rate", "last_rate_err", "last_rate_gap"), last, strict=True)),
        **dict(zip(("night_rate", "night_rate_err", "night_rate_gap"), night, strict=True)),
    }


_HAS_FLUX = frozenset({"n", "days_since_first", "days_since_last", "span"})
"""What is known of detections where nobody knows their flux in nJy."""


@functools.cache
def of_curves(survey: Survey) -> dict[str, dict[str, Definition]]:
    """Of ``njy``, ``mag`` and ``forced``, those that a survey has: definitions by the names of ``curves.VALUES``."""
    facts = facts_of(survey)
    found = {"njy": _of_curve(_NJY), "mag": _of_curve(_MAG)}
    if facts.system is None:
        found["njy"] = {name: definition for name, definition in found["njy"].items() if name in _HAS_FLUX}
    if any(series.kind == "forced" for series in facts.series):
        found["forced"] = _of_curve(_FORCED)
    return found


def _counts(facts: Photometry) -> Iterator[Definition]:
    def count(name: str, formula: str, points: str) -> Definition:
        return Definition(name, "1", formula, points, 0, type="INT64")

    forced = [series for series in facts.series if series.kind == "forced"]
    detected = [series for series in facts.series if series.kind == "detection"]
    yield count("n_negative", "How many are fainter than the template", "detections")
    yield count("n_without_mag", "How many have no magnitude here, so that n_detections = n_mag + n_without_mag", "detections")
    if any(series.limit for series in detected):
        yield count("n_limits", "How many exposures showed nothing", "limits")
        yield from _RISES
    if any(series.flags or series.status for series in detected):
        yield count("n_flagged", "How many are left out, as the survey flags them", "flagged detections")
    if forced:
        yield count("n_negative_forced", "How many are below 0", "forced")
    if any(series.flags or series.status for series in forced):
        yield count("n_flagged_forced", "How many are left out, as the survey flags them", "flagged forced")


_NO_LIMIT = "no limit before it, one that is not fainter than the detection, or a detection that is fainter than the template"
_RISES = (
    Definition(
        "rise_mag_per_day_at_least",
        "mag/d",
        "(limit - magnitude of the first detection) divided by the time between them: it rose at least so fast",
        *("limit", 1, "positive: brightening; never negative", _NO_LIMIT),
    ),
    Definition("rise_gap_days", "d", "From that limit to the first detection", "limit", 1, "never negative", _NO_LIMIT),
)


@functools.cache
def of_bands(survey: Survey) -> tuple[Definition, ...]:
    """The features of each band. Raises ``NoPhotometry``."""
    curves = of_curves(survey).values()
    return (*_counts(facts_of(survey)), *(definition for curve in curves for definition in curve.values()))


def color_pairs(survey: Survey) -> list[tuple[str, str]]:
    """The bands that are neighbors, the bluer first."""
    bands = facts_of(survey).band_names
    return list(itertools.pairwise(bands))


@functools.cache
def of_alerts(survey: Survey) -> tuple[Definition, ...]:
    """The features of an alert as a whole. Raises ``NoPhotometry``."""
    facts = facts_of(survey)
    found = [
        Definition("n_bands", "1", "How many bands have detections", "detections", 0, type="INT64"),
        Definition(
            "n_other_bands",
            "1",
            "How many are of bands that the survey is not known for: no feature counts them",
            "all",
            0,
            type="INT64",
        ),
        Definition(
            "age_history_days",
            "d",
            "From the first detection of the packet's history, in any band, to the alert: a lower bound, as histories end",
            *("detections", 1, "positive: before the alert"),
        ),
    ]
    if facts.first_found:
        found.append(
            Definition(
                f"age_{facts.first_found}_days",
                "d",
                f"From {facts.first_found} to the alert: of raw detections, of the same field and readout channel",
                *("own", 1, "positive: before the alert", f"a packet without {facts.first_found}"),
            )
        )
    for blue, red in color_pairs(survey):
        name, points = f"color_{blue}_{red}", "pair"
        found += [
            Definition(f"{name}_mag", "mag", f"{blue} - {red} of the difference from the template", points, 1, "positive: red"),
            Definition(
                f"{name}_err_mag", "mag", "1 sigma, from the errors of both points", points, 1, "", "one of them without an error"
            ),
            Definition(f"{name}_gap_days", "d", "The time between the two points", points, 1, "never negative"),
            Definition(
                f"{name}_days_since", "d", "From the newer of the two to the alert", points, 1, "positive: before the alert"
            ),
        ]
    series = facts.series[0]
    if series.apparent or series.reference_mag:
        rule = (
            "Magnitude of the flux in the science image, from 3 sigma on"
            if series.apparent
            else "-2.5 log10(10^(-0.4 m_reference) +- 10^(-0.4 m_difference)), of a reference source within 1.4 arcsec"
        )
        found += [
            Definition("apparent_mag", "mag", f"{rule}: of the source itself, not of its difference", "own", 1, "", "none such"),
            Definition("apparent_mag_err", "mag", "1 sigma of apparent_mag", "own", 1, "", "an error that is not known"),
        ]
    found += [
        Definition(
            "glat_deg", "deg", "Galactic latitude", "position", 1, "positive: north", "", "IAU 1958, Hipparcos vol. 1, 1.5.3"
        ),
        Definition(
            "elat_deg", "deg", "Latitude above the mean ecliptic of J2000", "position", 1, "positive: north", "", "IAU 2006"
        ),
    ]
    return tuple(found)


@functools.cache
def columns(survey: Survey) -> tuple[Column, ...]:
    """The fields of the struct ``features``: one of each band, then those of the alert as a whole. Raises ``NoPhotometry``."""
    band = tuple(_column(definition) for definition in of_bands(survey))
    bands = [
        Column(name, "RECORD", description=f"The light curve in {name}.", fields=band) for name in facts_of(survey).band_names
    ]
    return (*bands, *(_column(definition) for definition in of_alerts(survey)))


def _column(definition: Definition) -> Column:
    return Column(definition.name, definition.type, description=definition.description)
