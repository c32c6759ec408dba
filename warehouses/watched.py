"""Which files of a watched folder were read, as the table ``watched_files`` knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from schemas.tables import WATCHED_FILES
from warehouses.errors import QueryError

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse


class Version(NamedTuple):
    """By what a file that was changed is known from what it was."""

    size_bytes: int
    modified_at: datetime | None
    """UTC; None where nobody says it."""


def watched_rows(watch: str, files: Iterable[tuple[str, Version]], run_id: str) -> pa.RecordBatch:
    """Rows of ``watched_files``."""
    now = datetime.now(timezone.utc)
    rows = [
        {"watch": watch, "uri": uri, "size_bytes": size, "modified_at": modified_at, "run_id": run_id, "committed_at": now}
        for uri, (size, modified_at) in files
    ]
    return pa.RecordBatch.from_pylist(rows, schema=WATCHED_FILES.arrow_schema)


def read(warehouse: Warehouse, watch: str) -> Mapping[str, Version]:
    """By their names, the files that were read, as they were then. Raises ``QueryError``."""
    if not warehouse.holds_tables() or WATCHED_FILES.name not in warehouse.tables:
        return {}
    sql = f"SELECT uri, size_bytes, modified_at FROM {WATCHED_FILES.name} WHERE watch = {{watch}} ORDER BY committed_at"
    try:
        found = warehouse.ask(sql, {"watch": watch})
        return {str(row[0]): Version(int(str(row[1])), row[2]) for row in found.rows()}  # type: ignore[arg-type]
    except QueryError as error:
        raise QueryError(f"which files of {watch} were read cannot be told: {error}") from error
