"""Filters that an operator writes in Python: ``NAME.py`` with ``passes(alerts: pa.RecordBatch) -> pa.BooleanArray``.

Such a text is executed. It is taken only from the folder that an operator names, never from anybody else, and only by runs: no
database can run it.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.filters.errors import FilterError
from alerts.filters.judge import MOST_TOLD, Judged
from alerts.filters.text import FilterText

Passes = Callable[[pa.RecordBatch], Any]


class OutOfTime(BaseException):
    """A filter has taken too long. Not an ``Exception``: what a filter catches must not be this."""


@dataclass(frozen=True)
class PythonAnswer:
    """What a filter in Python says of a batch."""

    judged: Judged
    spent_secs: float
    stopped: str = ""
    """Why it was stopped, where it was: it is not to be asked again."""


def compiled(text: FilterText) -> Passes:
    """The function of a filter. Executes the text. Raises ``FilterError``."""
    return _compiled(text.name, text.text)


@functools.lru_cache(maxsize=256)
def _compiled(name: str, text: str) -> Passes:
    names: dict[str, Any] = {"__name__": f"filter_{name}"}
    try:
        exec(compile(text, f"{name}.py", "exec"), names)  # noqa: S102 - the operator's own text, from the folder he named
    except BaseException as error:  # whatever it does when it is read, its own sys.exit among it
        if isinstance(error, KeyboardInterrupt):
            raise
        raise FilterError(f"{name}.py cannot be read: {_told(error)}") from error
    passes = names.get("passes")
    if not callable(passes):
        raise FilterError(f"{name}.py has no function passes(alerts: pa.RecordBatch) -> pa.BooleanArray")
    return passes  # type: ignore[no-any-return]


def version_of_python(text: str) -> str:
    """12 hexadecimal digits that stand for a filter's text, comments too."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ask(passes: Passes, alerts: pa.RecordBatch, limit_secs: float) -> PythonAnswer:
    """What a filter says of alerts, within so much time; what raises is halved until the alert is found.

    It runs in a thread of its own: a function that waits for ever is left behind, one that computes for ever is interrupted.
    """
    asked = _Asked(passes, apart(alerts))
    asked.start()
    asked.join(limit_secs)
    if asked.is_alive():
        asked.interrupt()
        stopped = f"it has taken longer than {limit_secs:,.1f} s over {alerts.num_rows:,} alerts"
        return PythonAnswer(_failed(alerts.num_rows, stopped), limit_secs, stopped)
    assert asked.found is not None
    return PythonAnswer(asked.found, asked.spent_secs)


class _Asked(threading.Thread):
    def __init__(self, passes: Passes, alerts: pa.RecordBatch) -> None:
        super().__init__(daemon=True)
        self._passes, self._alerts = passes, alerts
        self.found: Judged | None = None
        self.spent_secs = 0.0

    def run(self) -> None:
        began, count = time.thread_time(), self._alerts.num_rows
        passed, rejected, by_null = masks = tuple(np.zeros(count, np.bool_) for _ in range(3))
        failures: dict[int, str] = {}
        try:
            self._ask(self._alerts, 0, masks, failures)
        except OutOfTime:
            return
        except BaseException as error:  # it must not end in silence, whatever it is
            failures = dict.fromkeys(range(count), _told(error))
            passed, rejected, by_null = (np.zeros(count, np.bool_) for _ in range(3))
        self.found = Judged(passed, rejected, by_null, failures, ())
        self.spent_secs = time.thread_time() - began

    def _ask(self, alerts: pa.RecordBatch, begin: int, masks: tuple[np.ndarray, ...], failures: dict[int, str]) -> None:
        try:
            data, known = _bools(self._passes(alerts), alerts.num_rows)
        except OutOfTime:
            raise
        except BaseException as error:  # whatever it is, its own sys.exit among it: it is this filter's and these alerts' alone
            if alerts.num_rows <= 1:
                failures[begin] = _told(error)
                return
            half = alerts.num_rows // 2
            self._ask(alerts.slice(0, half), begin, masks, failures)
            self._ask(alerts.slice(half), begin + half, masks, failures)
            return
        here = slice(begin, begin + alerts.num_rows)
        for mask, values in zip(masks, (data & known, ~(data & known), ~known), strict=True):
            mask[here] = values

    def interrupt(self) -> None:
        """Raise ``OutOfTime`` in it, when it next runs Python."""
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident or 0), ctypes.py_object(OutOfTime))


def apart(alerts: pa.RecordBatch) -> pa.RecordBatch:
    """A copy that nobody can write to: a filter must not change what is stored."""
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, alerts.schema) as writer:
        writer.write_batch(alerts)
    return pa.ipc.open_stream(out.getvalue().to_pybytes()).read_next_batch()


def _told(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:MOST_TOLD]
    except BaseException:  # its own __str__ is the filter's, too
        return type(error).__name__


def _bools(found: Any, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth values and which of them are known. Raises ``TypeError`` where they are none, or not so many."""
    array = found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found
    if not isinstance(array, pa.Array):
        array = pa.array(array)
    if not pa.types.is_boolean(array.type) or len(array) != count:
        raise TypeError(f"passes gave {len(array):,} values of type {array.type} for {count:,} alerts; it gives a BOOL for each")
    known = np.asarray(array.is_valid())
    return np.asarray(array.fill_null(False)), known


def _failed(count: int, why: str) -> Judged:
    none = np.zeros(count, np.bool_)
    return Judged(none, none, none, dict.fromkeys(range(count), why), ())
