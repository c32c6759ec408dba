"""Conditions that no alert meets, or every one: constants, and ranges of one field that exclude each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime

from alerts.filters.findings import Finding
from alerts.filters.tree import Literal, Node, Operation, Path, walk
from alerts.filters.write import text_of

_TURNED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq"}
Bound = float | int | str | date | datetime


@dataclass(frozen=True)
class _Range:
    """What one comparison lets through of a field."""

    node: Node
    low: Bound | None = None
    high: Bound | None = None
    is_open: bool = False
    """Whether its bound is not within."""


def contradictions(where: Node) -> Iterator[Finding]:
    """Of each AND the comparisons that exclude each other, of each OR those that leave nothing out, and constant conditions."""
    for node in walk(where):
        if not isinstance(node, Operation) or node.name not in ("and", "or"):
            continue
        for path, ranges in _by_path(node.arguments).items():
            yield from (_excluding if node.name == "and" else _covering)(path, ranges)
    if not any(isinstance(node, Path) for node in walk(where)) and not _has_arrays(where):
        yield Finding("the condition asks for no field: it is the same for all alerts", where.at, is_error=True)


def _has_arrays(where: Node) -> bool:
    return any(not isinstance(node, (Literal, Path, Operation)) for node in walk(where))


def _by_path(arguments: Iterable[Node]) -> dict[Path, list[_Range]]:
    found: dict[Path, list[_Range]] = {}
    for argument in _flat(arguments):
        path, made = _range(argument)
        if path is not None and made is not None:
            found.setdefault(path, []).append(made)
    return found


def _flat(arguments: Iterable[Node]) -> Iterator[Node]:
    """BETWEEN is an AND of two within one."""
    for argument in arguments:
        if isinstance(argument, Operation) and argument.name == "and":
            yield from _flat(argument.arguments)
        else:
            yield argument


def _range(node: Node) -> tuple[Path | None, _Range | None]:
    if not isinstance(node, Operation) or node.name not in _TURNED:
        return None, None
    first, second = node.arguments
    name = node.name
    if isinstance(first, Literal):
        first, second, name = second, first, _TURNED[name]
    if not (isinstance(first, Path) and isinstance(second, Literal)) or second.value is None:
        return None, None
    bound = second.value
    if isinstance(bound, bool):
        return None, None
    low = bound if name in ("gt", "ge", "eq") else None
    high = bound if name in ("lt", "le", "eq") else None
    return first, _Range(node, low, high, name in ("lt", "gt"))


def _excluding(path: Path, ranges: list[_Range]) -> Iterator[Finding]:
    for one_range, another in itertools.permutations(ranges, 2):
        low, high = one_range.low, another.high
        if low is None or high is None:
            continue
        if low > high or (low == high and (one_range.is_open or another.is_open)):  # type: ignore[operator]
            told = f"{text_of(one_range.node)} and {text_of(another.node)}".replace("alerts.", "")
            yield Finding(f"no alert is {told}: the condition is never true", another.node.at, is_error=True)
            return
    del path


def _covering(path: Path, ranges: list[_Range]) -> Iterator[Finding]:
    for one_range, another in itertools.permutations(ranges, 2):
        low, high = one_range.low, another.high
        if low is None or high is None or one_range.high is not None or another.low is not None:
            continue
        if low < high or (low == high and not (one_range.is_open and another.is_open)):  # type: ignore[operator]
            told = f"{text_of(one_range.node)} or {text_of(another.node)}".replace("alerts.", "")
            name = ".".join(path.names)
            yield Finding(f"every alert with a {name} is {told}", another.node.at, is_error=True)
            return


def is_number(value: object) -> bool:
    """Whether a constant is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
