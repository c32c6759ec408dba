"""The features of one row by plain loops, from their definitions: what the compiled ones are compared with.

What a record says of its brightness is asked of ``alerts.light_curve``, which tells it record by record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import erfa

from alerts.light_curve import first, measured
from alerts.surveys import Survey
from alerts.surveys.photometry import Photometry, Series

Point = dict[str, Any]
Row = Mapping[str, Any]
NEAR_DAYS = 1e-5


def features(row: Row, survey: Survey) -> dict[str, Any]:
    """All of them, as a row of ``features_of`` is in Python; latitudes are apart, in ``latitudes``."""
    facts = survey.photometry
    detections = points(row, survey, "detection")
    forced = points(row, survey, "forced") if any(series.kind == "forced" for series in facts.series) else None
    found: dict[str, Any] = {
        band: of_band(
            [point for point in detections if point["band"] == band],
            None if forced is None else [point for point in forced if point["band"] == band],
            facts,
        )
        for band in facts.band_names
    }
    good = [point for point in detections if point["kind"] == "measured" and point["band"] is not None]
    found["n_bands"] = len({point["band"] for point in good})
    found["n_other_bands"] = sum(point["band"] is None for point in detections + (forced or []))
    found["age_history_days"] = max((-point["t"] for point in good), default=None)
    own = row[facts.series[0].name]
    if facts.first_found:
        began, now = number(own[facts.first_found], facts), time_of(own, facts.series[0], facts)
        found[f"age_{facts.first_found}_days"] = None if began is None or now is None else now - began
    for blue, red in zip(facts.band_names[:-1], facts.band_names[1:], strict=True):
        found |= color(good, blue, red)
    if facts.series[0].apparent or facts.series[0].reference_mag:
        told = measured(own, facts.series[0], facts)
        found |= {"apparent_mag": told["apparent_mag"], "apparent_mag_err": told["apparent_mag_err"]}
    return found


def latitudes(rows: list[Row]) -> list[tuple[float, float]]:
    """Galactic and ecliptic latitude (deg) of each, by SOFA's routines."""
    ra, dec = ([math.radians(row[name]) for row in rows] for name in ("ra_deg", "dec_deg"))
    _, galactic = erfa.icrs2g(ra, dec)
    _, ecliptic = erfa.eqec06(2451545.0, 0.0, ra, dec)
    return [(math.degrees(b), math.degrees(beta)) for b, beta in zip(galactic, ecliptic, strict=True)]


def number(value: Any, facts: Photometry) -> float | None:
    return None if value is None or not math.isfinite(value) or value in facts.missing else value


def time_of(record: Row, series: Series, facts: Photometry) -> float | None:
    return number(first(record, series.time), facts)


def points(row: Row, survey: Survey, kind: str) -> list[Point]:
    """The points of a kind, each once, in order of time."""
    facts = survey.photometry
    own = row.get(facts.series[0].name)
    now = time_of(own, facts.series[0], facts) if own else None
    found = []
    for series in facts.series:
        held = row.get(series.name) if series.kind == kind else None
        for record in [held] if isinstance(held, Mapping) else held or []:
            point = point_of(record, series, facts)
            time = time_of(record, series, facts)
            if point and time is not None and now is not None:
                found.append(point | {"t": time - now, "is_history": series is not facts.series[0]})
    return each_once(found)


def point_of(record: Row, series: Series, facts: Photometry) -> Point | None:
    told = measured(record, series, facts)
    band = facts.band_name(first(record, series.band))
    is_mag = facts.zero_point_mag is None and not series.zero_point
    value, error = (told["sent"], told["sent_error"]) if is_mag else (told["flux_njy"], told["flux_err_njy"])
    point = {"band": band if band in facts.band_names else None, "value": value, "error": error, "limit": math.nan}
    point |= {"flux": told["flux_njy"], "flux_err": told["flux_err_njy"], "mag": math.nan, "mag_err": math.nan, "negative": False}
    visit, detector = (record.get(name) for name in series.exposure) if series.exposure else (None, None)
    point["exposure"] = (-1, -1) if visit is None or detector is None else (visit, detector)
    if math.isnan(value):
        limit = number(first(record, series.limit), facts) if series.limit else None
        is_limit = limit is not None and -5 < limit < 40 and first(record, series.alert_id) is None
        return point | {"kind": "limit", "limit": limit} if is_limit else None
    status = first(record, series.status)
    flagged = status not in (None, "0") or any(record.get(name) for name in series.flags)
    point |= {"kind": "flagged" if flagged else "measured", "negative": bool(told["is_negative"])}
    if is_mag and not told["is_negative"]:
        point |= {"mag": value, "mag_err": error}
    if not is_mag and value > 0 and value >= 5 * error:
        point |= {"mag": 31.4 - 2.5 * math.log10(value), "mag_err": 2.5 / math.log(10) * error / value}
    return point


def each_once(found: list[Point]) -> list[Point]:
    groups: dict[Any, list[Point]] = {}
    for point in sorted(found, key=lambda point: point["t"]):
        groups.setdefault((point["band"], point["exposure"]), []).append(point)
    kept = []
    for group in groups.values():
        same = [group[0]]
        for point in group[1:]:
            if point["t"] - same[-1]["t"] > NEAR_DAYS:
                kept.append(min(same, key=worth))
                same = []
            same.append(point)
        kept.append(min(same, key=worth))
    return sorted(kept, key=lambda point: (point["t"], point["exposure"]))


def worth(point: Point) -> tuple[Any, ...]:
    numbers = [math.inf if math.isnan(point[name]) else point[name] for name in ("error", "value", "limit")]
    return point["kind"] == "limit", point["is_history"], point["kind"] == "flagged", *numbers, point["negative"]


def of_band(detections: list[Point], forced: list[Point] | None, facts: Photometry) -> dict[str, Any]:
    good = [point for point in detections if point["kind"] == "measured"]
    mags = [point for point in good if not math.isnan(point["mag"])]
    found: dict[str, Any] = {
        "n_negative": sum(point["negative"] for point in good),
        "n_without_mag": len(good) - len(mags),
    }
    if any(series.limit for series in facts.series):
        found["n_limits"] = sum(point["kind"] == "limit" for point in detections)
        found |= rise(detections)
    if any(series.flags for series in facts.series if series.kind == "detection"):
        found["n_flagged"] = sum(point["kind"] == "flagged" for point in detections)
    fluxes = curve([(point["t"], point["flux"], point["flux_err"]) for point in good], "njy", "n_detections", "", "")
    if facts.system is None:
        fluxes = {name: fluxes[name] for name in ("n_detections", "days_since_first", "days_since_last", "span_days")}
    found |= fluxes
    found |= curve([(point["t"], point["mag"], point["mag_err"]) for point in mags], "mag", "n_mag", "_mag", "")
    if forced is not None:
        used = [point for point in forced if point["kind"] == "measured"]
        found["n_negative_forced"] = sum(point["negative"] for point in used)
        if any(series.status or series.flags for series in facts.series if series.kind == "forced"):
            found["n_flagged_forced"] = len(forced) - len(used)
        found |= curve(
            [(point["t"], point["flux"], point["flux_err"]) for point in used], "njy", "n_forced", "_forced", "_forced"
        )
    return found


def rise(detections: list[Point]) -> dict[str, Any]:
    none = {"rise_mag_per_day_at_least": None, "rise_gap_days": None}
    seen = [point for point in detections if point["kind"] == "measured"]
    before = [point for point in detections if point["kind"] == "limit" and seen and point["t"] < seen[0]["t"]]
    if not before or not before[-1]["limit"] > seen[0]["mag"]:
        return none
    gap = seen[0]["t"] - before[-1]["t"]
    return {"rise_mag_per_day_at_least": (before[-1]["limit"] - seen[0]["mag"]) / gap, "rise_gap_days": gap}


def curve(known: list[tuple[float, float, float]], unit: str, count: str, times: str, forced: str) -> dict[str, Any]:
    y, per_day = f"_{unit}{forced}", f"{unit}_per_day{forced}"
    names = ["first", "last", "brightest", "days_since_brightest", "days_to_brightest", "faintest", "days_since_faintest"]
    names += ["mean", "std", "amplitude", "weighted_mean", "chi2_per_dof"]
    found: dict[str, Any] = dict.fromkeys((f"days_since_first{times}", f"days_since_last{times}", f"span_days{times}"))
    found |= {name + y: None for name in names} | {f"slope_{per_day}": None, f"slope_err_{per_day}": None}
    for rate in ("last_rate", "night_rate"):
        found |= {f"{rate}_{per_day}": None, f"{rate}_err_{per_day}": None, f"{rate}_gap_days{times}": None}
    found[count] = len(known)
    if not known:
        return found
    sign = 1 if unit == "mag" else -1
    bright = min(known, key=lambda point: (sign * point[1], point[0]))
    faint = min(known, key=lambda point: (-sign * point[1], point[0]))
    begin, end = known[0], known[-1]
    found |= {f"days_since_first{times}": -begin[0], f"days_since_last{times}": -end[0], f"span_days{times}": end[0] - begin[0]}
    found |= {f"first{y}": begin[1], f"last{y}": end[1], f"brightest{y}": bright[1], f"faintest{y}": faint[1]}
    found |= {f"days_since_brightest{y}": -bright[0], f"days_to_brightest{y}": bright[0] - begin[0]}
    found[f"days_since_faintest{y}"] = -faint[0]
    mean = math.fsum(point[1] for point in known) / len(known)
    found[f"mean{y}"] = mean
    if len(known) > 1:
        found[f"std{y}"] = math.sqrt(math.fsum((point[1] - mean) ** 2 for point in known) / (len(known) - 1))
        found[f"amplitude{y}"] = abs(faint[1] - bright[1]) / 2
    return found | weighed([point for point in known if point[2] > 0], y, per_day) | rates(known, per_day, times)


def weighed(known: list[tuple[float, float, float]], y: str, per_day: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if known:
        weights = [1 / error**2 for _, _, error in known]
        total = math.fsum(weights)
        mean = math.fsum(w * value for w, (_, value, _) in zip(weights, known, strict=True)) / total
        found[f"weighted_mean{y}"] = mean
        when = known[0][0] + math.fsum(w * (t - known[0][0]) for w, (t, _, _) in zip(weights, known, strict=True)) / total
    if len(known) > 1:
        away = [(w, t - when, value - mean) for w, (t, value, _) in zip(weights, known, strict=True)]
        found[f"chi2_per_dof{y}"] = math.fsum(w * dy * dy for w, _, dy in away) / (len(known) - 1)
        if known[-1][0] - known[0][0] > NEAR_DAYS:
            squares = math.fsum(w * dt * dt for w, dt, _ in away)
            found[f"slope_{per_day}"] = math.fsum(w * dt * dy for w, dt, dy in away) / squares
            found[f"slope_err_{per_day}"] = math.sqrt(1 / squares)
    return found


def rates(known: list[tuple[float, float, float]], per_day: str, times: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    last = known[-1]
    for name, least, most in (("last_rate", 0.5, math.inf), ("night_rate", 0.02, 0.5)):
        older = [point for point in known[:-1] if least <= last[0] - point[0] < most]
        if older:
            gap = last[0] - older[-1][0]
            found |= {f"{name}_{per_day}": (last[1] - older[-1][1]) / gap, f"{name}_gap_days{times}": gap}
            if last[2] > 0 and older[-1][2] > 0:
                found[f"{name}_err_{per_day}"] = math.sqrt(last[2] ** 2 + older[-1][2] ** 2) / gap
    return found


def color(good: list[Point], blue: str, red: str) -> dict[str, Any]:
    name = f"color_{blue}_{red}"
    found: dict[str, Any] = dict.fromkeys(f"{name}_{end}" for end in ("mag", "err_mag", "gap_days", "days_since"))
    of_band = {band: [point for point in good if point["band"] == band and not math.isnan(point["mag"])] for band in (blue, red)}
    pairs = [(a, b) for a in of_band[blue] for b in of_band[red] if abs(a["t"] - b["t"]) <= 0.5]
    if pairs:
        # The pair whose newer point is the newest, and of these the one whose older point is; of equal ones the last exposure's.
        a, b = max(reversed(pairs), key=lambda pair: sorted((point["t"] for point in pair), reverse=True))
        found |= {f"{name}_mag": a["mag"] - b["mag"], f"{name}_gap_days": abs(a["t"] - b["t"])}
        found[f"{name}_days_since"] = -max(a["t"], b["t"])
        if a["mag_err"] > 0 and b["mag_err"] > 0:
            found[f"{name}_err_mag"] = math.hypot(a["mag_err"], b["mag_err"])
    return found


def differences(ours: Mapping[str, Any], loops: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where the two differ by more than the last digits of double precision."""
    found = []
    if ours.keys() != loops.keys():
        found.append(f"{prefix} has other names: {sorted(ours.keys() ^ loops.keys())}")
    for name in ours.keys() & loops.keys():
        mine, theirs = ours[name], loops[name]
        if isinstance(mine, Mapping):
            found += differences(mine, theirs, f"{prefix}{name}.")
            continue
        theirs = None if theirs is None or not math.isfinite(theirs) else theirs
        unit = "mag" if "mag" in name else "njy"
        forced = "_forced" if name.endswith("_forced") else ""
        # Of differences of large numbers no more digits are left than the numbers had.
        scale = max(abs(loops.get(f"{end}_{unit}{forced}") or 0.0) for end in ("brightest", "faintest"))
        same = (
            mine == theirs
            if None in (mine, theirs) or isinstance(mine, int)
            else abs(mine - theirs) <= 1e-9 * abs(theirs) + 1e-11 * scale + 1e-12
        )
        if not same:
            found.append(f"{prefix}{name} is {mine}, by loops {theirs}")
    return found
