"""``broker simulate``: a made-up night of ZTF or LSST packets, the truth about them, and a catalog and lists that find some.

In Python: ``for packet in simulate_packets(survey="ztf", alerts=100, seed=1): packet.data, packet.truth``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NoReturn

from simulation import ARCHIVES, Night, SimulatedPacket, simulate_packets, write_night
from simulation.archive import BESIDE
from simulation.night import DEFAULT_NIGHT, SURVEYS
from simulation.packing import CONTAINER, WIRE

__all__ = ["Night", "SimulatedPacket", "add_arguments", "main", "run", "simulate_packets", "write_night"]

_EXAMPLES = """A night of 96 alerts or more holds faders, risers, flares, variables of both signs, hostless transients and
movers. truth.parquet tells the family of each alert, and by which numbers these were made: slope, amplitude, period, ...

Beside the archive are catalog.parquet (stars, some near alerts; --crossmatch file:), skymap.fits (probabilities on the sky,
of an event two days or so before; --region) and watchlist.csv (places with radii of their own; --watchlist). truth.parquet
tells of each alert whether it has a star (has_catalog_star), its credible level in the map (region_level), whether that is
0.9 at most (in_region), and whether it is at a place of the list (is_watched).

examples:
  broker simulate --alerts 1000 --out night
  broker simulate --survey lsst --alerts 10000 --duplicates 20 --damaged 10 --seed 1 --out visit"""


class _WrongOptions(ValueError):
    """Options that argparse refuses."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _WrongOptions(message)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``broker simulate``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("--survey", choices=list(SURVEYS), default="ztf", help="whose packets (default: %(default)s)")
    parser.add_argument("--alerts", type=int, default=1000, help="distinct good alerts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another seed is another night (default: %(default)s)")
    parser.add_argument(
        "--night", type=_night, default=DEFAULT_NIGHT, help="date of the night, YYYY-MM-DD (default: %(default)s)"
    )
    parser.add_argument("--duplicates", type=int, default=0, help="identical copies of good packets (default: %(default)s)")
    parser.add_argument("--damaged", type=int, default=0, help="packets no broker can decode (default: %(default)s)")
    framings = "Avro container file of one record, or Confluent wire message (LSST only)"
    parser.add_argument("--framing", choices=[CONTAINER, WIRE], default=CONTAINER, help=f"{framings} (default: %(default)s)")
    forms = "a tar file, a folder of files, or one Avro container file of many records"
    parser.add_argument("--archive", choices=list(ARCHIVES), default="tar.gz", help=f"{forms} (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("."), metavar="FOLDER", help="where to write (default: here)")


def run(options: argparse.Namespace) -> int:
    """Writes the night the options ask for. Returns the exit status: 0 done, 1 failed, 2 the options are wrong."""
    started = time.monotonic()
    try:
        night = Night(
            options.survey, options.alerts, options.seed, options.night, options.duplicates, options.damaged, options.framing
        )
        written = write_night(night, options.out, options.archive)
    except ValueError as error:
        return _refuse(error, 2)
    except OSError as error:
        return _refuse(error, 1)
    print(
        f"{night.survey}: {night.alerts} alerts, {night.duplicates} duplicates and {night.damaged} damaged packets "
        f"({written.packet_bytes} bytes) in {written.archive}, with {', '.join(BESIDE[:-1])} and {BESIDE[-1]} beside it, "
        f"in {time.monotonic() - started:.1f} s"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = _Parser(prog="broker simulate", description=__doc__.splitlines()[0] if __doc__ else None)
    add_arguments(parser)
    try:
        options = parser.parse_args(argv)
    except _WrongOptions as error:
        return _refuse(error, 2)
    return run(options)


def _night(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2026-09-17") from None


def _refuse(error: Exception, status: int) -> int:
    print(f"broker simulate: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
