"""The tables of what filters say of alerts; ``docs/tables.md`` is made of them, too."""

from __future__ import annotations

from dataclasses import replace

from schemas.shared_columns import ALERT_ID, NIGHT, PACKET_DIGEST, RUN_ID, SURVEY
from schemas.table import Column, Table

PASSED, FAILED_ON, REJECTED = "passed", "failed", "rejected"
"""The states of a verdict. What is rejected has a row only where another verdict stood before; it is counted in any case."""

_FILTER = Column("filter", "STRING", "REQUIRED", "Name of the filter.")
_VERSION = Column("filter_version", "STRING", "REQUIRED", "Stands for what the filter says: another one where that is another.")

VERDICTS = Table(
    "verdicts",
    (
        SURVEY,
        ALERT_ID,
        replace(PACKET_DIGEST, description=f"{PACKET_DIGEST.description} Of the packet that was judged."),
        NIGHT,
        _FILTER,
        _VERSION,
        Column(
            "status",
            "STRING",
            "REQUIRED",
            "passed, failed (the filter has no verdict of this alert), or rejected where it had another verdict before.",
        ),
        Column("columns", "JSON", "NULLABLE", "What the filter selects, by the names of its columns; NULL where it failed."),
        Column("error", "STRING", "NULLABLE", "Why it failed, in one sentence; NULL unless failed."),
        Column(
            "matched_at",
            "TIMESTAMP",
            "NULLABLE",
            "UTC time of the newest cross-match among those it has seen (asked_at); NULL where it asks for none.",
        ),
        Column("decided_at", "TIMESTAMP", "REQUIRED", "UTC; the newest of a packet, filter and version counts."),
        RUN_ID,
    ),
    "Alerts that a filter passes, or fails on: one row per packet, filter and version, and again where it was asked again.",
    partition_by="night",
    cluster_by=("filter", "alert_id"),
)

FILTER_COUNTS = Table(
    "filter_counts",
    (
        RUN_ID,
        Column(
            "unit",
            "STRING",
            "REQUIRED",
            "The inputs that were judged as one: 16 hexadecimal digits, stream, or night (all that was there).",
        ),
        NIGHT,
        SURVEY,
        _FILTER,
        _VERSION,
        Column("seen", "INT64", "REQUIRED", "Alerts that the filter was asked about: passed + failed + rejected."),
        Column("passed", "INT64", "REQUIRED", "Of these, where its condition is TRUE."),
        Column("failed", "INT64", "REQUIRED", "Of these, where it has no verdict."),
        Column("rejected", "INT64", "REQUIRED", "Of these, where its condition is FALSE or NULL."),
        Column("rejected_by_null", "INT64", "REQUIRED", "Of the rejected, where it is NULL."),
        Column("part", "STRING", "REQUIRED", "Which part of the unit was counted: parts add up, the same part twice is one."),
    ),
    "How many alerts each filter was asked about, and what it said.",
    partition_by="night",
    cluster_by=("filter",),
)

FILTER_HISTORY = Table(
    "filter_history",
    (
        replace(
            _FILTER, description=f"{_FILTER.description} Or of a list that filters may ask about: watchlist:NAME, region:NAME."
        ),
        replace(_VERSION, description=f"{_VERSION.description} Of a list: of its file's contents and parameters."),
        Column("valid_from", "TIMESTAMP", "REQUIRED", "UTC time from which on runs asked it."),
        Column("valid_until", "TIMESTAMP", "NULLABLE", "UTC time from which on they did not any more; NULL while they do."),
        Column("text", "STRING", "REQUIRED", "The filter as it was written; of a list NAME=FILE and its parameters."),
        Column("who", "STRING", "REQUIRED", "The account that ran the broker, as its machine names it."),
        RUN_ID,
    ),
    "Which filters were asked, and which lists they could ask about, from when to when: a row when one begins, and another "
    "with valid_until when it ends.",
    partition_by="valid_from",
    cluster_by=("filter",),
)

FILTER_TABLES = (VERDICTS, FILTER_COUNTS, FILTER_HISTORY)
