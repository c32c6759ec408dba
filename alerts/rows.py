"""RecordBatches to rows, for the sink that wants one dictionary per row."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from alerts.json_text import plain

Row = dict[str, Any]


def json_rows(rows: pa.RecordBatch) -> list[Row]:
    """Rows as BigQuery's insertAll takes them: bytes as base64, times as ISO 8601, NaN and infinities as strings.

    As numbers, NaN would become NULL on the way, and integers above 2^53 are rounded by many a JSON reader.
    """
    return [{name: plain(value) for name, value in row.items()} for row in rows.to_pylist()]
