"""Messages in a file of this machine, for workers that read them there: as Arrow's IPC stream has them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pyarrow as pa

_SCHEMA = pa.schema(
    [
        ("message_id", pa.string()),
        ("data", pa.large_binary()),
        ("publish_time", pa.timestamp("us", tz="UTC")),
        ("attributes", pa.map_(pa.string(), pa.string())),
    ]
)
_BATCH_BYTES = 16 * 2**20
_BATCH_MESSAGES = 256


@dataclass(frozen=True)
class SpooledMessage:
    """A message of Pub/Sub."""

    message_id: str
    data: bytes
    publish_time: datetime
    attributes: dict[str, str] = field(default_factory=dict)


def write_spool(path: str, messages: Iterable[SpooledMessage]) -> None:
    """Write messages to a new file. Raises ``OSError``."""
    held: list[SpooledMessage] = []
    size_bytes = 0
    with pa.OSFile(path, "wb") as file, pa.ipc.new_stream(file, _SCHEMA) as writer:
        for message in messages:
            held.append(message)
            size_bytes += len(message.data)
            if len(held) >= _BATCH_MESSAGES or size_bytes >= _BATCH_BYTES:
                writer.write_batch(_rows(held))
                held, size_bytes = [], 0
        writer.write_batch(_rows(held))


def _rows(messages: list[SpooledMessage]) -> pa.RecordBatch:
    columns = [
        [message.message_id for message in messages],
        [message.data for message in messages],
        [message.publish_time for message in messages],
        [list(message.attributes.items()) for message in messages],
    ]
    return pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(columns, _SCHEMA.types, strict=True)], schema=_SCHEMA
    )


def read_spool(path: str) -> Iterator[SpooledMessage]:
    """The messages of a file, as they were written."""
    with pa.memory_map(path) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                yield SpooledMessage(row[0], row[1], row[2], dict(row[3]))
