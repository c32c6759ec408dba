"""What is told to end finishes what it is at: an event that SIGTERM, the first Ctrl-C, or a clock sets."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def ending_event(after_secs: float | None) -> Iterator[threading.Event]:
    """An event that is set by SIGTERM, by the first Ctrl-C (a second one interrupts), and after some seconds."""
    ending = threading.Event()
    timer = threading.Timer(after_secs, ending.set) if after_secs else None
    before: dict[int, Any] = {}

    def end(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and ending.is_set():
            raise KeyboardInterrupt
        ending.set()

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    if timer:
        timer.daemon = True
        timer.start()
    try:
        yield ending
    finally:
        if timer:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
