"""``broker audit``: whether every packet is in the warehouse, once, as it was sent."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import warehouses
from alerts.secrets import redact
from alerts.surveys import AUTO, SURVEYS
from pipelines.errors import OptionsError
from pipelines.nights import nights
from warehouses import QueryError
from warehouses.places import FORMS, LIMIT

if TYPE_CHECKING:
    from audit.report import Report

FORMATS = ("table", "json")

_EXAMPLES = """examples:
  broker audit --input ztf_public_20231018.tar.gz --warehouse ./warehouse
  broker audit --input night/ --warehouse bigquery://PROJECT/DATASET --night 2026-11-23 --crossmatch vizier:II/328/allwise
  broker audit --ids candids.parquet --night 2026-11-01..2026-11-23 --format json > audit.json
  broker audit --subscription projects/PROJECT/subscriptions/AUDIT --warehouse bigquery://PROJECT/DATASET

Exit status: 0 all is accounted for, 1 it is not, 2 the options are wrong or the audit could not be made."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker audit``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    truth = parser.add_argument_group("the truth: one of these")
    truth.add_argument(
        "--input",
        action="append",
        metavar="URI",
        help=".avro, .tar, .tar.gz (.bz2, .xz), a folder or a glob, local or gs://; may be repeated",
    )
    truth.add_argument(
        "--ids",
        metavar="FILE",
        help="ids of alerts: one a line, or CSV or Parquet with a column alert_id, candid or "
        "diaSourceId and perhaps packet_digest (hexadecimal, or 16 bytes)",
    )
    truth.add_argument(
        "--subscription",
        metavar="NAME",
        help="projects/PROJECT/subscriptions/NAME; what it holds now is looked at and given back",
    )
    truth.add_argument(
        "--silence_secs",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="the subscription has been read when nothing has come for so long (default 10)",
    )
    how = parser.add_argument_group("how")
    how.add_argument("--warehouse", default="./warehouse", metavar="URI", help=FORMS)
    how.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
    how.add_argument(
        "--night",
        metavar="NIGHT[..NIGHT]",
        help="only these nights, all of whose alerts must be in the truth: "
        "2026-11-01..2026-11-23 (default: the nights of the truth)",
    )
    how.add_argument(
        "--survey", default=AUTO, metavar="NAME", help=f"auto (default: each packet tells), or one of {', '.join(SURVEYS)}"
    )
    how.add_argument(
        "--schemas", metavar="FOLDER|URL", help="schemas of wire messages that are not built in, as for broker ingest"
    )
    how.add_argument(
        "--crossmatch",
        action="append",
        metavar="CATALOG",
        help="every alert must have a row of this catalog; may be repeated "
        "(default: in each night the catalogs that any alert has a row of)",
    )
    how.add_argument("--no_cutouts", action="store_true", help="cutouts need not be there")
    how.add_argument("--stamps", action="store_true", help="see that each stamp is there (reads all of them), not only its row")
    shown = parser.add_argument_group("what to show")
    shown.add_argument("--format", choices=FORMATS, default="table", help="table (default), or json, which has every fault")
    shown.add_argument("--show", type=int, default=20, metavar="N", help="examples of each kind of fault (default 20)")


def main(arguments: argparse.Namespace) -> int:
    """Audit, and print what was found; gives the exit status."""
    # Not for the help: these bring Beam.
    import duckdb  # noqa: PLC0415
    from tqdm import tqdm  # noqa: PLC0415

    from audit.audit import audit  # noqa: PLC0415
    from audit.options import settings_of, truth_of  # noqa: PLC0415
    from audit.truth import AuditError  # noqa: PLC0415

    try:
        settings = settings_of(
            between=nights(arguments.night) if arguments.night else None,
            survey=arguments.survey,
            schemas=arguments.schemas,
            crossmatch=arguments.crossmatch,
            cutouts=not arguments.no_cutouts,
            stamps=arguments.stamps,
        )
        if arguments.show < 0:
            raise AuditError(f"--show is {arguments.show}; give a number of examples, 0 or more")
        with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
            truth = truth_of(
                settings,
                opened,
                inputs=arguments.input,
                ids=arguments.ids,
                subscription=arguments.subscription,
                silence_secs=arguments.silence_secs,
            )
            bar = tqdm(desc="reading the truth", unit=" records", disable=None, leave=False)
            with bar, audit(truth, opened, settings, bar.update) as report:
                bar.close()
                _show(report, arguments)
                return 0 if report.accounted_for else 1
    except (AuditError, OptionsError, QueryError, OSError) as error:
        print(f"broker audit: {redact(str(error))}", file=sys.stderr)
        return 2
    except duckdb.Error as error:
        # The disk is full, or the memory.
        print(f"broker audit: the comparison failed: {redact(str(error)).splitlines()[0]}", file=sys.stderr)
        return 2


def _show(report: Report, arguments: argparse.Namespace) -> None:
    if arguments.format == "json":
        report.write_json(sys.stdout)
    else:
        print(report.text(arguments.show))
