"""Where messages go to or come from, in one grammar for all commands.

``pubsub:projects/P/topics/T`` (or ``subscriptions/S``), ``kafka:HOST:PORT[,..]/TOPIC``, ``folder:PATH``, each with
``[?format=packet|lite|json][&config=FILE][&filter=NAME][&ordered][&private]``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from streams.errors import StreamProblem

FORMATS = ("packet", "lite", "json")
_FORMS = {
    "pubsub": "pubsub:projects/PROJECT/topics/NAME",
    "kafka": "kafka:HOST:PORT/TOPIC",
    "folder": "folder:PATH",
}
_WITH_VALUE, _WITHOUT = ("format", "config", "filter"), ("ordered", "private")
_SHOWN = {"format": "packet", "config": "FILE", "filter": "NAME"}
_PUBSUB = re.compile(r"projects/[a-z][-a-z0-9:.]{4,}[a-z0-9]/(topics|subscriptions)/[a-zA-Z][\w.~+%-]{2,254}")
_SERVER = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/,\[\]]+):[0-9]{1,5}")
_KAFKA_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")


@dataclass(frozen=True)
class Address:
    """Where messages go to or come from."""

    kind: str
    """``pubsub``, ``kafka`` or ``folder``."""
    name: str
    """``projects/P/topics/T`` or ``projects/P/subscriptions/S``, a topic of Kafka, or a path."""
    servers: str = ""
    """Of Kafka: ``HOST:PORT[,HOST:PORT..]``."""
    format: str | None = None
    config: str | None = field(default=None, repr=False)
    """A file of settings, of which some are secrets."""
    ordered: bool = False
    private: bool = False
    filter: str | None = None
    """Of hits: only those of this filter."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.servers}/{self.name}" if self.servers else f"{self.kind}:{self.name}"


def parse_address(text: str, flag: str, takes: Collection[str] = ()) -> Address:
    """The address that a flag names. ``takes`` are the options that the command can do something with.

    Raises ``StreamProblem``: one sentence with what to write instead.
    """
    kind, colon, rest = text.partition(":")
    if not colon or kind not in _FORMS:
        raise StreamProblem(f"{flag} {text} is no address; {_instead(text, kind)}")
    place, _, said = rest.partition("?")
    options = _options(said, f"{flag} {text}", takes) if said else {}
    if "config" in options and kind != "kafka":
        raise StreamProblem(f"{flag} {text}: config is for kafka alone; leave it out")
    if kind == "pubsub":
        return Address(kind, _pubsub_name(place, flag), **options)
    if kind == "kafka":
        return Address(kind, *_kafka_names(place, flag), **options)
    return Address(kind, _folder(place, flag), **options)


def _instead(text: str, kind: str) -> str:
    if text.startswith("projects/"):
        return f"write pubsub:{text}"
    if near := difflib.get_close_matches(kind, _FORMS, n=1):
        return f"did you mean {_FORMS[near[0]]}?"
    if text.startswith(("/", ".")) and ":" not in text:
        return f"write folder:{text}"
    return f"write {', '.join(_FORMS.values())}"


def _options(said: str, where: str, takes: Collection[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in said.split("&"):
        name, equals, value = part.partition("=")
        if name not in (*_WITH_VALUE, *_WITHOUT):
            near = difflib.get_close_matches(name, (*_WITH_VALUE, *_WITHOUT), n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join((*_WITH_VALUE, *_WITHOUT))}"
            raise StreamProblem(f"{where}: {name!r} is no option of an address; {hint}")
        if name in found:
            raise StreamProblem(f"{where}: {name} is given twice; give it once")
        if name in _WITHOUT and equals:
            raise StreamProblem(f"{where}: {name} takes no value; write {name} alone")
        if name in _WITH_VALUE and not value:
            raise StreamProblem(f"{where}: {name} needs a value; write {name}={_SHOWN[name]}")
        if name == "format" and value not in FORMATS:
            raise StreamProblem(f"{where}: format {value} is not known; known are {', '.join(FORMATS)}")
        # Bytes as they are: what every command does unless it can do otherwise.
        if name not in takes and part != "format=packet":
            raise StreamProblem(f"{where}: {part if name == 'format' else name} is not for this command; leave it out")
        found[name] = unquote(value) if equals else True
    return found


def _pubsub_name(place: str, flag: str) -> str:
    if not _PUBSUB.fullmatch(place):
        raise StreamProblem(
            f"{flag} pubsub:{place} is not of the form {_FORMS['pubsub']}, or pubsub:projects/PROJECT/subscriptions/NAME"
        )
    return place


def _kafka_names(place: str, flag: str) -> tuple[str, str]:
    servers, slash, topic = place.partition("/")
    if not slash or not topic:
        raise StreamProblem(f"{flag} kafka:{place} names no topic; write {_FORMS['kafka']}")
    for server in servers.split(","):
        if not _SERVER.fullmatch(server):
            raise StreamProblem(
                f"{flag} kafka:{place}: {server or 'nothing'} is not of the form HOST:PORT, for example host:9092"
            )
    if not _KAFKA_TOPIC.fullmatch(topic) or topic in (".", ".."):
        raise StreamProblem(
            f"{flag} kafka:{place}: {topic} is no topic's name: up to 249 letters, digits, dots, dashes and underscores"
        )
    return topic, servers


def _folder(place: str, flag: str) -> str:
    if not place:
        raise StreamProblem(f"{flag} folder: names no folder; write {_FORMS['folder']}")
    if re.match(r"[a-z][a-z0-9+.-]*://", place):
        raise StreamProblem(f"{flag} folder:{place} is not on this machine; write folder:PATH with a path of this machine")
    return place
