"""Alerts of which a catalog that a filter asks for has told nothing: the filter has no verdict of them, until it has.

What a service could not say is not that nothing is there: a filter for what has no star near it must not pass all that came
while the service was down.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pyarrow as pa

from alerts.filters.judge import Judged

_ANSWERED = ("matched", "no_match")


def without_unanswered(alerts: pa.RecordBatch, judged: Judged, catalogs: Collection[str]) -> Judged:
    """The same, where it has failed on each alert that one of ``catalogs`` has no answer of, or, of none, any that was asked."""
    told = alerts.column("matches").to_pylist() if "matches" in alerts.schema.names else [None] * alerts.num_rows
    reasons = {row: why for row, matches in enumerate(told) if (why := _unanswered(matches or (), catalogs))}
    return judged.failing(reasons)


def _unanswered(matches: Collection[Mapping[str, Any]], catalogs: Collection[str]) -> str:
    """Why an alert's cross-matches are not whole; empty where they are."""
    status = {match["catalog"]: match["status"] for match in matches}
    for catalog in sorted(catalogs or status):
        if catalog not in status:
            return f"{catalog} was not asked"
        if status[catalog] not in _ANSWERED:
            return f"{catalog} has not answered"
    return "" if status else "no catalog was asked"
