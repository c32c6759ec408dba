"""How far streams have read Kafka, as the table ``offsets`` knows it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pyarrow as pa

from schemas.tables import OFFSETS
from warehouses.errors import QueryError

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse


def offset_rows(
    cluster_id: str, group: str, ranges: Iterable[tuple[str, int, int, int]], unit: str, run_id: str
) -> pa.RecordBatch:
    """Rows of ``offsets`` for ranges: topic, partition, first offset and the one behind the last."""
    now = datetime.now(timezone.utc)
    rows = [
        {
            "cluster_id": cluster_id,
            "kafka_group": group,
            "topic": topic,
            "kafka_partition": partition,
            "first_offset": first,
            "end_offset": end,
            "unit": unit,
            "run_id": run_id,
            "committed_at": now,
        }
        for topic, partition, first, end in ranges
    ]
    return pa.RecordBatch.from_pylist(rows, schema=OFFSETS.arrow_schema)


def done(warehouse: Warehouse, cluster_id: str, group: str) -> Mapping[tuple[str, int], int]:
    """By topic and partition, the offset at which a group goes on. Raises ``QueryError``."""
    if not warehouse.holds_tables() or OFFSETS.name not in warehouse.tables:
        return {}
    return _newest(warehouse, cluster_id, group)


def _newest(warehouse: Warehouse, cluster_id: str, group: str) -> dict[tuple[str, int], int]:
    values = {"cluster_id": cluster_id, "kafka_group": group}
    sql = (
        f"SELECT topic, kafka_partition, MAX(end_offset) AS end_offset FROM {OFFSETS.name} "
        "WHERE cluster_id = {cluster_id} AND kafka_group = {kafka_group} GROUP BY 1, 2"
    )
    try:
        rows = warehouse.ask(sql, values).read().to_pylist()
    except QueryError as error:
        raise QueryError(f"how far group {group} has read cannot be told: {error}") from error
    return {(row["topic"], row["kafka_partition"]): row["end_offset"] for row in rows}
