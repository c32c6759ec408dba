"""``broker listen`` and ``broker.streams.listen``: a stream as lines, files or a table, and what came against its manifests."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from streams.addresses import Address, parse_address
from streams.errors import StreamProblem
from streams.listener import StreamListener
from streams.listening import HEADERS, Heard, Received
from streams.manifest_topic import ManifestTopic
from streams.manifests import manifest_address
from streams.readers import EARLIEST, LATEST, open_reader
from warehouses.result import Result

_SHOWN = ("observed_at", "filter", "survey", "alert_id", "object_id", "columns")
_MOST_NAMED = 20
_ID = re.compile(r"[0-9a-f]{32}")
"""As ours are. Whatever else calls itself an id is no name of a file."""


def listen(
    address: str,
    *,
    begin: str | datetime = EARLIEST,
    once: bool = False,
    quiet_secs: float = 5.0,
    stop_after_secs: float | None = None,
    manifest: str | None = None,
) -> StreamListener:
    """Listen to ``kafka:HOST:PORT[,..]/TOPIC[?config=FILE]``, ``pubsub:projects/P/subscriptions/S`` or ``folder:PATH``.

    Going over it gives each message once, as it comes: ``hit.alert_id``, ``hit.filter``, ``hit.columns``, ``hit.alert()``, the
    survey's record, and so on (``streams.listening.Received``). ``begin``: ``earliest``, ``latest`` or a time (UTC where it has
    no zone). With ``once`` it ends when nothing has come for ``quiet_secs``, else after ``stop_after_secs``, or never.
    ``manifest``: where heartbeats are, of Pub/Sub a subscription. Raises ``StreamProblem``: one sentence with what to do.
    """
    where = parse_address(address, "address", ("config",))
    given = parse_address(manifest, "manifest", ("config",)) if manifest else None
    stop_at = time.monotonic() + stop_after_secs if stop_after_secs else None
    return _listener(where, begin_of(begin), given, quiet_secs if once else None, stop_at)


def _listener(
    where: Address,
    begin: str | datetime,
    given: Address | None,
    quiet_secs: float | None,
    stop_at: float | None,
    *,
    verifies: bool = False,
) -> StreamListener:
    """Who listens; ``given``: where manifests are, where that was said. ``verifies``: all ids, and manifests, are kept."""
    place = given or (None if where.kind == "pubsub" else manifest_address(where))
    reader, beside = open_reader(where, begin), None
    try:
        if place is not None:
            beside = ManifestTopic(place, keeps_ids=verifies)
    except StreamProblem:
        # Whoever sends there may be none of ours; only what is asked for must be there.
        if given or verifies:
            reader.close(done=False)
            raise
    heard = Heard(remembered=None) if verifies else Heard()
    return StreamListener(where, reader, quiet_secs, stop_at, beside, heard=heard)


def table_of(received: Iterable[Received]) -> Result:
    """Messages as a table: what their headers say, then the filters' columns under their own names.

    A column that has the name of a header, or of another kind of value in other messages, is ``columns.NAME``, as JSON. For a
    DataFrame: ``table_of(listen(..., once=True)).to_pandas()``.
    """
    rows, columns = list[dict[str, Any]](), dict[str, list[Any]]()
    for number, hit in enumerate(received):
        rows.append({"id": hit.id, "alert_id": hit.alert_id, **{name: getattr(hit, name) for name in HEADERS}})
        for name, value in hit.columns.items():
            columns.setdefault(name, [None] * number).append(value)
        for values in columns.values():
            values.extend([None] * (number + 1 - len(values)))
    table = pa.Table.from_pylist(rows, schema=_TABLE)
    for name, values in columns.items():
        try:
            if name in table.column_names:
                raise pa.ArrowInvalid(name)
            table = table.append_column(name, pa.array(values))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            texts = [None if value is None else json.dumps(value) for value in values]
            table = table.append_column(f"columns.{name}", pa.array(texts, pa.string()))
    return Result(table)


_TIME = pa.timestamp("us", tz="UTC")
_TABLE = pa.schema(
    [
        ("id", pa.string()),
        ("alert_id", pa.int64()),
        *((name, _TIME if name.endswith("_at") else pa.string()) for name in HEADERS),
    ]
)


def begin_of(begin: str | datetime) -> str | datetime:
    """Where to begin. Raises ``StreamProblem``."""
    if begin in (EARLIEST, LATEST):
        return begin
    try:
        found = datetime.fromisoformat(begin) if isinstance(begin, str) else begin
    except ValueError:
        raise StreamProblem(f"--from {begin} is neither earliest, latest, nor a time such as 2026-11-29T05:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass
class Listening:
    """What the command does with a stream. Also a context manager."""

    listener: StreamListener
    save: Path | None
    verify_secs: float

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Listening:
        """From the command's arguments. Raises ``StreamProblem`` and ``ValueError``."""
        begin = begin_of(arguments.begin)
        if arguments.verify and begin != EARLIEST:
            raise StreamProblem("--verify holds all that was sent against all that came; leave --from out")
        if arguments.verify and not (arguments.once or arguments.stop_after_secs):
            raise StreamProblem("--verify is done at the end; add --once, or --stop_after_secs SECONDS")
        address = parse_address(arguments.address, "ADDRESS", ("config",))
        if arguments.verify and address.kind == "pubsub" and not arguments.manifest:
            raise StreamProblem("--manifest is missing: a subscription of the topic's manifests, TOPIC-manifest")
        save = _made(arguments.save)
        given = parse_address(arguments.manifest, "--manifest", ("config",)) if arguments.manifest else None
        quiet_secs = arguments.quiet_secs if arguments.once else None
        stop_at = time.monotonic() + arguments.stop_after_secs if arguments.stop_after_secs else None
        listener = _listener(address, begin, given, quiet_secs, stop_at, verifies=arguments.verify)
        listener.say = _say
        return cls(listener, save, arguments.quiet_secs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.listener.close()

    def run(self) -> None:
        """Read until it is quiet, or time is up, or somebody interrupts, and say how much came. Raises ``StreamProblem``."""
        try:
            for received in self.listener:
                self._show(received)
        finally:
            heard, behind = self.listener.heard, self._behind()
            left = f"; {behind:,} are still to be read" if behind else ""
            _say(f"{heard.messages:,} messages, {heard.copies:,} copies of these dropped{left}")

    def _behind(self) -> int | None:
        try:
            return self.listener.behind
        except StreamProblem:
            return None

    def _show(self, received: Received) -> None:
        told, value = received.headers, received.message.value or b""
        line = "  ".join(told[name] for name in _SHOWN if told.get(name)) or f"{len(value):,} bytes"
        # Anybody may have sent it: what a terminal obeys is not printed.
        print("".join(letter if letter.isprintable() else "\ufffd" for letter in line), flush=True)
        if self.save is not None:
            known = received.id is not None and _ID.fullmatch(received.id)
            name = received.id if known else hashlib.sha256(value).hexdigest()[:32]
            ending = "avro" if value.startswith(b"Obj\x01") else "json"
            (self.save / f"{name}.{ending}").write_bytes(value)
            (self.save / f"{name}.headers").write_text(json.dumps(told), encoding="utf-8")

    def verify(self) -> int:
        """Hold what came against the manifests; gives the exit status. Raises ``StreamProblem`` and ``NoManifest``."""
        beside, came = self.listener.beside, self.listener.heard.ids.keys()
        assert beside is not None
        sent = beside.read_all(self.verify_secs)
        missing, more = sorted(sent - came), len(came - sent)
        _say(f"{beside.manifests:,} manifests tell of {len(sent):,} messages; {len(missing):,} of them are missing")
        if more:
            _say(f"{more:,} messages came that no manifest tells of yet")
        for name in missing[:_MOST_NAMED]:
            _say(f"missing: {name}")
        if len(missing) > _MOST_NAMED:
            _say(f"and {len(missing) - _MOST_NAMED:,} others")
        return 1 if missing else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _made(folder: str | None) -> Path | None:
    """The folder to save to, made. Raises ``ValueError``."""
    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--save {folder} cannot be made: {error.strerror}") from error
    return Path(folder)
