"""Prism ends with who started it, however that ends: by itself it would live on without work."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import threading
import zipfile
from collections.abc import Iterator

from apache_beam.options.pipeline_options import PipelineOptions, PrismRunnerOptions

from pipelines.runner import name


@contextlib.contextmanager
def tied(options: PipelineOptions, folder: str | None) -> Iterator[None]:
    """Have the Prism that the body starts killed by the system when this process dies; ``folder`` is for what that needs.

    Linux alone can, and only for a ``--prism_location`` of this machine that the main thread starts: a thread that ends would
    take it along.
    """
    prism = options.view_as(PrismRunnerOptions)
    given = prism.prism_location
    prism.prism_location = _tying(options, given, folder) or given
    try:
        yield
    finally:
        prism.prism_location = given


def _tying(options: PipelineOptions, location: str | None, folder: str | None) -> str | None:
    """A program that becomes Prism, tied; None where that cannot be had."""
    setpriv = shutil.which("setpriv")
    if name(options) != "prismrunner" or not location or folder is None or setpriv is None:
        return None
    if threading.current_thread() is not threading.main_thread() or not os.path.isfile(location) or zipfile.is_zipfile(location):
        return None
    program = os.path.join(folder, "prism.sh")
    with open(program, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec {shlex.quote(setpriv)} --pdeathsig KILL -- {shlex.quote(os.path.abspath(location))} "$@"\n')
    os.chmod(program, 0o700)
    return program
