"""``broker download``: nights of the public ZTF archive from the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from alerts.secrets import redact
from broker.archive.errors import ArchiveError
from broker.archive.local import data_folder, release_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker download``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "examples:\n"
        "  broker download                       the most recent night that is not yet here\n"
        "  broker download --nights 20180626     a certain night\n"
        "  broker download --recent 3            what is missing of the three most recent nights\n"
        "  broker download --list                what the archive has\n\n"
        "Nights are several GB. A download that was stopped goes on where it stopped."
    )
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--nights", nargs="+", metavar="YYYYMMDD", help="these nights (dates in UTC)")
    chosen.add_argument("--recent", type=int, metavar="N", help="what is missing of the N most recent nights")
    chosen.add_argument("--list", action="store_true", help="list the nights of the archive, and which are here; download none")
    parser.add_argument(
        "--folder",
        metavar="FOLDER",
        help="where the nights go (default: $PITT_BROKER_DATA/ztf_archive, else the user's data folder)",
    )
    parser.add_argument("--url", metavar="URL", help="the archive's page (default: $PITT_BROKER_ZTF_URL, else the public one)")


def main(arguments: argparse.Namespace) -> int:
    """Download, and print what is there now; gives the exit status."""
    try:
        if arguments.list:
            _list(arguments)
        else:
            _tell(_download(arguments), data_folder(arguments.folder))
    except KeyboardInterrupt:
        print("broker download: stopped; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except (ArchiveError, ValueError, OSError) as error:
        print(f"broker download: {redact(str(error))}", file=sys.stderr)
        return 2
    return 0


def _download(arguments: argparse.Namespace) -> Iterable[Path]:
    """The nights one by one, each as soon as it is there."""
    from broker import ztf_archive  # noqa: PLC0415 - brings the decoder

    where = {"folder": arguments.folder, "url": arguments.url}
    if arguments.nights:
        # All are looked at before the first is downloaded, which takes a while.
        names = [release_of(night) for night in arguments.nights]
        for name in names:
            yield ztf_archive.download_data_date(int(name[11:15]), int(name[15:17]), int(name[17:19]), **where)
    elif arguments.recent is not None:
        yield from ztf_archive.download_recent_data(arguments.recent, **where)
    else:
        yield from ztf_archive.download_data(**where)


def _tell(nights: Iterable[Path], folder: Path) -> None:
    from broker.archive.index import index_of  # noqa: PLC0415 - brings the decoder

    count = 0
    for path in nights:
        count += 1
        print(f"{path}: {index_of(path).count:,} alerts", flush=True)
    if not count:
        print(f"nothing to download: {folder} has it all")


def _list(arguments: argparse.Namespace) -> None:
    from broker import ztf_archive  # noqa: PLC0415

    here = set(ztf_archive.get_local_release_list(folder=arguments.folder))
    for name in ztf_archive.get_remote_release_list(url=arguments.url):
        print(f"{name}  here" if name in here else name)
