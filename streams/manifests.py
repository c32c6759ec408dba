"""Topic manifests: what was sent to a topic, in a topic beside it, so that whoever reads can prove that all came.

Of topic ``T`` they are in ``T-manifest``, of a folder in ``PATH/_manifest``. Each is one JSON object: ``kind`` (``manifest``),
``topic``, ``from`` and ``to`` (UTC; when its messages were written), ``number`` (zero, too), ``sha256`` of the sorted ids (of 16
bytes each), and the ``ids``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from streams.addresses import Address
from streams.outlets import MANIFEST_ENDING

FOLDER = "_manifest"
MANIFEST = "manifest"
MOST_IDS = 25_000
"""Of one manifest: some 850 kB, below what Kafka takes where nobody has said more."""


@dataclass(frozen=True)
class TopicManifest:
    """Messages that were sent to a topic, and acknowledged."""

    topic: str
    """Its address, as text."""
    ids: tuple[str, ...]
    """Sorted, each once."""
    begin: datetime
    end: datetime

    @classmethod
    def of(cls, topic: str, ids: Iterable[str], begin: datetime, end: datetime) -> TopicManifest:
        """The manifest of so many ids in any order."""
        return cls(topic, tuple(sorted(set(ids))), begin, end)

    @property
    def sha256(self) -> str:
        """Of the ids: hexadecimal."""
        return digest_of(self.ids)

    @property
    def id(self) -> str:
        """What tells it from any other, 32 hexadecimal digits."""
        text = "\n".join((self.topic, self.begin.isoformat(), self.end.isoformat(), self.sha256))
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_json(self) -> bytes:
        """As it is sent."""
        times = (self.begin.astimezone(UTC).isoformat(), self.end.astimezone(UTC).isoformat())
        told = {"kind": MANIFEST, "topic": self.topic, "from": times[0], "to": times[1], "number": len(self.ids)}
        return json.dumps({**told, "sha256": self.sha256, "ids": self.ids}).encode()


class NoManifest(ValueError):
    """What was to be a manifest is none, or is damaged; the message says why."""


def from_json(data: bytes) -> TopicManifest | None:
    """The manifest of a message; None for a message of another kind. Raises ``NoManifest``."""
    try:
        told: Any = json.loads(data)
        if not isinstance(told, dict) or told.get("kind") != MANIFEST:
            return None
        times = [datetime.fromisoformat(told[name]) for name in ("from", "to")]
        found = TopicManifest(str(told["topic"]), tuple(map(str, told["ids"])), *times)
        number, digest, own = int(told["number"]), str(told["sha256"]), found.sha256
    except (ValueError, KeyError, TypeError) as error:
        raise NoManifest(f"a message among the manifests is none: {type(error).__name__}: {error}") from error
    if number != len(found.ids) or digest != own:
        raise NoManifest(
            f"a manifest of {found.topic} is damaged: it says {number:,} ids, and has {len(found.ids):,} of another hash"
        )
    return found


def digest_of(ids: Collection[str]) -> str:
    """SHA-256 of sorted ids, 16 bytes each. Raises ``ValueError`` for what is no id."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, ids))).hexdigest()


def topic_of_manifests(address: Address) -> Address | None:
    """The topic whose manifests are at an address; None where none are."""
    ending = f"/{FOLDER}" if address.kind == "folder" else MANIFEST_ENDING
    return replace(address, name=address.name.removesuffix(ending)) if address.name.endswith(ending) else None


def manifest_address(address: Address) -> Address:
    """Where the manifests of a topic are."""
    name = f"{address.name.rstrip('/')}/{FOLDER}" if address.kind == "folder" else f"{address.name}{MANIFEST_ENDING}"
    return replace(address, name=name, format=None, ordered=False)
