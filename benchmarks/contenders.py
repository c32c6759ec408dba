"""Ways to decode packets that are in memory: fastavro as anybody would use it, and ours. The peers are in ``peers``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence

import fastavro
import pyarrow as pa

from alerts.avro.columns import decode_columns
from alerts.avro.decode import decode
from alerts.avro.inputs import in_batches
from alerts.avro.layout import EVERYTHING, Projection, layout_of
from alerts.avro.packets import Packet, open_packets
from alerts.avro.patience import PATIENCE
from alerts.avro.wire_schemas import WireSchemas

Decoder = Callable[[Sequence[bytes]], int]
"""Decodes packets as sent; gives the number of alerts."""

PROJECTIONS: dict[str, Projection] = {
    "candidate": Projection(history=False, stamps=False),
    "candidate and stamps": Projection(history=False),
    "everything": EVERYTHING,
}
"""What is wanted of a packet, by the words of the tables."""
BATCH_PACKETS, BATCH_BYTES = 256, 16 * 2**20
"""The pipeline's, as in ``transforms.read``, which would bring Beam along: half a minute under callgrind."""
_WIRE_SCHEMAS = WireSchemas()


def naive(packets: Sequence[bytes]) -> int:
    """``fastavro.reader`` for every packet: what all ratios are against."""
    return sum(1 for data in packets for _ in fastavro.reader(io.BytesIO(data)))


def naive_to_arrow(packets: Sequence[bytes]) -> int:
    """The same, its records to an Arrow table by ``from_pylist``."""
    rows = 0
    for begin in range(0, len(packets), BATCH_PACKETS):
        few = packets[begin : begin + BATCH_PACKETS]
        rows += pa.Table.from_pylist([record for data in few for record in fastavro.reader(io.BytesIO(data))]).num_rows
    return rows


def opened(packets: Sequence[bytes]) -> list[Packet]:
    """The packets, out of their containers. Raises ``ValueError`` where one is none."""
    found = []
    for data in packets:
        for packet in open_packets(data, "", _WIRE_SCHEMAS):
            if not isinstance(packet, Packet):
                raise ValueError(f"a packet of {len(data)} bytes cannot be opened: {packet.message}")
            found.append(packet)
    return found


def cached_schema(packets: Sequence[bytes]) -> int:
    """``fastavro.schemaless_reader`` with the schema parsed once; the datum is found for it."""
    rows = 0
    for packet in opened(packets):
        rows += bool(fastavro.schemaless_reader(io.BytesIO(packet.datum), packet.schema.parsed, None))
    return rows


def batches(packets: Sequence[bytes]) -> Iterator[list[Packet]]:
    """Opened packets in the batches that the pipeline makes."""
    return in_batches(opened(packets), BATCH_PACKETS, BATCH_BYTES)


def ours(want: str = "everything") -> Decoder:
    """Containers opened, datums decoded in batches to Arrow RecordBatches, the broker's own columns and a digest with them."""
    projection = PROJECTIONS[want]
    PATIENCE.begin()  # what it costs once it has begun

    def decoded(packets: Sequence[bytes]) -> int:
        found = (decode(batch, want=projection) for batch in batches(packets))
        return sum(rows.num_rows for batch in found for rows in batch.rows.values())

    return decoded


def columns_alone(want: str) -> Decoder:
    """The same without the broker's own columns and the digest: what the packets' bytes cost by themselves."""
    projection = PROJECTIONS[want]

    def decoded(packets: Sequence[bytes]) -> int:
        made = (decode_columns(batch, layout_of(batch[0].schema), projection) for batch in batches(packets))
        return sum(sum(batch.good) for batch in made)

    return decoded
