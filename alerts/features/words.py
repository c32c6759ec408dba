"""An alert's features for people to read: with units, and what is not known left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alerts.features.definitions import Definition, color_pairs, of_alerts, of_bands
from alerts.light_curve import facts_of
from alerts.surveys import Survey

Features = Mapping[str, Any]
"""The struct ``features`` of an alert, as a dict."""


def summary(features: Features, survey: Survey) -> list[str]:
    """A line for the alert and one for each band with detections: what is asked for most. Raises ``NoPhotometry``."""
    bands = [(name, features[name]) for name in facts_of(survey).band_names if features[name]["n_detections"]]
    return [", ".join(_whole(features, survey)), *(f"{name}: {', '.join(in_band(band))}" for name, band in bands)]


def _whole(features: Features, survey: Survey) -> Iterator[str]:
    if features["age_history_days"] is not None:
        yield f"{number(features['age_history_days'])} d old or more"
    since = facts_of(survey).first_found
    if since and features[f"age_{since}_days"] is not None:
        yield f"{number(features[f'age_{since}_days'])} d since its {since}"
    for blue, red in color_pairs(survey):
        color, error, gap = (features[f"color_{blue}_{red}_{what}"] for what in ("mag", "err_mag", "gap_days"))
        if color is not None:
            yield f"{blue}-{red} {number(color)}{_error(error)} mag ({number(gap)} d apart)"
    for name, words in (("glat_deg", "galactic latitude"), ("elat_deg", "ecliptic latitude")):
        if features[name] is not None:
            yield f"{words} {number(features[name])} deg"


def in_band(band: Features) -> Iterator[str]:
    """What is asked for most of a band that has detections."""
    negative = f" ({band['n_negative']:,} negative)" if band["n_negative"] else ""
    count = band["n_detections"]
    span = f" in {number(band['span_days'])} d" if count > 1 else ""
    yield f"{count:,} detection{'s' * (count > 1)}{negative}{span}"
    # Magnitudes where there are some, since people know them; else what there is.
    per_day = "mag_per_day" if band["n_mag"] > 1 else "njy_per_day"
    for name, words in (("slope", "slope"), ("last_rate", "last rate"), ("night_rate", "rate within the night")):
        if band.get(f"{name}_{per_day}") is not None:
            yield f"{words} {rate(band, name, per_day)}"
    if band.get("rise_mag_per_day_at_least") is not None:
        yield f"rose by {number(band['rise_mag_per_day_at_least'])} mag/d or more before"


def rate(band: Features, name: str, per_day: str) -> str:
    """``slope``, ``last_rate`` or ``night_rate`` in ``mag_per_day`` or ``njy_per_day``, and what its sign means."""
    value, error = band[f"{name}_{per_day}"], band[f"{name}_err_{per_day}"]
    is_mag = per_day.startswith("mag")
    if error is not None and abs(value) <= error:
        means = "nothing beyond its error"
    else:
        means = "fading" if (value > 0) == is_mag else "brightening"
    return f"{number(value)}{_error(error)} {'mag/d' if is_mag else 'nJy/d'} ({means})"


def table(features: Features, survey: Survey) -> list[str]:
    """All of them: one feature a line, with its unit and a column for each band. Raises ``NoPhotometry``."""
    bands = [name for name in facts_of(survey).band_names if _is_known(features[name])]
    rows = [("feature", "unit", *bands)]
    rows += [
        (definition.name, _unit(definition), *(number(features[name][definition.name]) for name in bands))
        for definition in of_bands(survey)
        if any(features[name][definition.name] is not None for name in bands)
    ]
    whole = [(each.name, _unit(each), number(features[each.name])) for each in of_alerts(survey)]
    return [*_aligned([row for row in whole if row[2]]), *(["", *_aligned(rows)] if bands else [])]


def _is_known(band: Features) -> bool:
    return any(band.values())


def _unit(definition: Definition) -> str:
    return "" if definition.unit == "1" else definition.unit


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    name, unit, *values = (max(map(len, column)) for column in zip(*rows, strict=True))
    return ["  ".join([row[0].ljust(name), row[1].ljust(unit), *map(str.rjust, row[2:], values)]).rstrip() for row in rows]


def number(value: float | None) -> str:
    """As many digits as a person reads; nothing for NULL."""
    if value is None:
        return ""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _error(error: float | None) -> str:
    return "" if error is None else f" ± {number(error)}"
