"""``broker plot``: pictures of an alert's stamps, of a light curve, of a night's sky, into a file."""

from __future__ import annotations

import argparse
import sys
from datetime import date
from typing import TYPE_CHECKING, Any

import warehouses
from alerts.errors import AlertError
from warehouses import QueryError
from warehouses.places import FORMS, LIMIT, limited

if TYPE_CHECKING:
    from matplotlib.figure import Figure


EXAMPLES = """examples:
  broker plot stamps --packet 2475433850015010009.avro --out stamps.png
  broker plot stamps --alert_id 2475433850015010009 --warehouse ./warehouse --out stamps.png
  broker plot light-curve --object ZTF17aadcvhq --warehouse ./warehouse --out light_curve.pdf
  broker plot sky --night 2026-09-17 --warehouse ./warehouse --out sky.png
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The pictures and their flags."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    pictures = parser.add_subparsers(dest="picture", required=True, metavar="stamps|light-curve|sky")
    stamps = pictures.add_parser("stamps", help="science, template and difference stamp of an alert")
    curve = pictures.add_parser("light-curve", help="brightness of an alert with its history, or of an object over all nights")
    sky = pictures.add_parser("sky", help="where on the sky a night's alerts are")
    for command in (stamps, curve):
        command.add_argument(
            "--packet", metavar="FILE", help="a packet, or an archive of packets: the first, or that of --alert_id"
        )
        command.add_argument("--alert_id", type=int, metavar="N", help="an alert of the warehouse, or of the file")
    curve.add_argument("--apparent", action="store_true", help="magnitudes of the source itself, not of its difference")
    curve.add_argument("--object", metavar="ID", help="an object of the warehouse: all its alerts")
    curve.add_argument(
        "--features",
        action="store_true",
        help="draw what the alert's features say: slopes, rises, ages (of an object its newest alert's)",
    )
    sky.add_argument("--night", type=date.fromisoformat, required=True, metavar="YYYY-MM-DD", help="as column night counts them")
    for command in (stamps, curve, sky):
        command.add_argument(
            "--warehouse",
            metavar="URI",
            default="./warehouse",
            help=FORMS,
        )
        command.add_argument("--maximum_bytes_billed", type=int, metavar="BYTES", help=LIMIT)
        command.add_argument(
            "--survey", metavar="NAME", help="where ids of several surveys are the same; for sky: only this one's"
        )
        command.add_argument("--out", required=True, metavar="FILE", help="its ending says what it is: .png, .pdf, .svg, .jpg")
        command.add_argument("--dpi", type=_dpi, default=150, metavar="N", help="dots per inch (default %(default)s)")


def _dpi(text: str) -> int:
    if not (text.isdigit() and 10 <= int(text) <= 1200):
        raise argparse.ArgumentTypeError(f"{text!r} is not between 10 and 1200 dots per inch")
    return int(text)


def main(arguments: argparse.Namespace) -> int:
    """Draw, and write the file; gives the exit status."""
    from broker.pictures.figure import save  # noqa: PLC0415 - brings matplotlib, as all that draws
    from broker.pictures.packets import NoPicture  # noqa: PLC0415

    try:
        save(_picture(arguments), arguments.out, arguments.dpi)
    except (QueryError, NoPicture, AlertError, OSError) as error:
        print(f"broker plot: {error}", file=sys.stderr)
        return 2
    return 0


def _picture(arguments: argparse.Namespace) -> Figure:
    from broker.pictures import plot_light_curve, plot_sky, plot_stamps  # noqa: PLC0415
    from broker.pictures.packets import NoPicture  # noqa: PLC0415

    place = limited(arguments.warehouse, arguments.maximum_bytes_billed)
    if arguments.picture == "sky":
        return plot_sky(place, arguments.night, survey=arguments.survey)
    wanted = getattr(arguments, "object", None)
    if wanted is not None:
        if arguments.packet or arguments.alert_id is not None:
            raise NoPicture("--object is drawn from all its alerts; leave out --packet and --alert_id")
        return plot_light_curve(wanted, place, survey=arguments.survey, **_of_curve(arguments))
    packet, survey = _packet(arguments)
    if arguments.picture == "stamps":
        return plot_stamps(packet, survey=survey)
    return plot_light_curve(packet, survey=survey, **_of_curve(arguments))


def _of_curve(arguments: argparse.Namespace) -> dict[str, Any]:
    return {"quantity": "apparent" if arguments.apparent else "difference", "features": arguments.features}


def _packet(arguments: argparse.Namespace) -> tuple[dict[str, Any], str | None]:
    """The packet, and the name of its survey where that is told."""
    from broker.pictures.packet_files import picked  # noqa: PLC0415
    from broker.pictures.packets import NoPicture  # noqa: PLC0415

    if arguments.packet:
        return picked(arguments.packet, arguments.alert_id, arguments.survey)
    if arguments.alert_id is None:
        kinds = "--packet FILE or --alert_id N" + (" or --object ID" if arguments.picture == "light-curve" else "")
        raise NoPicture(f"give {kinds}")
    with warehouses.open(arguments.warehouse, arguments.maximum_bytes_billed) as opened:
        wanted = arguments.picture == "stamps"
        return opened.packet(arguments.alert_id, arguments.survey, stamps=wanted)
