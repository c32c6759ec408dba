"""What stands at a path of a decoded record: taken, looked at, filled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Path = tuple[str, ...]
"""Names of nested fields; ``[]`` stands for every item of the array before it."""


def pluck(record: Mapping[str, Any], path: Path) -> Any:
    """The value at a path without arrays; None where the record or one on the way is null."""
    value: Any = record
    for name in path:
        if value is None:
            return None
        value = value.get(name)
    return value


def take_values(record: Any, path: Path, leave_empty: bool = False) -> Any:
    """Remove and give the value at a path, a list of values where the path goes through an array.

    ``leave_empty`` leaves [] in place of an array, so that it is not taken for one that was null.
    """
    for position, name in enumerate(path[:-1]):
        if record is None:
            return None
        if name == "[]":
            return [take_values(item, path[position + 1 :], leave_empty) for item in record]
        record = record.get(name)
    if record is None:
        return None
    value = record.pop(path[-1], None)
    if leave_empty and value is not None:
        record[path[-1]] = []
    return value


def holds_null(record: Any, path: Path) -> bool:
    """Whether an array at a path, or one of the arrays there, has an item that is null."""
    for position, name in enumerate(path):
        if record is None:
            return False
        if name == "[]":
            return any(holds_null(item, path[position + 1 :]) for item in record)
        record = record.get(name)
    return record is not None and any(item is None for item in record)


def fill_arrays(record: Any, path: Path, at: str = "") -> Iterator[str]:
    """Put [] for the null or absent arrays at ``path``, and give the dotted path of each: ``diaObject.x``, ``a[2].b``."""
    for position, name in enumerate(path[:-1]):
        if record is None:
            return
        if name == "[]":
            for number, item in enumerate(record):
                yield from fill_arrays(item, path[position + 1 :], f"{at}[{number}].")
            return
        following = path[position + 1]
        at += name if following == "[]" else f"{name}."
        record = record.get(name)
    if record is not None and record.get(path[-1]) is None:
        record[path[-1]] = []
        yield at + path[-1]


def dotted(path: Path) -> str:
    """``("prv_candidates", "[]", "jd")`` as ``prv_candidates[].jd``."""
    return ".".join(path).replace(".[]", "[]")
