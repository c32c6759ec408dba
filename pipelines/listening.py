"""A stream that is listened to: read, drop copies, print or save, and hold what came against manifests."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.addresses import Address, parse_address
from streams.errors import StreamProblem
from streams.listening import Heard, Received, manifests_in
from streams.manifests import MANIFEST, manifest_address
from streams.readers import EARLIEST, Reader, open_reader

_SHOWN = ("observed_at", "filter", "survey", "alert_id", "object_id", "columns")
_POLL_SECS = 1.0
_MOST_NAMED = 20
_ID = re.compile(r"[0-9a-f]{32}")
"""As ours are. Whatever else calls itself an id is no name of a file."""


@dataclass
class Listening:
    """A stream that is listened to. Also a context manager."""

    address: Address
    reader: Reader
    manifest: Address | None
    save: Path | None
    quiet_secs: float | None
    """It ends when nothing has come for so long; None: never by itself."""
    verify_secs: float
    stop_at: float | None
    heard: Heard = field(default_factory=Heard)

    @classmethod
    def of(cls, arguments: argparse.Namespace, begin: str | datetime) -> Listening:
        """From the command's arguments. Raises ``StreamProblem`` and ``ValueError``."""
        address = parse_address(arguments.address, "ADDRESS", ("config",))
        if arguments.verify and begin != EARLIEST:
            raise StreamProblem("--verify holds all that was sent against all that came; leave --from out")
        if arguments.verify and not (arguments.once or arguments.stop_after_secs):
            raise StreamProblem("--verify is done at the end; add --once, or --stop_after_secs SECONDS")
        manifest = None
        if arguments.verify:
            if address.kind == "pubsub" and not arguments.manifest:
                raise StreamProblem("--manifest is missing: a subscription of the topic's manifests, TOPIC-manifest")
            given = parse_address(arguments.manifest, "--manifest", ("config",)) if arguments.manifest else None
            manifest = given or manifest_address(address)
        heard = Heard(remembered=None) if arguments.verify else Heard()
        return cls(
            address,
            open_reader(address, begin),
            manifest,
            _made(arguments.save),
            arguments.quiet_secs if arguments.once else None,
            arguments.quiet_secs,
            time.monotonic() + arguments.stop_after_secs if arguments.stop_after_secs else None,
            heard,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.reader.close(done=kind is None)

    def run(self) -> None:
        """Read until it is quiet, or time is up, or somebody interrupts. Raises ``StreamProblem``."""
        came_at = time.monotonic()
        while self.stop_at is None or time.monotonic() < self.stop_at:
            messages = self.reader.read(_POLL_SECS)
            for received in self.heard.take(messages):
                self._show(received)
            if messages:
                came_at = time.monotonic()
            elif self.quiet_secs is not None and time.monotonic() - came_at >= self.quiet_secs:
                break
        print(f"{self.heard.messages:,} messages, {self.heard.copies:,} copies of these dropped", file=sys.stderr)

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
        assert self.manifest is not None
        sent, number = set[str](), 0
        reader, done = open_reader(replace(self.manifest), EARLIEST), False
        try:
            for manifest in manifests_in(reader, self.verify_secs):
                sent.update(manifest.ids)
                number += 1
            done = True
        finally:
            reader.close(done=done)
        if not number:
            raise StreamProblem(f"{self.manifest} has no {MANIFEST}: nothing says what was sent to {self.address}")
        missing, more = sorted(sent - self.heard.ids.keys()), len(self.heard.ids.keys() - sent)
        print(f"{number:,} manifests tell of {len(sent):,} messages; {len(missing):,} of them are missing", file=sys.stderr)
        if more:
            print(f"{more:,} messages came that no manifest tells of yet", file=sys.stderr)
        for name in missing[:_MOST_NAMED]:
            print(f"missing: {name}", file=sys.stderr)
        if len(missing) > _MOST_NAMED:
            print(f"and {len(missing) - _MOST_NAMED:,} others", file=sys.stderr)
        return 1 if missing else 0


def _made(folder: str | None) -> Path | None:
    """The folder to save to, made. Raises ``ValueError``."""
    if folder is None:
        return None
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--save {folder} cannot be made: {error.strerror}") from error
    return Path(folder)
