"""``broker completion``: a script by which a shell completes the commands and their flags."""

from __future__ import annotations

import argparse

import shtab

_EXAMPLES = """examples:
  broker completion bash > ~/.local/share/bash-completion/completions/broker
  broker completion zsh > ~/.zfunc/_broker       with fpath+=~/.zfunc before compinit in ~/.zshrc"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("shell", choices=shtab.SUPPORTED_SHELLS, help="the shell")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EXAMPLES


def main(arguments: argparse.Namespace) -> int:
    """Print the script; gives the exit status."""
    # Here, as that module names this one.
    from broker.cli import parser_of_all  # noqa: PLC0415

    print(shtab.complete(parser_of_all(), arguments.shell))
    return 0
