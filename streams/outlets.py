"""Where hits go: addresses as ``--publish`` names them, whose names may hold ``{survey}`` and ``{filter}``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from streams.addresses import Address, parse_address
from streams.errors import StreamProblem

EVERY_ALERT = "all"
"""The filter that every alert passes: the full stream."""
MANIFEST_ENDING = "-manifest"
"""Behind a topic's name: where its manifests and heartbeats go."""
_SURVEY, _FILTER = "{survey}", "{filter}"
_SAMPLE = "a-name"
_TAKES = ("format", "config", "ordered", "private", "filter")


@dataclass(frozen=True)
class Outlet:
    """A place for hits. Hashable, and plain values: it goes to workers."""

    address: Address
    """Its name may hold ``{survey}`` and ``{filter}``."""

    @property
    def format(self) -> str:
        """How messages look: ``lite`` where nothing else was said, the full stream as it came."""
        default = "packet" if self.address.filter == EVERY_ALERT else "lite"
        return self.address.format or default

    @property
    def is_public(self) -> bool:
        """Whether anybody may read it."""
        return not self.address.private

    def takes(self, name: str) -> bool:
        """Whether hits of a filter go there: of the one that was named, else of all but the full stream."""
        wanted = self.address.filter
        return name == wanted if wanted is not None else name != EVERY_ALERT

    def at(self, survey: str, name: str) -> Address:
        """Where a filter's hits of a survey's alerts go."""
        return replace(self.address, name=self.address.name.replace(_SURVEY, survey).replace(_FILTER, name))

    def addresses(self, filters: Iterable[tuple[str, str]]) -> dict[str, Address]:
        """All addresses that it stands for, as texts, for these surveys and names of filters."""
        found = [self.at(survey, name) for survey, name in filters if self.takes(name)]
        return {str(address): address for address in found}


def parse_outlet(text: str, flag: str = "--publish") -> Outlet:
    """An outlet from its address. Raises ``StreamProblem``: one sentence with what to write instead."""
    place, question, said = text.partition("?")
    rest = place.replace(_SURVEY, _SAMPLE).replace(_FILTER, _SAMPLE)
    if "{" in rest or "}" in rest:
        raise StreamProblem(f"{flag} {text}: in names there may be {_SURVEY} and {_FILTER}, and no other braces")
    address = parse_address(f"{rest}{question}{said}", flag, _TAKES)
    if "/subscriptions/" in address.name:
        raise StreamProblem(f"{flag} {text} is a subscription, which is read; give a topic: pubsub:projects/PROJECT/topics/NAME")
    if address.name.endswith(MANIFEST_ENDING):
        raise StreamProblem(f"{flag} {text}: names that end with {MANIFEST_ENDING} are of manifests; take another")
    if address.ordered and address.kind != "pubsub":
        raise StreamProblem(f"{flag} {text}: ordered is for Pub/Sub alone, elsewhere the order per object is kept; leave it out")
    # With what stands for them again. Each place by one name, wherever this is read: what was sent there is known by it.
    given = place.partition(":")[2]
    if address.kind == "folder":
        return Outlet(replace(address, name=os.path.abspath(given)))
    servers = ",".join(sorted(set(address.servers.split(","))))
    return Outlet(replace(address, name=given.partition("/")[2] if servers else given, servers=servers))


def parse_outlets(texts: Iterable[str], flag: str = "--publish") -> tuple[Outlet, ...]:
    """Outlets from their addresses. Raises ``StreamProblem``, also where two of them are one place."""
    outlets = tuple(parse_outlet(text, flag) for text in texts)
    names = [(str(outlet.address), outlet.address.filter) for outlet in outlets]
    if twice := sorted({name for name in names if names.count(name) > 1}, key=str):
        raise StreamProblem(f"{flag} {twice[0][0]} is given twice; give it once")
    return outlets
