"""A progress line on stderr while a local run works."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

from pipelines.job import Job
from pipelines.logs import JSON
from transforms.progress import total

_TERMINAL_EVERY_SECS = 1.0
_LOG_EVERY_SECS = 30.0
_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def progress_line(job: Job, stream: TextIO | None = None) -> Iterator[None]:
    """Show how many alerts are done, while the body runs: every second on a terminal, else every half minute."""
    stream = stream or sys.stderr
    if job.progress_folder is None:
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=_show, args=(job, stream, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _show(job: Job, stream: TextIO, done: threading.Event) -> None:
    terminal = stream.isatty() and job.log_format != JSON
    begin = time.monotonic()
    shown = False
    while not done.wait(_TERMINAL_EVERY_SECS if terminal else _LOG_EVERY_SECS):
        alerts, seconds = total(job.progress_folder or ""), time.monotonic() - begin
        if job.log_format == JSON:
            _LOG.info("%d alerts are done", alerts, extra={"alerts": alerts, "inputs": job.inputs, "seconds": round(seconds, 1)})
            continue
        line = f"{alerts:,} alerts{_of(job.inputs)}, {alerts / seconds:,.0f}/s, {seconds:,.0f} s"
        stream.write(f"\r{line:<70}" if terminal else f"{line}\n")
        stream.flush()
        shown = terminal
    if shown:
        stream.write("\r" + " " * 70 + "\r")
        stream.flush()


def _of(inputs: int) -> str:
    return f" of {inputs:,} input{'s' * (inputs != 1)}" if inputs else ""
