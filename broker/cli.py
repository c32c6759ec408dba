"""``broker``: the commands by their names."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

COMMANDS = """\
usage: broker COMMAND ...

commands:
  ingest     alert packets to the tables of a warehouse
  replay     dead letters through the pipeline again, after a fix
  query      ask a warehouse: SQL, a cone on the sky, an object
  simulate   a made-up night of packets with a known truth

broker COMMAND --help tells more.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    # Beam warns about things nobody here can act on; what it cannot do, it raises.
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    if not words or words[0] in ("-h", "--help"):
        print(COMMANDS, end="")
        return 0
    command, rest = words[0], words[1:]
    # Imported where it is needed: a query need not wait for Beam.
    if command == "ingest":
        from pipelines.ingest import run  # noqa: PLC0415

        return run(rest)
    if command == "replay":
        from pipelines.replay import run as run_replay  # noqa: PLC0415

        return run_replay(rest)
    if command == "query":
        from broker import query  # noqa: PLC0415

        parser = argparse.ArgumentParser("broker query", description="Ask a warehouse.")
        query.add_arguments(parser)
        return query.main(parser.parse_args(rest))
    if command == "simulate":
        from broker import simulate  # noqa: PLC0415

        return simulate.main(rest)
    print(f"broker: {command!r} is no command; known are ingest, replay, query and simulate", file=sys.stderr)
    return 2


def console() -> None:
    """Entry point of the ``broker`` script."""
    sys.exit(main())
