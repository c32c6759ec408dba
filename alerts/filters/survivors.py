"""A filter's terms over many alerts: how many each has let through, and how many it alone has kept from passing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from alerts.filters.terms import TermAnswers


@dataclass
class TermCounts:
    """Numbers of alerts, counted from masks; the first four are all that were seen."""

    true: int = 0
    false: int = 0
    null: int = 0
    failed: int = 0
    left: int = 0
    """Of which it and all terms before it are TRUE."""
    alone: int = 0
    """That would have passed without it: all other terms are TRUE."""


@dataclass
class Survivors:
    """The terms' counts, batch after batch."""

    terms: list[TermCounts] = field(default_factory=list)
    seen: int = 0
    passed: int = 0

    def add(self, answers: Sequence[TermAnswers]) -> None:
        """Count the answers about one batch."""
        if not self.terms:
            self.terms = [TermCounts() for _ in answers]
        true = np.array([answer.judged.passed for answer in answers], np.bool_)
        number = np.count_nonzero(true, axis=0)
        left = np.logical_and.accumulate(true, axis=0)
        for place, (counts, answer) in enumerate(zip(self.terms, answers, strict=True)):
            told = answer.judged.counts
            counts.true += told["passed"]
            counts.false += told["rejected"] - told["rejected_by_null"]
            counts.null += told["rejected_by_null"]
            counts.failed += told["failed"]
            counts.left += int(np.count_nonzero(left[place]))
            counts.alone += int(np.count_nonzero(~true[place] & (number == len(answers) - 1)))
        self.seen += true.shape[1]
        self.passed += int(np.count_nonzero(left[-1]))
