"""The AND-terms of a filter, one by one: what each says of every alert, and which decided.

An alert passes where all terms are TRUE. Else the first that is not, in the order of the text, is the one that it is told by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from alerts.filters.judge import Judged, judge
from alerts.filters.shown import Shown, values_of, written
from alerts.filters.steps import Steps
from alerts.filters.tree import Node, Operation, Query

TRUE, FALSE, NULL, FAILED = "TRUE", "FALSE", "NULL", "failed"


def terms_of(where: Node) -> tuple[Node, ...]:
    """What a condition asks for, all of which must be TRUE; a BETWEEN is two of them."""
    if isinstance(where, Operation) and where.name == "and":
        return tuple(term for argument in where.arguments for term in terms_of(argument))
    return (where,)


@dataclass(frozen=True)
class TermAnswers:
    """What one term says of the alerts of a batch: of each exactly one of TRUE, FALSE, NULL and failed."""

    term: Node
    judged: Judged

    def of(self, row: int) -> str:
        """TRUE, FALSE, NULL or failed."""
        if row in self.judged.failures:
            return FAILED
        if self.judged.passed[row]:
            return TRUE
        return NULL if self.judged.by_null[row] else FALSE


@dataclass(frozen=True)
class ToldTerm:
    """A term for one alert."""

    term: Node
    answer: str
    """TRUE, FALSE, NULL or failed."""
    values: tuple[Shown, ...]
    """What it asks of the alert, and what that is."""
    error: str = ""
    """Why it has failed."""

    @property
    def why(self) -> str:
        """The values that made the answer, or the error."""
        return self.error or "; ".join(value.text for value in self.values)

    @property
    def sentence(self) -> str:
        """The term, its answer and why."""
        return f"{written(self.term)} is {self.answer}" + f" ({self.why})" * bool(self.why)


class Terms:
    """The terms of a filter, to be asked of batches (``alerts.filters.batches.Batch``)."""

    def __init__(self, query: Query) -> None:
        self.nodes = terms_of(query.where)
        self._program = Steps({str(number): Query(node, ()) for number, node in enumerate(self.nodes)})

    def answers(self, alerts: pa.RecordBatch) -> tuple[TermAnswers, ...]:
        """What each term says of the alerts, in the order of the text."""
        found = judge(alerts, self._program)
        return tuple(TermAnswers(node, found[str(number)]) for number, node in enumerate(self.nodes))

    def told(self, alert: pa.RecordBatch) -> tuple[ToldTerm, ...]:
        """Each term with its answer and its values, for the one alert of a batch."""
        return tuple(
            ToldTerm(answer.term, answer.of(0), values_of(answer.term, alert), answer.judged.failures.get(0, ""))
            for answer in self.answers(alert)
        )


def that_decides(told: Sequence[ToldTerm]) -> int | None:
    """The number of the term by which an alert did not pass: the first that is not TRUE; None where all are.

    One that has failed comes before all others: then there is no verdict.
    """
    answers = [term.answer for term in told]
    if FAILED in answers:
        return answers.index(FAILED)
    return next((number for number, answer in enumerate(answers) if answer != TRUE), None)
