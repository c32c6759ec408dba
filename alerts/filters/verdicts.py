"""What filters say of alerts as rows of ``verdicts``, and how many they said it of, for ``filter_counts``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.filters.filter_set import Compiled
from alerts.filters.judge import Judged
from alerts.json_text import to_json
from schemas.filter_tables import FAILED_ON, FILTER_COUNTS, PASSED, REJECTED, VERDICTS

STANDING = "standing_verdicts"
"""A column of rows that filters were asked about before: the filters that have passed an alert, or failed on it."""
COUNTED = ("seen", "passed", "failed", "rejected", "rejected_by_null")


@dataclass(frozen=True, order=True)
class FilterAsked:
    """A filter that was asked about alerts of a night."""

    night: date
    survey: str
    filter: str
    filter_version: str


Counts = dict[FilterAsked, np.ndarray]
"""Five numbers each, as ``COUNTED`` has them."""


def verdict_rows(alerts: pa.RecordBatch, judged: Mapping[str, Judged], compiled: Compiled, run_id: str) -> pa.RecordBatch:
    """Rows of ``verdicts`` for the alerts that filters pass or fail on.

    ``alerts`` are those that were judged, with ``survey``, ``alert_id``, ``packet_digest`` and ``night``.
    """
    parts = [part for name, said in judged.items() for part in _rows(alerts, name, said, compiled, run_id)]
    return pa.Table.from_batches(parts, VERDICTS.arrow_schema).combine_chunks().to_batches()[0] if parts else none()


def none() -> pa.RecordBatch:
    """No rows of ``verdicts``."""
    return pa.RecordBatch.from_pylist([], schema=VERDICTS.arrow_schema)


def _rows(alerts: pa.RecordBatch, name: str, said: Judged, compiled: Compiled, run_id: str) -> Iterable[pa.RecordBatch]:
    passed = np.flatnonzero(said.passed)
    if len(passed):
        names = [column.name for column in compiled.queries[name].columns] if name in compiled.queries else []
        values = zip(*map(_plain, said.columns), strict=True) if names else [()] * len(passed)
        columns = [to_json(dict(zip(names, each, strict=True))) for each in values]
        told = {"status": [PASSED] * len(passed), "columns": columns}
        yield _made(alerts.take(pa.array(passed)), told, name, compiled, run_id)
    if STANDING in alerts.schema.names:
        # It said something else of these before, which is not to stand.
        standing = np.array([name in (names or ()) for names in alerts.column(STANDING).to_pylist()], np.bool_)
        if len(again := np.flatnonzero(said.rejected & standing)):
            yield _made(alerts.take(pa.array(again)), {"status": [REJECTED] * len(again)}, name, compiled, run_id)
    if said.failures:
        told = {"status": [FAILED_ON] * len(said.failures), "error": list(said.failures.values())}
        yield _made(alerts.take(pa.array(list(said.failures), pa.int64())), told, name, compiled, run_id)


def _plain(values: pa.Array) -> list[Any]:
    """Values as JSON has them: times as text in UTC, numbers that JSON has none of as NULL, which filters take them for."""
    return [value.isoformat() if isinstance(value, date | datetime) else value for value in values.to_pylist()]


def _made(alerts: pa.RecordBatch, told: Mapping[str, list[str]], name: str, compiled: Compiled, run_id: str) -> pa.RecordBatch:
    count, now = alerts.num_rows, datetime.now(UTC)
    constants = {"filter": name, "filter_version": compiled.versions[name], "decided_at": now, "run_id": run_id}
    arrays = []
    for field in VERDICTS.arrow_schema:
        if field.name in told:
            arrays.append(pa.array(told[field.name], field.type))
        elif field.name in constants:
            arrays.append(pa.repeat(pa.scalar(constants[field.name], field.type), count))
        elif field.name == "matched_at" and "matches" in alerts.schema.names and "matches" in compiled.asked(name):
            arrays.append(_newest_asked_at(alerts.column("matches")).cast(field.type))
        elif field.name in alerts.schema.names:
            arrays.append(alerts.column(field.name).cast(field.type))
        else:
            arrays.append(pa.nulls(count, field.type))
    return pa.RecordBatch.from_arrays(arrays, schema=VERDICTS.arrow_schema)


def _newest_asked_at(matches: pa.Array) -> pa.Array:
    """Of each row the newest of its cross-matches; NULL where it has none."""
    found = [
        max((match["asked_at"] for match in told or () if match["asked_at"] is not None), default=None)
        for told in matches.to_pylist()
    ]
    return pa.array(found, pa.timestamp("us", "UTC"))


def counts_of(alerts: pa.RecordBatch, survey: str, judged: Mapping[str, Judged], compiled: Compiled) -> Counts:
    """How many alerts of each night the filters were asked about, and what they said: each is counted, none is what is left."""
    coded = alerts.column("night").dictionary_encode()
    places, nights = coded.indices.to_numpy(), coded.dictionary.to_pylist()
    found: Counts = {}
    for name in compiled.names:
        if name not in judged:
            # Put aside: that it has seen none of them is a row, too.
            found |= {
                FilterAsked(night, survey, name, compiled.versions[name]): np.zeros(len(COUNTED), np.int64) for night in nights
            }
    for name, said in judged.items():
        failed = np.zeros(alerts.num_rows, np.bool_)
        failed[list(said.failures)] = True
        masks = (np.ones(alerts.num_rows, np.bool_), said.passed, failed, said.rejected, said.by_null)
        numbers = np.stack([np.bincount(places[mask], minlength=len(nights)) for mask in masks], axis=1)
        for night, of_night in zip(nights, numbers, strict=True):
            found[FilterAsked(night, survey, name, compiled.versions[name])] = of_night
    return found


def add(counts: Counts, more: Counts) -> None:
    """Count more."""
    for asked, numbers in more.items():
        counts[asked] = counts[asked] + numbers if asked in counts else numbers


def count_rows(counts: Counts, run_id: str, unit: str, part: str) -> pa.RecordBatch:
    """Rows of ``filter_counts``."""
    rows = [
        {"run_id": run_id, "unit": unit, "part": part, **vars(asked), **dict(zip(COUNTED, map(int, numbers), strict=True))}
        for asked, numbers in sorted(counts.items())
    ]
    return pa.RecordBatch.from_pylist(rows, schema=FILTER_COUNTS.arrow_schema)
