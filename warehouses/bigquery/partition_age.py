"""Which rows the Storage Write API takes by their partition: not of nights long past, nor far ahead."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from schemas import Table

MOST_DAYS_BACK = 10 * 365
"""From ten years back, leap days kept as a reserve."""
MOST_DAYS_AHEAD = 360
"""To one year ahead."""


def streamable(table: Table, rows: pa.RecordBatch, today: date) -> np.ndarray | None:
    """Which rows are of a day that is taken, one bool a row; the others only load jobs bring in. None: all are."""
    column = table.partition_by
    if column is None or not pa.types.is_date32(rows.schema.field(column).type):
        # By a TIMESTAMP only dead letters are divided, which are of today.
        return None
    now = (today - date(1970, 1, 1)) // timedelta(days=1)
    days = rows.column(column).cast(pa.int32()).fill_null(now).to_numpy()
    found: np.ndarray = (days >= now - MOST_DAYS_BACK) & (days <= now + MOST_DAYS_AHEAD)
    return None if found.all() else found
