"""``broker``: the commands by their names."""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from types import ModuleType

from alerts.extras import MissingExtra
from pipelines import logs
from pipelines.status import DONE, INTERRUPTED, WRONG_OPTIONS

# Command: what it is for, and its module. Imported where it is needed: a query need not wait for Beam.
_WHOLE = {
    "ingest": ("alert packets to the tables of a warehouse", "pipelines.ingest", "run"),
    "replay": ("dead letters through the pipeline again, after a fix", "pipelines.replay", "run"),
    "refilter": ("filters asked about what is in a warehouse", "pipelines.refilter", "run"),
    "rematch": ("catalogs asked again about what is in a warehouse", "pipelines.rematch", "run"),
    "simulate": ("a made-up night of packets with a known truth", "broker.simulate", "main"),
}
"""Commands that read their own arguments."""
_PARSED = {
    "query": ("ask a warehouse: SQL, a cone on the sky, an object", "broker.query"),
    "download": ("nights of the public ZTF archive to this machine", "broker.download"),
    "plot": ("pictures of stamps, light curves and the sky", "broker.plot"),
    "info": ("what a warehouse knows of one alert", "broker.info"),
    "audit": ("whether every packet is in the warehouse, once, as it was sent", "broker.audit"),
    "catalog-server": ("a stand-in for CDS X-Match on this machine, with faults to order", "broker.catalog_server"),
    "compact": ("many small files of a warehouse's nights to few sorted ones", "broker.compact"),
    "features": ("features of the alerts that are in a warehouse", "broker.features"),
    "filter": ("filters checked, tried over nights of a warehouse, and explained", "broker.filters"),
    "completion": ("completion of these commands for your shell", "broker.completion"),
    "listen": ("what comes by a stream of hits, and whether all has come", "broker.listen"),
    "publish": ("packets to Pub/Sub, Kafka or a folder at a given pace", "broker.publish"),
    "relay": ("messages of Kafka, as they come, to Pub/Sub", "broker.relay"),
    "stream": ("what is known of the streams that fill a warehouse: lag, rates, backlog", "broker.stream"),
}

COMMANDS = (*_WHOLE, *_PARSED)
_WITH_BEAMS_FLAGS = ("ingest", "replay", "rematch", "refilter")
"""Commands whose flags are those of ``pipelines.flags``: their help is told without their modules, which load Beam."""


def parser_of_all() -> argparse.ArgumentParser:
    """Every command with its own flags (Beam's pass through besides), for the shell's completion."""
    parser = argparse.ArgumentParser("broker")
    commands = parser.add_subparsers(dest="command")
    for name, entry in (*_WHOLE.items(), *_PARSED.items()):
        command = commands.add_parser(name, help=entry[0])
        if name in _WITH_BEAMS_FLAGS:
            _help().add_flags(command, f"broker {name}")
        else:
            importlib.import_module(entry[1]).add_arguments(command)
    return parser


def _help() -> ModuleType:
    return importlib.import_module("pipelines.help")


def usage() -> str:
    """The commands."""
    purposes = {name: entry[0] for name, entry in (*_WHOLE.items(), *_PARSED.items())}
    lines = "\n".join(f"  {name:<15} {purpose}" for name, purpose in purposes.items())
    more = "broker COMMAND --help tells more of each, broker --version which one this is."
    return f"usage: broker COMMAND ...\n\ncommands:\n{lines}\n\n{more}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    with logs.to_stderr(logs.TEXT):
        return _main(words)


def _main(words: list[str]) -> int:
    # Beam warns about things nobody here can act on; what it cannot do, it raises.
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    # So do Google's, where there are no credentials; we say that ourselves.
    logging.getLogger("google.auth").setLevel(logging.ERROR)
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(usage())
        return DONE
    if words[0] in ("-V", "--version", "version"):
        print(f"pitt-broker {metadata.version('pitt-broker')}")
        return DONE
    command, rest = words[0], words[1:]
    try:
        if command in _WITH_BEAMS_FLAGS and {"-h", "--help"}.intersection(rest):
            print(_help().help_text(f"broker {command}"))
            return DONE
        if command in _WHOLE:
            _, module, function = _WHOLE[command]
            return int(getattr(_loaded(module), function)(rest))
        if command in _PARSED:
            return _run_parsed(command, rest)
    except BrokenPipeError:
        return _closed_pipe()
    except KeyboardInterrupt:
        print(f"broker {command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except MissingExtra as error:
        print(f"broker {command}: {error}", file=sys.stderr)
        return WRONG_OPTIONS
    near = difflib.get_close_matches(command, COMMANDS, n=1)
    meant = f"; did you mean broker {near[0]}?" if near else f"; known are {', '.join(COMMANDS)}"
    print(f"broker: {command!r} is no command{meant}", file=sys.stderr)
    return WRONG_OPTIONS


def _loaded(name: str) -> ModuleType:
    """A command's module, imported with Python's collector at rest, which would go through all of them again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if was_enabled:
            gc.enable()


def _run_parsed(command: str, rest: list[str]) -> int:
    purpose, name = _PARSED[command]
    chosen = _loaded(name)
    parser = argparse.ArgumentParser(f"broker {command}", description=f"{purpose[0].upper()}{purpose[1:]}.")
    chosen.add_arguments(parser)
    try:
        arguments = parser.parse_args(rest)
    except SystemExit as error:  # argparse has said it all
        return error.code if isinstance(error.code, int) else WRONG_OPTIONS
    status = int(chosen.main(arguments))
    sys.stdout.flush()
    return status


def _closed_pipe() -> int:
    """Whoever read our output wanted no more of it (``| head``): nothing is wrong."""
    # What is still in the buffer would be tried again at exit, and complained about.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return DONE


def console() -> None:
    """Entry point of the ``broker`` script."""
    status = main()
    # Two thousand modules end with the process: to look through them for what nobody uses takes a fifth of a second.
    gc.freeze()
    sys.exit(status)
