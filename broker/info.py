"""``broker info``: what a warehouse knows of one alert."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import warehouses
from alerts.json_text import to_json
from alerts.secrets import redact
from warehouses import QueryError
from warehouses.places import FORMS, LIMIT


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("alert_id", type=int, metavar="ALERT_ID", help="the survey's id of the alert: candid, diaSourceId, ...")
    parser.add_argument("--warehouse", default="./warehouse", metavar="URI", help=FORMS)
    parser.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
    parser.add_argument("--features", action="store_true", help="all features of its light curve, not only the telling ones")
    parser.add_argument("--json", action="store_true", help="all of it, as JSON")
    parser.epilog = "example: broker info 975188145315010126 --warehouse ./warehouse"


def main(arguments: argparse.Namespace) -> int:
    """Print it; gives the exit status: 1 when there is no such alert."""
    try:
        with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
            found = opened.info(arguments.alert_id)
    except QueryError as error:
        print(f"broker info: {redact(str(error))}", file=sys.stderr)
        return 2
    if not found:
        print(f"broker info: {arguments.warehouse} holds no alert {arguments.alert_id}", file=sys.stderr)
        return 1
    print("\n\n".join(to_json(known) if arguments.json else text(known, arguments.features) for known in found))
    return 0


def text(found: dict[str, Any], all_features: bool = False) -> str:
    """It for a person to read."""
    from alerts import brightness  # noqa: PLC0415 - brings Arrow
    from alerts.sexagesimal import sexagesimal  # noqa: PLC0415 - brings NumPy

    alert = found["alert"]
    lines = [f"{alert['survey']} alert {alert['alert_id']}"]
    shown = ("object_id", "object_kind", "observed_at", "night", "ra_deg", "dec_deg", "schema_version", "source", "ingested_at")
    lines += [f"  {name:<16} {alert[name]}" for name in shown if alert[name] is not None]
    if alert["ra_deg"] is not None and alert["dec_deg"] is not None:
        lines.append(f"  {'position (ICRS)':<16} {sexagesimal(alert['ra_deg'], alert['dec_deg'])}")
    if found["rows"] > 1:
        lines.append(
            f"  {'rows':<16} {found['rows']} (copies and conflicts are kept; this is the one that {{survey}}_alerts_unique shows)"
        )
    if (told := found["brightness"]) is not None:
        points = [f"{count:,} {kind}{'s' * (count != 1 and kind != 'forced')}" for kind, count in told["points"].items()]
        moment = f", {told['time_reference']} of the exposure" if told["time_reference"] else ""
        lines.append(f"  {'brightness':<16} {brightness.in_words(told)}")
        lines.append(f"  {'points':<16} {', '.join(points)}")
        lines.append(f"  {'time (UTC)':<16} MJD {told['mjd_utc']:.6f}, JD {told['jd_utc']:.6f}{moment}")
    lines += _feature_lines(found, all_features)
    history = {name: len(value) for name, value in alert.items() if isinstance(value, list) and name != "null_arrays"}
    lines += [f"  {name:<16} {number} entries" for name, number in history.items()]
    stamps = [f"{role} {size:,} bytes" if size is not None else f"no {role}" for role, size in found["stamps"].items()]
    lines.append(f"  {'stamps':<16} {', '.join(stamps) or found.get('stamps_unknown', 'none in the warehouse')}")
    lines += [line for match in found["crossmatches"] for line in _match_lines(match)] or ["  no catalog has been asked about it"]
    return "\n".join(lines)


def _feature_lines(found: dict[str, Any], with_all: bool) -> list[str]:
    from alerts.features import words  # noqa: PLC0415 - brings the definitions
    from alerts.surveys import SURVEYS  # noqa: PLC0415

    survey = SURVEYS[found["alert"]["survey"]]
    if survey.photometry is None:
        return []
    row = found["features"]
    if row is None or row["features"] is None:
        why = (
            "none are stored; broker features computes them where the history is" if row is None else "they could not be computed"
        )
        return [f"  {'features':<16} {why}"]
    head, *more = words.summary(row["features"], survey)
    lines = [f"  {'features':<16} {head}", *(f"  {'':<16} {line}" for line in more)]
    return lines + ([f"    {line}".rstrip() for line in words.table(row["features"], survey)] if with_all else [])


def _match_lines(row: dict[str, Any]) -> list[str]:
    head = f"  {row['catalog']} within {row['radius_arcsec']:g} arcsec: {row['status'].replace('_', ' ')}"
    lines = [head + (f" ({row['error']})" if row["error"] else "")]
    for match in row["matches"]:
        columns = ", ".join(f"{name} {value}" for name, value in json.loads(match["columns"]).items() if value is not None)
        lines.append(f"    {match['separation_arcsec']:.3f} arcsec  {match['source_id'] or ''}  {columns[:200]}")
    return lines
