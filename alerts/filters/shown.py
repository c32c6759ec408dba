"""What a filter's fields and subqueries are for one alert, for people: also what the packet has where that reads NULL."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from alerts.filters.judge import judge
from alerts.filters.steps import Steps
from alerts.filters.tree import NOWHERE, Literal, Node, Output, Path, Query, Subquery, children
from alerts.filters.write import text_of

_MOST_SHOWN = 110
_ALL = Literal("BOOL", NOWHERE, True)


@dataclass(frozen=True)
class Shown:
    """A value that a filter asks for."""

    name: str
    """As it is written."""
    value: Any
    """As filters see it; None is NULL."""
    sent: Any = None
    """What the row has in its place, where that is something else."""

    @property
    def text(self) -> str:
        """``candidate.ssdistnr = NULL, where the packet has -999.0``."""
        told = f"{self.name} = {as_text(self.value)}"
        return told if self.sent is None else f"{told}, where the packet has {as_text(self.sent)}"


def written(node: Node) -> str:
    """An expression as people write it, shortened where it is long."""
    told = text_of(node).replace("alerts.", "")
    inner = told[1:-1]
    if told.startswith("(") and not isinstance(node, Subquery) and _is_closed(inner):
        told = inner
    return told if len(told) <= _MOST_SHOWN else f"{told[: _MOST_SHOWN - 3]}..."


def _is_closed(text: str) -> bool:
    """Whether no parenthesis of a text closes one before it."""
    depth = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            return False
    return True


def values_of(term: Node, alert: pa.RecordBatch) -> tuple[Shown, ...]:
    """What the fields and subqueries of a term are for the one alert of a batch, each once; none where they cannot be told."""
    asked = list(dict.fromkeys(_asked(term)))
    columns = tuple(Output(str(number), node) for number, node in enumerate(asked))
    judged = judge(alert, Steps({"": Query(_ALL, columns)}))[""]
    if judged.failures:
        return ()
    found = zip(asked, judged.columns, strict=True)
    return tuple(Shown(written(node), column[0].as_py(), _sent(node, column[0].as_py(), alert)) for node, column in found)


def _asked(node: Node) -> Iterator[Node]:
    """Fields of the alert and subqueries over its arrays, as far out as they stand."""
    if isinstance(node, (Path, Subquery)):
        yield node
        return
    for child in children(node):
        yield from _asked(child)


def _sent(node: Node, value: Any, alert: pa.RecordBatch) -> Any:
    """What the row has for a field that reads NULL, or TRUE and FALSE for texts; None where that is the value itself."""
    if not isinstance(node, Path) or (value is not None and node.last.truths is None):
        return None
    names: Sequence[str] = node.names
    if node.last.scale is not None:
        names = (*names[:-1], node.last.scale[0])
    held: Any = alert.column(names[0])[0].as_py() if names[0] in alert.schema.names else None
    for name in names[1:]:
        held = held.get(name) if isinstance(held, dict) else None
    return None if held is value else held


def as_text(value: Any) -> str:
    """A value in SQL's words; numbers with as many digits as tell them apart."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    return repr(value) if isinstance(value, (str, int, float)) else str(value)
