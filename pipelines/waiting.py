"""Waiting for the end of a run, wherever it runs; and ending it, so that no job is left behind."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable

from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines.interrupts import Interrupts
from pipelines.job import Job
from warehouses.reachable import told

_LOG = logging.getLogger(__name__)
_LOOK_SECS = 1.0
_MOST_LOOK_SECS = 5.0
"""A job elsewhere may take minutes to end, and its service is asked no more often than this."""
_SAY_EVERY_SECS = 60.0
_TRIES = 10
"""Questions for a job's state, one a second, before its service counts as gone."""
_FAILURE_SECS = 1.5
"""What failed while a run ended is told within this time, or not at all."""


class NotEnded(RuntimeError):
    """A job whose end nobody here has seen."""


def wait(
    result: PipelineResult,
    job: Job,
    came: Interrupts | None = None,
    look: Callable[[PipelineResult], None] = lambda _: None,
) -> None:
    """Wait for the end of a run; end it when its time is over or it is interrupted, and wait for that, too.

    ``look`` is called now and then meanwhile. Raises what made the run fail, and ``KeyboardInterrupt`` of an interrupted run
    that would have ended by itself.
    """
    try:
        # Not before: an interrupt between here and the submission would leave the job to itself.
        if came is not None:
            came.heed()
        waiting = _Waiting(result)
        ended = waiting.until(job.stop_after_secs, look)
        if not ended:
            end(result)
    except KeyboardInterrupt:
        end(result)
        if job.bounded:
            raise
        return
    state = waiting.outcome(stopped=not ended)
    if job.bounded and state != PipelineState.DONE:
        why = "" if ended else f", after the {job.stop_after_secs:g} s of --stop_after_secs"
        raise RuntimeError(f"the job ended as {state}{why}")


def end(result: PipelineResult) -> None:
    """Cancel a job, and wait until it is in a state that it does not leave: until then it may write.

    Raises ``NotEnded`` where its service does not say so; a second interrupt ends the waiting.
    """
    said = -_SAY_EVERY_SECS
    if not PipelineState.is_terminal(_state(result)):
        try:
            result.cancel()
        except Exception as error:
            raise NotEnded(f"the job could not be cancelled, and may go on; look where it runs: {_why(error)}") from error
    wait_secs = _LOOK_SECS / 5
    while not PipelineState.is_terminal(state := _state(result)):
        if time.monotonic() - said >= _SAY_EVERY_SECS:
            said = time.monotonic()
            _LOG.warning("the job is to be cancelled and is %s; waiting for its end", state)
        time.sleep(wait_secs)
        wait_secs = min(1.5 * wait_secs, _MOST_LOOK_SECS)


def _state(result: PipelineResult) -> str:
    """The state of a job. Raises ``NotEnded`` where its service does not tell."""
    tries = itertools.count(1)
    while True:
        try:
            state: str = result.state
            return state
        except Exception as error:
            if next(tries) == _TRIES:
                raise NotEnded(
                    f"what became of the job cannot be told, and it may go on; look where it runs: {_why(error)}"
                ) from error
            time.sleep(_LOOK_SECS)


def _why(error: Exception) -> str:
    """An error in a few words: of a call of a job server what that has to say."""
    details = getattr(error, "details", None)
    return str(details()) if callable(details) else told(error)


class _Waiting:
    """Beam's own waiting, on a thread: not every runner can be asked to wait for some seconds, nor be interrupted."""

    def __init__(self, result: PipelineResult) -> None:
        self._result = result
        self._failures: list[Exception] = []
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        try:
            self._result.wait_until_finish()
        except Exception as error:
            self._failures.append(error)

    def until(self, secs: float | None, look: Callable[[PipelineResult], None]) -> bool:
        """Whether the run has ended within so many seconds."""
        last = time.monotonic() + secs if secs is not None else None
        while not self._ended():
            left = last - time.monotonic() if last is not None else _LOOK_SECS
            if left <= 0:
                return False
            self._thread.join(min(left, _LOOK_SECS))
            look(self._result)
        return True

    def _ended(self) -> bool:
        """Whether the waiting is over, and rightly: what a connection makes of it is not the job's end."""
        if self._thread.is_alive():
            return False
        if not self._failures or PipelineState.is_terminal(_state(self._result)):
            return True
        time.sleep(_LOOK_SECS)
        return False

    def outcome(self, stopped: bool) -> str:
        """The state at the end. Raises what made the run fail; that somebody has stopped it is no failure of its own."""
        self._thread.join(_FAILURE_SECS if stopped else None)
        state = _state(self._result)
        if self._failures and not (state == PipelineState.DONE or (stopped and state == PipelineState.CANCELLED)):
            raise self._failures[0]
        return state
