"""Functions in a new process: neither what ran before nor what comes after has part in what is measured there."""

from __future__ import annotations

import logging
import multiprocessing
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def apart(function: Callable[..., Any], *given: Any) -> Any:
    """What ``function`` gives, in a new process, of a module that it can import."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=quiet) as process:
        return process.submit(function, *given).result()


def quiet() -> None:
    """No warnings of libraries, and of Beam only errors."""
    warnings.simplefilter("ignore")
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
