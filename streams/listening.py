"""What has come by an address, each message once, and what it says."""

from __future__ import annotations

import functools
import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alerts.avro.packets import CONTAINER_MAGIC, Packet, open_packets
from alerts.avro.records import read_datum
from alerts.avro.wire_schemas import WireSchemas
from alerts.errors import UndecodablePacket
from streams.messages import Message

_ALERT_ID = re.compile(r"-?[0-9]{1,19}")
_REMEMBERED = 1_000_000
"""Ids of messages that have come: one that comes again is dropped."""


@dataclass(frozen=True)
class Received:
    """A message that has come. What it does not say of itself is None."""

    message: Message
    headers: dict[str, str]

    @property
    def id(self) -> str | None:
        """By which copies are known; None for what nobody of ours has sent."""
        return self.headers.get("id")

    @property
    def alert_id(self) -> int | None:
        """The survey's id of the alert, 64 bits."""
        text = self.headers.get("alert_id", "")
        return int(text) if _ALERT_ID.fullmatch(text) and -(2**63) <= int(text) < 2**63 else None

    def __getattr__(self, name: str) -> Any:
        """``survey``, ``object_id``, ``filter`` and all other headers, as texts; times (``..._at``) in UTC."""
        if name not in HEADERS:
            raise AttributeError(name)
        text = self.headers.get(name)
        if text is None or not name.endswith("_at"):
            return text
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            return None

    @functools.cached_property
    def columns(self) -> dict[str, Any]:
        """What the filter's SELECT gives of the alert."""
        text = self.headers.get("columns")
        told: Any = _read(text) if text else self._json.get("columns")
        return dict(told) if isinstance(told, dict) else {}

    @functools.cached_property
    def _json(self) -> Mapping[str, Any]:
        told = _read(self.message.value or b"")
        return told if isinstance(told, dict) else {}

    def alert(self) -> dict[str, Any]:
        """The survey's own record (``lite``, ``packet``), or what ``json`` holds. Raises ``UndecodablePacket`` for all else."""
        value = self.message.value or b""
        if value.startswith(CONTAINER_MAGIC):
            for item in open_packets(value, str(self.id), WireSchemas()):
                if isinstance(item, Packet):
                    return dict(read_datum(item))
        elif self._json:
            return dict(self._json)
        raise UndecodablePacket(f"message {self.id} of {len(value):,} bytes is neither an Avro container nor JSON")


def _read(text: str | bytes) -> Any:
    """What JSON says; None for what is none. Anybody may have sent it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


HEADERS = ("survey", "object_id", "object_kind", "filter", "filter_version", "observed_at", "published_at", "passed_at", "replay")
"""What ``Received`` has as its own; ``id``, ``alert_id`` and ``columns`` besides."""


@dataclass
class Heard:
    """What has come by an address so far, each message once."""

    messages: int = 0
    copies: int = 0
    remembered: int | None = _REMEMBERED
    """So many ids, the latest; None: of all, for who holds them against manifests."""
    ids: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def take(self, messages: list[Message]) -> Iterator[Received]:
        """Those that have not come before."""
        for message in messages:
            headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers}
            received = Received(message, headers)
            if received.id is not None:
                if received.id in self.ids:
                    self.copies += 1
                    continue
                self.ids[received.id] = None
                if self.remembered is not None and len(self.ids) > self.remembered:
                    self.ids.popitem(last=False)
            self.messages += 1
            yield received
