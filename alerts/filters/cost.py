"""What a filter costs, estimated from what it asks: the same on every machine and in every run.

Each step of a filter takes some time for a batch and some for each of its rows: an alert, or an entry of an array of it. The
weights below are microseconds that ``python -m benchmarks.filter_costs`` has measured, beside decoding in the same process; only
their ratio counts. That command prints what a machine measures beside what stands here. What a batch costs whoever asks (some
0.015 times decoding it, once for all filters), and what a filter shares with others, is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alerts.filters.findings import Finding
from alerts.filters.steps import Context, Step, Steps
from alerts.filters.terms import terms_of
from alerts.filters.tree import Literal as Constant
from alerts.filters.tree import Operation, Path, Query, Subquery
from alerts.surveys import Survey

Kind = Literal[
    "constant", "field", "text field", "operation", "function", "text operation", "one by one", "entries", "aggregate", "first"
]


@dataclass(frozen=True)
class StepWeight:
    """Microseconds of a step."""

    batch: float
    """Whatever the number of rows."""
    row: float


WEIGHTS: dict[Kind, StepWeight] = {
    "constant": StepWeight(4, 0.007),
    "field": StepWeight(9, 0.004),
    "text field": StepWeight(50, 0.02),
    "operation": StepWeight(2.5, 0.0003),
    "function": StepWeight(23, 0.008),
    "text operation": StepWeight(45, 0.007),
    "one by one": StepWeight(30, 0.8),
    "entries": StepWeight(130, 0.008),
    "aggregate": StepWeight(70, 0.01),
    "first": StepWeight(70, 0.09),
}
"""Of 29 November 2026, on two cores that were shared with other work."""
_ONE_BY_ONE = ("to_float", "json_value", "json_float")
"""Functions that go through texts row by row, in Python."""
_FUNCTIONS = ("sqrt", "ln", "log10", "exp", "sin", "cos", "tan", "pow", "atan2", "mod", "floor", "ceil", "case", "coalesce")
BATCH = 256
"""Alerts of a batch."""
ENTRIES = 30.0
"""Entries of an array: what a ZTF alert of a clear night has in prv_candidates, and a simulated one of LSST."""
FEW_ENTRIES = 2.0
"""Of matches, and of the sources of each."""
DECODING = {"ztf": 78.0, "lsst": 158.0}
"""Microseconds that decoding everything of an alert takes."""
_DECODING_OTHERS = 78.0
MUCH, MOST = 0.25, 1.0
"""Times decoding: a hundred filters together are to cost no more than decoding does, and one of plain columns costs 0.006."""


def kind_of(step: Step) -> Kind:
    """What kind of work a step is."""
    node = step.node
    if isinstance(node, Constant):
        return "constant"
    if isinstance(node, Path):
        return "text field" if node.type in ("STRING", "JSON") or node.last.truths is not None else "field"
    if isinstance(node, Subquery):
        return "first" if node.name == "first" else "aggregate"
    assert isinstance(node, Operation)
    if node.name in _ONE_BY_ONE:
        return "one by one"
    if "STRING" in (node.type, *(argument.type for argument in node.arguments)):
        return "text operation"
    return "function" if node.name in _FUNCTIONS else "operation"


def micros_per_alert(query: Query) -> float:
    """Microseconds on the machine of the weights, by itself, in batches of 256."""
    program = Steps({"": query})
    contexts = {inside[:depth] for step in program.steps for inside in [_inside(step)] for depth in range(1, len(inside) + 1)}
    spent = sum(_micros(WEIGHTS["entries"], _rows(context)) for context in contexts)
    for step, scalar in zip(program.steps, program.scalars, strict=True):
        if scalar is None:
            spent += _micros(WEIGHTS[kind_of(step)], _rows(_inside(step)))
    return spent


def over_decoding(query: Query, survey: Survey) -> float:
    """The cost of a filter in times decoding everything of an alert of the survey."""
    return micros_per_alert(query) / DECODING.get(survey.name, _DECODING_OTHERS)


def too_dear(query: Query, survey: Survey) -> Iterator[Finding]:
    """What there is to say of a filter that costs much; it points at the term that costs most."""
    cost = over_decoding(query, survey)
    if cost > MUCH:
        dearest = max(terms_of(query.where), key=lambda term: over_decoding(Query(term, ()), survey))
        share = over_decoding(Query(dearest, ()), survey)
        told = f"it costs {cost:.2g} times what decoding everything of an alert does, this part {share:.2g}"
        limit = f"{MOST:g} is the most" if cost > MOST else f"a hundred such filters would cost {100 * cost:.0f} times as much"
        yield Finding(f"{told}; {limit}", dearest.at, is_error=cost > MOST)


def _inside(step: Step) -> Context:
    """The rows that a step goes over: of a subquery the entries."""
    return (*step.context, *step.node.sources) if isinstance(step.node, Subquery) else step.context


def _rows(context: Context) -> float:
    """How many rows there are of each alert."""
    rows = 1.0
    for entries in context:
        rows *= FEW_ENTRIES if entries.names[-1] in ("matches", "sources") else ENTRIES
    return rows


def _micros(weight: StepWeight, rows: float) -> float:
    return weight.batch / BATCH + weight.row * rows
