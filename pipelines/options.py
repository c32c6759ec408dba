"""The command line of a run: words to Beam's options, and what is wrong with them."""

from __future__ import annotations

import argparse
import difflib
import shlex
from collections.abc import Sequence
from typing import NoReturn

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import flags, job_server
from pipelines.errors import OptionsError
from pipelines.help import WITHOUT_EFFECT
from pipelines.runner import asks_job_server

_SKY_REGION = "--sky_region"


class BrokerOptions(PipelineOptions):
    """The broker's own flags; every Beam flag (--runner, --project, ...) may stand beside them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        flags.add_run(parser)


class RoundsOptions(PipelineOptions):
    """Flags of ``broker ingest`` for a stream in rounds: no job of a service has them."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        flags.add_rounds(parser)


class ReplayOptions(PipelineOptions):
    """Flags of ``broker replay`` besides those of ``broker ingest`` (but for the source)."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        flags.add_replay(parser)


class AgainOptions(PipelineOptions):
    """Flags of ``broker rematch`` and ``broker refilter`` besides those of ``broker ingest`` (but for the source)."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        flags.add_again(parser)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise OptionsError(message)


_OF_ONE_COMMAND: dict[str, type[ReplayOptions | AgainOptions | RoundsOptions]] = {
    "broker ingest": RoundsOptions,
    "broker replay": ReplayOptions,
    "broker rematch": AgainOptions,
    "broker refilter": AgainOptions,
}


def parse(argv: Sequence[str], command: str = "broker ingest") -> PipelineOptions:
    """Pipeline options from command-line arguments. Raises ``OptionsError`` for a flag that ``command`` does not know."""
    parser = _Parser(add_help=False, allow_abbrev=False)
    others = {*_OF_ONE_COMMAND.values()} - {_OF_ONE_COMMAND.get(command)}
    for group in PipelineOptions.__subclasses__():
        if group not in others:
            group._add_argparse_args(parser)
    words = _regions([_spelled(word) for word in argv])
    for word in words:
        if word.partition("=")[0] in WITHOUT_EFFECT.get(command, ()):
            raise OptionsError(f"{word.partition('=')[0]} does nothing in {command}; leave it out")
    _, unknown = parser.parse_known_args(words)
    options, known = PipelineOptions(words), [flag for action in parser._actions for flag in action.option_strings]
    if unknown and asks_job_server(options):
        job_server.check_answers(options)
        unknown = job_server.unknown_to(options, unknown, known)
        known += job_server.flags_of(options) if unknown else []
    if unknown:
        raise OptionsError(_unknown(unknown[0], command, known))
    return options


def _spelled(word: str) -> str:
    """A flag with its words joined by underscores, as Beam and we write them; ``--max-alerts`` is ``--max_alerts``."""
    flag, equals, value = word.partition("=")
    return f"--{flag[2:].replace('-', '_')}{equals}{value}" if flag.startswith("--") and len(flag) > 2 else word


def _regions(words: Sequence[str]) -> list[str]:
    """``--region NAME=FILE`` is a part of the sky; what has no = is where Beam runs a job of Dataflow, whose flag it is."""
    named = list[str]()
    for number, word in enumerate(words):
        flag, equals, value = word.partition("=")
        following = words[number + 1] if number + 1 < len(words) else ""
        is_ours = flag == "--region" and "=" in (value if equals else following)
        named.append(f"{_SKY_REGION}{equals}{value}" if is_ours else word)
    return named


def _unknown(word: str, command: str, known: Sequence[str]) -> str:
    """What to say of a word that means nothing: the likeliest reason, and what to write."""
    if not word.startswith("-"):
        if command == "broker ingest":
            return f"{word!r} stands alone; say that it is what to read: broker ingest --input {shlex.quote(word)}"
        return f"{word!r} stands alone; see {command} --help"
    near = difflib.get_close_matches(word.partition("=")[0], known, n=1)
    meant = f"did you mean {near[0]}?" if near else f"see {command} --help"
    return f"{word!r} is no option of {command} or of Beam; {meant}"
