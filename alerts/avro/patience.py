"""When the compiled decoder begins: once fastavro has taken as long as that beginning would.

numba and what it has compiled before take half a second to load, and on a machine that has kept nothing compiling takes some
seconds. A run of twenty alerts is over before that. So packets are read by fastavro first, which gives equal rows, and whatever
the length of a run, no more than about twice the shorter way is spent on its start (``docs/decisions/0012``).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from alerts.avro import machine

LOADING_SECS = 0.4
"""CPU of fastavro after which what was compiled before is loaded."""
COMPILING_SECS = 2.0
"""CPU of fastavro after which a machine that has kept nothing compiles."""


class FastavroFirst:
    """What fastavro has taken in this process, and whether that is enough."""

    def __init__(self, kept: Callable[[], bool], clock: Callable[[], float] = time.thread_time) -> None:
        """``kept`` tells whether this machine has compiled before; it is asked once, after ``LOADING_SECS``."""
        self._kept, self._clock = kept, clock
        self._lock = threading.Lock()
        self._spent_secs, self._enough_secs = 0.0, LOADING_SECS
        self._asked = False

    @property
    def compiled(self) -> bool:
        """Whether packets are for the compiled decoder from now on."""
        if self._spent_secs < self._enough_secs:
            return False
        with self._lock:
            if not self._asked:
                self._asked = True
                self._enough_secs = LOADING_SECS if self._kept() else COMPILING_SECS
            return self._spent_secs >= self._enough_secs

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Count the CPU of this thread, in fastavro."""
        begin = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self._spent_secs += self._clock() - begin

    def begin(self) -> None:
        """Compile, or load, with the next packets."""
        with self._lock:
            self._asked, self._spent_secs, self._enough_secs = True, 1.0, 0.0


def _kept_here() -> bool:
    """Whether numba has kept the decoder on this machine: maybe of another release, but then it is compiled all the same."""
    folder = Path(machine.run.dispatcher.stats.cache_path)
    return any(folder.glob("machine.run-*.nbi"))


PATIENCE = FastavroFirst(_kept_here)
"""That of this process."""
