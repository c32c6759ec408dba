"""``broker features``: features of alerts that are in a warehouse, of nights from before there were any."""

from __future__ import annotations

import argparse
import sys

import warehouses
from alerts.errors import UnknownSurvey
from alerts.secrets import redact
from alerts.surveys import SURVEYS, survey
from pipelines.errors import OptionsError
from pipelines.nights import nights
from warehouses import InputsTaken, QueryError, StaleRun
from warehouses.computed import Computed
from warehouses.places import FORMS, LIMIT
from warehouses.reachable import told

_EXAMPLES = """examples:
  broker features --warehouse ./warehouse
  broker features --warehouse ./warehouse --night 2026-11-01..07 --again
  broker features --warehouse bigquery://PROJECT/DATASET --night 2026-11-01

Doing it again changes nothing: alerts that have features of the present version are left alone."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--warehouse", default="./warehouse", metavar="URI", help=FORMS)
    parser.add_argument(
        "--night",
        metavar="NIGHT[..NIGHT]",
        help="only this night, or from one to another: 2026-11-01..2026-11-23, or 2026-11-01..23 (default: all)",
    )
    parser.add_argument("--survey", metavar="NAME", help=f"only this one of {', '.join(SURVEYS)} (default: all)")
    parser.add_argument("--again", action="store_true", help="also those of alerts that have features of the present version")
    parser.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
    parser.epilog = _EXAMPLES
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def main(arguments: argparse.Namespace) -> int:
    """Do it, and tell how many there were; gives the exit status."""
    from pipelines.stored_features import compute_stored  # noqa: PLC0415 - brings Beam, for its writers

    try:
        between, chosen = nights(arguments.night), survey(arguments.survey) if arguments.survey else None
        place = warehouses.at(arguments.warehouse, arguments.maximum_bytes_billed)
        with place:
            if not place.holds_tables():
                raise QueryError(f"{place.uri} holds no tables; fill it with: broker ingest --input ... --warehouse {place.uri}")
    except (QueryError, OptionsError, UnknownSurvey) as error:
        return _failed(f"--{error}" if isinstance(error, UnknownSurvey) else str(error), 2)
    given = {name: getattr(arguments, name) for name in ("night", "survey", "again") if getattr(arguments, name)}
    try:
        with place:
            options = {"command": "features", "warehouse": place.uri, **given}
            run_id, counts = compute_stored(place, chosen, between, options, again=arguments.again)
    except (OSError, ValueError, RuntimeError, QueryError, InputsTaken, StaleRun) as error:
        return _failed(f"{told(error)}; what has been computed is there, run the same command again for the rest", 1)
    print(_account(run_id, counts))
    return 0


def _failed(why: str, status: int) -> int:
    print(f"broker features: {redact(why)}", file=sys.stderr)
    return status


def _account(run_id: str, counts: Computed) -> str:
    lines = [
        f"run {run_id}" if counts.computed else "there is nothing to compute",
        f"  alerts seen      {counts.seen:>10,}",
        f"  had features     {counts.had:>10,}",
        f"  computed         {counts.computed:>10,}",
        f"  failed           {counts.failed:>10,}",
        f"  without history  {counts.without_history:>10,}",
    ]
    if counts.failed:
        lines.append(f"  warning: the features of {counts.failed:,} alerts could not be computed: they are NULL")
    if counts.without_history:
        lines.append(
            f"  warning: {counts.without_history:,} alerts have no features, since their history was not stored (--no_history); "
            "ingest their packets again"
        )
    return "\n".join(lines)
