"""``broker catalog-server``: the stand-in for CDS X-Match from the command line."""

from __future__ import annotations

import argparse
import sys
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from simulation.catalog_server import CatalogServer, ServedCatalog

_EXAMPLES = """example:
  broker catalog-server --port 8765 --catalog X/1/mine=night/catalog.parquet
  broker ingest --input night/ --crossmatch 'vizier:X/1/mine?ra=ra_deg&dec=dec_deg&id=source_id' \\
      --crossmatch_url http://127.0.0.1:8765/xmatch/api/v1/sync   # in another terminal"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of ``broker catalog-server``."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES
    parser.add_argument("--port", type=int, default=8765, help="where to listen (default 8765; 0: a free port)")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default 127.0.0.1: this machine only)")
    parser.add_argument(
        "--catalog",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="serve a Parquet or CSV file under this name (II/246/out, simbad); positions in ra and dec, degrees, or as said: "
        "FILE?ra=COLUMN&dec=COLUMN, and pmra, pmdec (mas/yr), epoch, match_epoch; repeatable",
    )
    parser.add_argument("--no_stars", action="store_true", help="serve the files only, not I/311/hip2 and I/355/gaiadr3 besides")


def main(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; gives the exit status."""
    from simulation.catalog_server import CatalogServer  # noqa: PLC0415 - brings scipy and astropy

    try:
        catalogs = _catalogs(arguments)
        server = CatalogServer(catalogs, host=arguments.host, port=arguments.port)
    except (ValueError, OSError, OverflowError) as error:
        print(f"broker catalog-server: {error}", file=sys.stderr)
        return 2
    with server:
        _introduce(server, catalogs)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{len(server.calls):,} questions, {server.positions_asked:,} positions")
    return 0


def _catalogs(arguments: argparse.Namespace) -> dict[str, ServedCatalog]:
    from simulation.catalog_server import STARS, NotInstalled, from_file  # noqa: PLC0415

    catalogs: dict[str, ServedCatalog] = {}
    for given in arguments.catalog:
        name, equals, target = given.partition("=")
        path, _, query = target.partition("?")
        if not (name and equals and path):
            raise ValueError(f"--catalog {given!r} is not NAME=FILE, for example II/246/out=stars.parquet")
        catalogs[name.removeprefix("vizier:")] = from_file(path, dict(parse_qsl(query, keep_blank_values=True)))
    for name, load in {} if arguments.no_stars else STARS.items():
        if name not in catalogs:
            try:
                catalogs[name] = load()
            except NotInstalled as absent:
                print(f"{name} is not served: {absent}", file=sys.stderr)
    if not catalogs:
        raise ValueError("there is no catalog to serve; give --catalog NAME=FILE")
    return catalogs


def _introduce(server: CatalogServer, catalogs: dict[str, ServedCatalog]) -> None:
    from simulation.catalog_server.handler import FAULT, LOG  # noqa: PLC0415

    for name, catalog in catalogs.items():
        without = f" ({catalog.left_out:,} more have no position on the sky)" if catalog.left_out else ""
        print(f"{name}: {len(catalog):,} sources{without}")
    base = server.url.partition("/xmatch")[0]
    print(
        f'PUT {base}{FAULT} with {{"kind": "503", "times": 3}} makes it fail three times; GET {base}{LOG} tells what it was asked'
    )
    print(f"--crossmatch_url {server.url}", flush=True)
