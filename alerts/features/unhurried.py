"""Functions that numba compiles, as Python runs them until that is worth its time: the first alerts of a run, or the only ones.

They give the same to the bit, so that they may be written with no operation that numba and Python round differently: ``x * x``,
and not ``x ** 2``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from alerts.avro.patience import PATIENCE
from alerts.compiling import Later

_FEW = 50_000
"""So many points take some tenths of a second; more are not begun without numba."""


class Unhurried(Later):
    """A function of arrays that is compiled when the decoder is (``alerts.avro.patience``), or for many numbers at once."""

    def __call__(self, *arguments: Any) -> Any:
        """Call it."""
        points = max(len(argument) for argument in arguments if isinstance(argument, np.ndarray) and argument.ndim == 1)
        if PATIENCE.compiled or points > _FEW:
            return super().__call__(*arguments)
        with PATIENCE.spending(), np.errstate(all="ignore"):
            return self.plain(*arguments)


def unhurried(function: Callable[..., Any]) -> Any:
    """See ``Unhurried``."""
    return Unhurried(function)
