"""Rounds that were committed and have no row of ``runs``: whoever was killed between the two could not write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from alerts.json_text import to_json
from pipelines import runs_table
from pipelines.summary import Summary
from schemas.run_ids import began_at
from warehouses.warehouse import Warehouse


def record(place: Warehouse, stream: str, committed: Mapping[str, datetime], options: Mapping[str, object]) -> int:
    """Write the rows that a stream's runs lack, with the options that its last process had; gives how many.

    ``committed``: of its runs without such a row, when each was committed. ``options`` are those of the process that begins; they
    are kept for the one after it. Raises ``QueryError``.
    """
    name = f"options of {stream}"
    kept = place.kept_plan(name) if committed else None
    before = json.loads(kept) if kept else dict(options)
    for run_id, committed_at in sorted(committed.items()):
        counts = place.counts(run_id, ())
        found = Summary(
            run_id,
            started_at=began_at(run_id) or committed_at,
            ended_at=committed_at,
            # What was committed had balanced, or it would be done again: each record is a row or a letter.
            records_read=sum(survey.alerts for survey in counts.surveys.values()) + sum(counts.dead_letters.values()),
            inputs_skipped=0,
            surveys=counts.surveys,
            dead_letters=counts.dead_letters,
        )
        runs_table.write(place, found, before, failed=False)
    place.keep_plan(name, to_json(dict(options)))
    return len(committed)
