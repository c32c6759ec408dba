"""What has come by an address, each message once, and the manifests beside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from streams.manifests import TopicManifest, from_json
from streams.messages import Message
from streams.readers import Reader

_REMEMBERED = 1_000_000
"""Ids of messages that have come: one that comes again is dropped."""


@dataclass(frozen=True)
class Received:
    """A message that has come."""

    message: Message
    headers: dict[str, str]

    @property
    def id(self) -> str | None:
        """By which copies are known; None for what nobody of ours has sent."""
        return self.headers.get("id")


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


def manifests_in(reader: Reader, secs: float) -> Iterator[TopicManifest]:
    """The manifests that are there: read until nothing has come for so long. Raises ``StreamProblem`` and ``NoManifest``."""
    while messages := reader.read(secs):
        for message in messages:
            found = from_json(message.value or b"")
            if found is not None:
                yield found
