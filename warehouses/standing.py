"""Rows of an earlier run that stand for what a run has written: in BigQuery the same rows of a unit are committed once."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from schemas.run_ids import began_at


@dataclass(frozen=True)
class Standing:
    """Whose rows stand for a run's in a table."""

    table: str
    run_id: str
    inputs: tuple[str, ...] | None = None
    """Of these inputs; None: all of that run."""


def of_run_sql(run: str, table: str, standing: Iterable[Standing], values: MutableMapping[str, Any]) -> str:
    """The condition that a row of a table is one of run ``{run_id}``, or stands for one; ``run`` is the row's run in SQL.

    Puts what it asks for beside into ``values``.
    """
    parts = [f"{run} = {{run_id}}"]
    for number, other in enumerate(other for other in standing if other.table == table):
        values[f"run_{number}"] = other.run_id
        parts.append(f"({run} = {{run_{number}}}{_sources_sql(number, other.inputs, values)})")
    return parts[0] if len(parts) == 1 else f"({' OR '.join(parts)})"


def _sources_sql(number: int, inputs: tuple[str, ...] | None, values: MutableMapping[str, Any]) -> str:
    if inputs is None:
        return ""
    # All in one list, of which a service may make a table: there may be more inputs than a question may have parameters.
    name = f"inputs_{number}"
    values[name] = list(inputs)
    # What stands before the first # of a source, or where names of files have it too, before a later one.
    before = ["[^#]*#" * count + "[^#]*" for count in sorted({uri.count("#") for uri in inputs})]
    parts = [f"REGEXP_EXTRACT(source, r'^{pattern}') IN UNNEST({{{name}}})" for pattern in before]
    return f" AND ({' OR '.join(parts) or 'FALSE'})"


def began(run_id: str, standing: Iterable[Standing], since: datetime) -> datetime:
    """When the first of these runs began; a run's id says it."""
    told = (began_at(name) for name in (run_id, *(other.run_id for other in standing)))
    return min([since, *(time for time in told if time is not None)])
