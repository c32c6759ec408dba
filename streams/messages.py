"""A message, whatever carries it."""

from __future__ import annotations

from dataclasses import dataclass

HEARTBEAT = "heartbeat"
"""What the header ``kind`` of a heartbeat says (``streams.heartbeats``)."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent: a value, and what stands beside it."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    """In their order; a name may come twice."""

    @property
    def size_bytes(self) -> int:
        """Of all its parts."""
        size = len(self.value or b"") + len(self.key or b"")
        for name, value in self.headers:
            size += len(name) + len(value or b"")
        return size
