"""A progress line on stderr while a run works: of one on this machine, and of a job elsewhere."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

from apache_beam.runners.runner import PipelineResult

from pipelines.job import Job
from pipelines.logs import JSON
from transforms import metrics
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


def elsewhere(job: Job, stream: TextIO | None = None) -> Callable[[PipelineResult], None]:
    """What is to be called again and again while a job works elsewhere: it tells its state and its alerts each half minute."""
    begin = last = time.monotonic()

    def look(result: PipelineResult) -> None:
        nonlocal last
        if job.progress_folder is not None or time.monotonic() - last < _LOG_EVERY_SECS:
            return
        last = time.monotonic()
        try:
            state = result.state
        except Exception:  # whoever waits for the job finds out
            return
        _tell(job, state, _decoded(result), last - begin, stream or sys.stderr)

    return look


def _decoded(result: PipelineResult) -> int | None:
    """Alerts that the job has decoded so far; None where its service says nothing of it before the end."""
    try:
        found = metrics.totals(result).by_label(metrics.ALERTS_DECODED)
    except Exception:  # not every service has them, or has them yet
        return None
    return sum(found.values()) if found else None


def _tell(job: Job, state: str, alerts: int | None, seconds: float, stream: TextIO) -> None:
    if job.log_format == JSON:
        about = {"state": state, "alerts": alerts, "inputs": job.inputs, "seconds": round(seconds, 1)}
        _LOG.info("the job is %s", state, extra=about)
        return
    counted = "" if alerts is None else f", {alerts:,} alerts{_of(job.inputs)}, {alerts / seconds:,.0f}/s"
    stream.write(f"the job is {state}{counted}, {seconds:,.0f} s\n")
    stream.flush()


def _of(inputs: int) -> str:
    return f" of {inputs:,} input{'s' * (inputs != 1)}" if inputs else ""
