"""A row that BigQuery does not take, as a dead letter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from alerts.errors import DeadLetter
from alerts.limits import MAX_PAYLOAD_BYTES


def refused_row(table: str, row: Mapping[str, Any], error_type: str, message: str) -> DeadLetter:
    """The dead letter of stage ``write`` for a row as ``alerts.rows.json_rows`` gives it, which is its payload as JSON."""
    payload = json.dumps(dict(row)).encode()
    return DeadLetter(
        stage="write",
        error_type=error_type,
        message=f"BigQuery refused the row for {table}: {message}",
        source=str(row.get("source") or f"alert_id {row.get('alert_id')}"),
        payload=payload if len(payload) <= MAX_PAYLOAD_BYTES else None,
        survey=row.get("survey"),
        attributes={"table": table},
    )
