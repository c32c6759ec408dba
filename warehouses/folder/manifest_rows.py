"""Rows of the manifest: what is known of a file when it is put in place, and which units may hold an input."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from warehouses.folder.manifest import SCHEMA
from warehouses.units import Unit, WrittenFile

_DATE = re.compile(r"=(\d{4}-\d{2}-\d{2})/[^/]*$")


def rows_of(
    warehouse: str, files: Iterable[WrittenFile], units: Mapping[str, Unit], runs: Sequence[str] | None = None
) -> pa.Table:
    """The rows of ``SCHEMA`` for files at their places, whose rows are of some runs; ``units`` by key, where they are known."""
    return pa.Table.from_pylist([{**_row(warehouse, file, units.get(file.unit)), "runs": runs} for file in files], schema=SCHEMA)


def _row(warehouse: str, file: WrittenFile, unit: Unit | None) -> dict[str, object]:
    path = file.final.removeprefix(f"{warehouse}/")
    inputs = unit.inputs if unit else ()
    first, last = _ends(inputs) if inputs else (None, None)
    dated = _DATE.search(path)
    return {
        "table": path.partition("/")[0],
        "path": path,
        "night": _day(dated[1]) if dated else None,
        "rows": file.rows,
        "bytes": file.size_bytes,
        "schema": file.schema,
        "unit": file.unit,
        "inputs": len(inputs),
        "first_input": first,
        "last_input": last,
        "is_replay": bool(unit and unit.letters),
        **dict(zip(("healpix29_min", "healpix29_max"), file.healpix29 or (None, None), strict=True)),
        **dict(zip(("observed_at_min", "observed_at_max"), file.observed_at or (None, None), strict=True)),
    }


def _ends(inputs: Collection[str]) -> tuple[str, str]:
    """The first and the last in the order of their bytes, each byte as a character: a file's name need not be UTF-8."""
    texts = [as_text(uri) for uri in inputs]
    return min(texts), max(texts)


def as_text(uri: str) -> str:
    """An input as the manifest has it: each byte as a character."""
    return uri.encode("utf-8", "surrogateescape").decode("latin-1")


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:  # a folder of somebody's own
        return None


def the_input(row: Mapping[str, Any]) -> str:
    """The input of a row whose unit has one."""
    return str(row["first_input"]).encode("latin-1").decode("utf-8", "surrogateescape")


def may_hold(files: pa.Table, inputs: Collection[str]) -> set[str]:
    """The units among whose inputs some of ours may be, by the first and the last of theirs and ours."""
    if not inputs or not files.num_rows:
        return set()
    first, last = _ends(inputs)
    overlap = pc.and_(pc.less_equal(files.column("first_input"), last), pc.greater_equal(files.column("last_input"), first))
    return set(files.filter(pc.fill_null(overlap, False)).column("unit").to_pylist())
