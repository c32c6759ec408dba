"""A filter over nights of a warehouse: what it says of the alerts of each, and what that takes."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date

from alerts.filters.judge import judge
from alerts.filters.steps import Steps
from alerts.surveys import survey
from broker.filtering.reading import FilterFile
from broker.filtering.sampled import PassedSample
from pipelines.nights import nights
from warehouses.filter_rows import FilterRows
from warehouses.warehouse import Warehouse

_MOST_FAILURES = 3


class JudgedNights:
    """A filter over the nights of one survey."""

    def __init__(self, asked: FilterFile, opened: Warehouse, name: str, sampled: int = 0) -> None:
        query = asked.queries[name]
        self._rows = FilterRows(opened, survey(name), [query], also=asked.asked_lists(name).columns(survey(name)))
        self._asked, self._survey = asked, name
        self.sample = PassedSample(sampled, query.columns)
        """Of the alerts that have passed."""
        self._opened, self._program = opened, Steps({"": query})
        self._failures = list[str]()
        self._is_warm = False

    def asked_for(self, text: str | None) -> dict[date, int]:
        """The nights that ``--night`` names, or the newest, and how many rows they have. Raises ``QueryError``."""
        newest = None if text else self._rows.newest_night()
        return self._rows.nights((newest, newest) if newest else nights(text))

    def judged(self, found: Mapping[date, int]) -> Iterator[tuple[date, Counter[str], float]]:
        """Of each night the counts (``alerts.filters.judge.Judged.counts``), and the CPU seconds of judging alone."""
        for night, number in found.items():
            counts, secs = Counter[str](), 0.0
            for stored in self._rows.of_night(night, number):
                batch = self._asked.with_lists(self._survey, stored)
                if not self._is_warm:
                    # What is done once in a process is not what the filter costs.
                    judge(batch, self._program)
                    self._is_warm = True
                # Of this thread: others read ahead meanwhile.
                begin = time.thread_time()
                judged = judge(batch, self._program)[""]
                secs += time.thread_time() - begin
                counts.update(judged.counts)
                self.sample.add(batch, judged)
                for row, why in list(judged.failures.items())[: _MOST_FAILURES - len(self._failures)]:
                    self._failures.append(f"alert {batch.column('alert_id')[row].as_py()} failed: {why}")
            yield night, counts, secs

    def say(self) -> None:
        """What is to be known beside the counts."""
        for failure in self._failures:
            print(failure, file=sys.stderr)
        say_what_lacks(self._rows, self._opened)


def say_what_lacks(rows: FilterRows, opened: Warehouse) -> None:
    """A warning where alerts have no features, or no catalog was asked about them, and the filter asks for such."""
    if rows.without_features:
        print(
            f"warning: {rows.without_features:,} alerts have no features of the present version, which read NULL; "
            f"broker features --warehouse {opened.uri} computes them where histories are stored",
            file=sys.stderr,
        )
    if rows.without_matches:
        print(
            f"warning: no catalog has been asked about {rows.without_matches:,} alerts, which have no matches; "
            f"broker rematch --warehouse {opened.uri} --crossmatch CATALOG asks",
            file=sys.stderr,
        )
