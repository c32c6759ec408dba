"""Ctrl-C and SIGTERM while a job is handed to a service: nobody leaves between "it is submitted" and "I know its id"."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Interrupts:
    """What came while a job was submitted, to be heeded once it is in hand; a second one is heeded at once."""

    def __init__(self) -> None:
        self._held, self._came = False, False
        self._meant: dict[int, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Remember the first interrupt instead of raising it, until ``heed`` is called: by who would cancel the job."""
        self._meant = _handlers()
        self._held = True
        try:
            yield
        finally:
            self._held = False
            _set(self._meant)

    def heed(self) -> None:
        """From now on interrupts are raised as they come. Raises ``KeyboardInterrupt`` where one has come meanwhile."""
        # Beam's servers on this machine put themselves before the handler of SIGINT and die first, the job with them.
        _set(self._meant)
        self._held = False
        if self._came:
            self._came = False
            raise KeyboardInterrupt

    def take(self, number: int, frame: FrameType | None) -> None:
        """As a handler of a signal."""
        if self._held and not self._came:
            self._came = True
            return
        raise KeyboardInterrupt


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """SIGTERM interrupts as Ctrl-C does, unless who calls has plans of its own for them."""
    mine = Interrupts()
    before = {number: handler for number, handler in _handlers().items() if handler in _PYTHONS_OWN}
    _set(dict.fromkeys(before, mine.take))
    try:
        yield mine
    finally:
        _set(before)


_PYTHONS_OWN = (signal.SIG_DFL, signal.default_int_handler)


def _handlers() -> dict[int, Any]:
    """By number; none outside of the main thread, where none can be set."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}


def _set(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
