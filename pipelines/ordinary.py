"""Our pipelines are ordinary ones, in a notebook too.

Beam asks IPython whether it is there (``apache_beam.utils.interactive_utils.is_in_ipython``), and then imports its interactive
runner, with a pandas that is not installed beside our other packages, to rename steps after notebook cells; it also
keeps the run's temporary folder, and picks another local runner. It has no option against that.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from apache_beam import pipeline as beam_pipeline
from apache_beam.runners.direct import direct_runner
from apache_beam.utils import interactive_utils

ASKING = (interactive_utils, beam_pipeline, direct_runner)
"""Beam's modules that ask for IPython, each by its own name of the function."""
_ordinary: ContextVar[bool] = ContextVar("ordinary", default=False)
_LOCK = threading.Lock()


@contextlib.contextmanager
def ordinary_pipeline() -> Iterator[None]:
    """Let Beam build and run a pipeline as it does outside of IPython; other pipelines, of other threads too, are left alone."""
    with _LOCK:
        for module in ASKING:
            if not hasattr(module.is_in_ipython, "__wrapped__"):
                module.is_in_ipython = _unless_ordinary(module.is_in_ipython)
    before = _ordinary.set(True)
    try:
        yield
    finally:
        _ordinary.reset(before)


def _unless_ordinary(is_in_ipython: Callable[[], bool]) -> Callable[[], bool]:
    @functools.wraps(is_in_ipython)
    def answer() -> bool:
        return not _ordinary.get() and is_in_ipython()

    return answer
