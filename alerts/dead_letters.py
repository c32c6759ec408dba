"""Dead letters as rows of their table."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from alerts.errors import DeadLetter
from alerts.json_text import to_json
from schemas.tables import DEAD_LETTERS


def dead_letter_rows(letters: Sequence[DeadLetter], run_id: str) -> pa.RecordBatch:
    """The rows of ``dead_letters``; the run's id stands among the attributes."""
    rows = [
        {
            "stage": letter.stage,
            "error_type": letter.error_type,
            "message": letter.message,
            "survey": letter.survey,
            "source": letter.source,
            "payload": letter.payload,
            "attributes": to_json({"run_id": run_id, **letter.attributes}),
            "failed_at": letter.failed_at,
        }
        for letter in letters
    ]
    return pa.RecordBatch.from_pylist(rows, schema=DEAD_LETTERS.arrow_schema)
