"""The command line of a run: words to Beam's options, what is wrong with them, and the text of ``--help``."""

from __future__ import annotations

import argparse
import difflib
import shlex
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.flags import BrokerOptions, RematchOptions, ReplayOptions, WithoutSource


class OptionsError(ValueError):
    """The options are wrong; the message says which and what to do, in one sentence."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionsError(message)


_OF_ONE_COMMAND: dict[str, type[ReplayOptions | RematchOptions]] = {
    "broker replay": ReplayOptions,
    "broker rematch": RematchOptions,
}


_WITHOUT_EFFECT = {
    "broker replay": ("--max_alerts", "--load_every_secs", "--max_wait_secs"),
    "broker rematch": (
        "--max_alerts",
        "--schemas",
        "--load_every_secs",
        "--max_wait_secs",
        "--cutouts",
        "--no_cutouts",
        "--no_history",
        "--max_dead_letters",
    ),
}
"""Flags of ``WithoutSource`` that mean nothing to a command: it does not list them, and refuses them."""


def add_flags(parser: argparse.ArgumentParser, command: str) -> None:
    """Our own flags of a command, ``broker ingest`` and its like, to an empty parser."""
    if command not in _OF_ONE_COMMAND:
        BrokerOptions._add_argparse_args(parser)
        return
    _OF_ONE_COMMAND[command]._add_argparse_args(parser)
    WithoutSource._add_argparse_args(parser)
    for action in parser._actions:
        if set(action.option_strings) & set(_WITHOUT_EFFECT[command]):
            action.help = argparse.SUPPRESS


def parse(argv: Sequence[str], command: str = "broker ingest") -> PipelineOptions:
    """Pipeline options from command-line arguments. Raises ``OptionsError`` for a flag that ``command`` does not know."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    others = {group for name, group in _OF_ONE_COMMAND.items() if name != command}
    for group in PipelineOptions.__subclasses__():
        if group not in others:
            group._add_argparse_args(parser)
    words = [_spelled(word) for word in argv]
    for word in words:
        if word.partition("=")[0] in _WITHOUT_EFFECT.get(command, ()):
            raise OptionsError(f"{word.partition('=')[0]} does nothing in {command}; leave it out")
    _, unknown = parser.parse_known_args(words)
    if unknown:
        raise OptionsError(_unknown(unknown[0], command, [flag for action in parser._actions for flag in action.option_strings]))
    return PipelineOptions(words)


def _spelled(word: str) -> str:
    """A flag with its words joined by underscores, as Beam and we write them; ``--max-alerts`` is ``--max_alerts``."""
    flag, equals, value = word.partition("=")
    return f"--{flag[2:].replace('-', '_')}{equals}{value}" if flag.startswith("--") and len(flag) > 2 else word


def _unknown(word: str, command: str, flags: Sequence[str]) -> str:
    """What to say of a word that means nothing: the likeliest reason, and what to write."""
    if not word.startswith("-"):
        if command == "broker ingest":
            return f"{word!r} stands alone; say that it is what to read: broker ingest --input {shlex.quote(word)}"
        return f"{word!r} stands alone; see {command} --help"
    near = difflib.get_close_matches(word.partition("=")[0], flags, n=1)
    meant = f"did you mean {near[0]}?" if near else f"see {command} --help"
    return f"{word!r} is no option of {command} or of Beam; {meant}"


_EPILOG = """All Beam options pass through: --runner, --direct_num_workers (processes of a local run), --project,
--temp_location, ... Exit status: 0 done, 1 the run failed, 2 the options are wrong, 3 nothing but dead letters
came of the files that were given, 130 interrupted."""


def help_text(command: str, about: str, examples: Sequence[str]) -> str:
    """The broker's own flags, and example command lines; Beam's flags pass through and are documented there."""
    parser = argparse.ArgumentParser(
        command,
        description=textwrap.fill(about, 100),
        epilog="\n".join(["examples:", *(f"  {command} {example}" for example in examples), "", _EPILOG]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser, command)
    return parser.format_help()
