"""What the Flex Template's launcher runs: ``broker ingest`` with the template's parameters.

The launcher writes every parameter as ``--name=value``, flags and repeatable ones too, and adds options of its own.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Iterator, Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import logs
from pipelines.ingest import run

_YES, _NO = ("true", "yes", "1", ""), ("false", "no", "0")
_NAMED = re.compile(r",(?=[A-Za-z][A-Za-z0-9_]*=)")
_BETWEEN = {
    "--input": re.compile(r",(?=gs://)"),
    "--crossmatch": re.compile(r",(?=vizier:|simbad|file:)"),
    "--watchlist": _NAMED,
    "--sky_region": _NAMED,
}
"""Commas between the values of a parameter that may be given many times."""


def arguments(parameters: Sequence[str]) -> list[str]:
    """The command line of ``broker ingest`` for a template's parameters.

    What neither the broker nor Beam knows comes from the launcher, since the service has checked the parameters against
    the metadata; it is left out with a warning. Raises ``ValueError`` for a flag that is neither true nor false.
    """
    known = _actions()
    return [word for parameter in _joined(parameters) for word in _words(parameter, known)]


def _actions() -> dict[str, argparse.Action]:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for group in PipelineOptions.__subclasses__():
        group._add_argparse_args(parser)
    return {name: action for action in parser._actions for name in action.option_strings}


def _joined(words: Sequence[str]) -> list[str]:
    """``--name value`` as ``--name=value``."""
    joined: list[str] = []
    for word in words:
        if joined and not word.startswith("--"):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _words(parameter: str, known: dict[str, argparse.Action]) -> Iterator[str]:
    name, has_value, value = parameter.partition("=")
    if name not in known:
        logging.getLogger(__name__).warning("%s is no option of the broker or of Beam; left out", name)
    elif known[name].nargs == 0 and has_value:
        yield from _flag(name, value.lower(), known)
    elif name in _BETWEEN:
        yield from (f"{name}={part}" for part in _BETWEEN[name].split(value))
    else:
        yield parameter


def _flag(name: str, value: str, known: dict[str, argparse.Action]) -> Iterator[str]:
    if value in _YES:
        yield name
    elif value not in _NO:
        raise ValueError(f"{name} is a flag: give true or false, not {value!r}")
    elif (opposite := name.replace("--", "--no_", 1)) in known:
        yield opposite


def main() -> int:
    """Submit the job; gives the exit status."""
    form = logs.form_of(sys.argv[1:])
    with logs.to_stderr(form, verbose=True):
        try:
            words = arguments(sys.argv[1:])
        except ValueError as error:
            logs.failed("template", str(error))
            return 2
        return run(words)


if __name__ == "__main__":
    sys.exit(main())
