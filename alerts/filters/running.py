"""Filters in a process that runs them batch after batch: what they took, and which are put aside since that was too much."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping

import pyarrow as pa

from alerts.filters import python_form
from alerts.filters.batches import Batch
from alerts.filters.filter_set import Compiled
from alerts.filters.inputs import UsedField, catalogs_named
from alerts.filters.judge import Judged, judged
from alerts.filters.unanswered import without_unanswered
from alerts.limits import MAX_FILTER_US
from alerts.lists.columns import ListColumns, WithLists

_AT_FIRST_SECS = 2.0
"""What it may take besides: the first alerts come with imports and small batches."""
_LEAST_SECS = 0.5
"""What one in Python may take of a batch in any case, by the clock: the machine may do something else meanwhile."""


class Running:
    """The filters of one survey's alerts; several threads of a process may ask at once."""

    def __init__(self, compiled: Compiled, lists: ListColumns | None = None, max_us: float = MAX_FILTER_US) -> None:
        """``lists``: of one's own, which the filters may ask about; ``max_us``: what each may take of an alert, microseconds."""
        self._compiled, self._lists, self._max_secs = compiled, lists, max_us / 1e6
        self._spent_secs: dict[str, float] = defaultdict(float)
        self._alerts = 0
        self._counting = threading.Lock()
        self.put_aside: dict[str, str] = {}
        """Filters that are not asked any more, and why."""

    def judge(
        self, alerts: pa.RecordBatch, only: Collection[str] | None = None, *, among: int | None = None
    ) -> dict[str, Judged]:
        """What those filters say that are still asked; ``alerts`` as ``alerts.filters.batches.Batch`` takes them.

        What a filter takes is counted to it, but for parts that another has asked for before it in the same batch. ``only``: of
        these names; ``among``: for so many alerts it may take its time, of which these are some.
        """
        told = self._lists.add(alerts) if self._lists else WithLists(alerts, {})
        batch = Batch(told.alerts, self._compiled.program)
        names = self._compiled.names if only is None else [name for name in self._compiled.names if name in only]
        asked = [name for name in names if name not in self.put_aside]
        with self._counting:
            self._alerts += alerts.num_rows if among is None else among
        return {name: self._ask(name, told, batch) for name in asked}

    def _ask(self, name: str, told: WithLists, batch: Batch) -> Judged:
        alerts = told.alerts
        if name in self._compiled.functions:
            return self._ask_python(name, alerts).failing(self._unknown(name, told))
        began = time.thread_time()
        found = judged(alerts, batch, self._compiled.program, name)
        if "matches" in self._compiled.asked(name):
            found = without_unanswered(alerts, found, catalogs_named(self._compiled.queries[name]))
        found = found.failing(self._unknown(name, told))
        self._spent(name, time.thread_time() - began)
        return found

    def _unknown(self, name: str, told: WithLists) -> dict[int, str]:
        """Why it fails on all alerts, where it asks about a list that cannot be had."""
        asked = self._compiled.used_by.get(name)
        whys = [why for (column, field), why in told.problems.items() if asked is None or field in _fields(asked, column)]
        return dict.fromkeys(range(told.alerts.num_rows), whys[0]) if whys else {}

    def _ask_python(self, name: str, alerts: pa.RecordBatch) -> Judged:
        allowed = max(_LEAST_SECS, self._allowed_secs - self._spent_secs[name])
        answer = python_form.ask(python_form.compiled(self._compiled.functions[name]), alerts, allowed)
        self._spent(name, answer.spent_secs)
        if answer.stopped:
            self.put_aside.setdefault(name, answer.stopped)
        return answer.judged

    @property
    def _allowed_secs(self) -> float:
        return _AT_FIRST_SECS + self._max_secs * self._alerts

    def _spent(self, name: str, secs: float) -> None:
        with self._counting:
            self._spent_secs[name] += secs
            spent, alerts, allowed = self._spent_secs[name], self._alerts, self._allowed_secs
        if spent > allowed:
            told = f"it took {1e6 * spent / max(1, alerts):,.0f} us of each of {alerts:,} alerts"
            self.put_aside.setdefault(name, f"{told}, and may take {1e6 * self._max_secs:,.0f}")


def _fields(used: Mapping[str, UsedField], column: str) -> Collection[str]:
    return used[column].fields if column in used else ()
