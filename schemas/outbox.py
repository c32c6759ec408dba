"""The table of what is to be sent; ``docs/tables.md`` is made of it, too."""

from __future__ import annotations

from schemas.shared_columns import RUN_ID
from schemas.table import Column, Table

OUTBOX = Table(
    "outbox",
    (
        Column("id", "STRING", "REQUIRED", "Of alert, filter and version, 32 hexadecimal digits: receivers drop what they have."),
        Column("topic", "STRING", "REQUIRED", "The address that it goes to, without its options."),
        Column("key", "STRING", "NULLABLE", "Kind and id of the object, or the alert's id, by which one object's stay in order."),
        Column("headers", "JSON", "NULLABLE", "What stands beside the message, names and texts; NULL where it is closed."),
        Column("payload", "BYTES", "NULLABLE", "The message; NULL where it is closed."),
        Column("written_at", "TIMESTAMP", "REQUIRED", "UTC; when the alert's hit was written, also in the row that closes it."),
        Column("sent_at", "TIMESTAMP", "NULLABLE", "UTC; when the receiver's side acknowledged it: this row closes it."),
        Column("error", "STRING", "NULLABLE", "Why it can never be sent: this row closes it, and a dead letter has its bytes."),
        RUN_ID,
    ),
    "What is to be sent, committed with the verdicts; what was sent is a second row.",
    partition_by="written_at",
    cluster_by=("topic",),
)
