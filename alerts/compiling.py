"""Functions that numba compiles, without loading numba before one of them is called: a small run calls none of them.

    python -m alerts.compiling

compiles all of them, for whoever starts here later: in an image, say, before it is given to workers.
"""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Compiled = Any  # numba's dispatchers; it tells no type checker what they take


@dataclass(frozen=True)
class Elsewhere:
    """What compiled functions call by a global name, and another module has: imported when they are compiled."""

    module: str
    name: str

    @property
    def part(self) -> Compiled:
        """What that module has under the name."""
        return getattr(importlib.import_module(self.module), self.name)

    @property
    def plain(self) -> Compiled:
        """The same: only numba's own functions are named so."""
        return self.part


class Later:
    """A function that numba compiles at its first call, or loads as an earlier process has kept it.

    Functions that it calls by global names and that are ``Later`` or ``Elsewhere`` become part of it, and are kept with it and
    not by themselves. What is called from Python has one signature. So all that two processes can do to each other that
    compile at the same time is to write the same file twice: numba numbers the signatures of a function as they come, and where
    there are several, two processes may give one number to two of them.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """Call it, compiled."""
        return self.dispatcher(*arguments)

    @functools.cached_property
    def dispatcher(self) -> Compiled:
        """The function as numba has it, to be called from Python."""
        return self._compiled(keep=True)

    @functools.cached_property
    def part(self) -> Compiled:
        """The same, to be called from what is compiled."""
        return self._compiled(keep=False)

    @functools.cached_property
    def plain(self) -> Callable[..., Any]:
        """The same as Python runs it, with all that it calls: slower, but at once."""
        return self._calling({name: value.plain for name, value in self._called().items()})

    def _called(self) -> dict[str, Any]:
        """What it calls that numba compiles, by its names."""
        names = {name: self._function.__globals__.get(name) for name in self._function.__code__.co_names}
        return {name: value for name, value in names.items() if isinstance(value, Later | Elsewhere)}

    def _calling(self, parts: dict[str, Any]) -> Callable[..., Any]:
        """A copy with other ones of these: of the module's names, in which numba finds what it has compiled."""
        function = self._function
        whole = types.FunctionType(function.__code__, {**function.__globals__, **parts}, function.__name__, function.__defaults__)
        whole.__module__, whole.__qualname__ = function.__module__, function.__qualname__
        return whole

    def _compiled(self, keep: bool) -> Compiled:
        import numba  # noqa: PLC0415 - a quarter of a second

        whole = self._calling({name: value.part for name, value in self._called().items()})
        return numba.njit(cache=keep, nogil=True)(whole)


def later(function: Callable[..., Any]) -> Any:
    """See ``Later``."""
    return Later(function)


def compile_all() -> None:
    """Call each function that numba compiles, on next to nothing: what it makes of them is kept on disk."""
    importlib.import_module("alerts.avro.patience").PATIENCE.begin()
    rooms = ("alerts.avro.machine", "alerts.avro.weigh", "alerts.avro.encode", "alerts.catalogs.files.sky_index")
    for name in (*rooms, "alerts.features.once", "alerts.features.curves"):
        importlib.import_module(name).compile_now()


def main() -> int:
    """Compile them; gives the exit status."""
    compile_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
