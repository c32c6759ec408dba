"""How batches are written where a runner hands them on, and how large they are.

Beam samples the sizes of elements, and without a coder of their own pickles whole batches only to see how long that gets:
for a night of a few thousand alerts as much work as decoding them.
"""

from __future__ import annotations

import pickle
from typing import Any

from apache_beam import coders

from transforms.elements import AlertBatch, PacketBatch, TableBatch


class BatchCoder(coders.Coder):
    """Batches of packets, alerts or rows, pickled; their size is told without that."""

    def encode(self, value: Any) -> bytes:
        """The batch's pickle."""
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)

    def decode(self, encoded: bytes) -> Any:
        """The batch of a pickle that ``encode`` has made."""
        return pickle.loads(encoded)  # noqa: S301

    def estimate_size(self, value: Any) -> int:
        """Bytes, nearly."""
        if isinstance(value, PacketBatch):
            return sum(len(packet.data) if packet.alone else packet.stop - packet.start for packet in value.packets)
        features = value.features if isinstance(value, AlertBatch) else None
        return int(value.rows.nbytes + (features.nbytes if features is not None else 0))

    def is_deterministic(self) -> bool:
        """No: batches are no keys."""
        return False


for _kind in (PacketBatch, AlertBatch, TableBatch):
    coders.registry.register_coder(_kind, BatchCoder)
