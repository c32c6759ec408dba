"""Messages of a folder, read as they come: what ``streams.write_folder`` writes."""

from __future__ import annotations

import base64
import json
import logging
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from streams.addresses import Address
from streams.errors import StreamProblem
from streams.messages import HEARTBEAT, Message
from streams.readers import LATEST

_AT_ONCE = 500
_LOG = logging.getLogger(__name__)


class FolderReader:
    """Reads one folder of this machine; see ``Reader``."""

    def __init__(self, address: Address, begin: str | datetime) -> None:
        self._folder = Path(address.name)
        if not self._folder.is_dir():
            raise StreamProblem(f"{address} is no folder; look for a misspelling")
        self._seen = {_seen_as(file) for file in self._files()} if begin == LATEST else set[str]()
        self._since = begin.timestamp() if isinstance(begin, datetime) else 0.0

    def read(self, secs: float) -> list[Message]:  # noqa: D102 - see Reader
        deadline = time.monotonic() + secs
        while True:
            found = [file for file in self._files() if _seen_as(file) not in self._seen][:_AT_ONCE]
            messages = [message for file in found if (message := self._message(file)) is not None]
            # Of some the bytes may not be there yet.
            if messages or time.monotonic() >= deadline:
                return messages
            time.sleep(min(0.2, secs))

    def _files(self) -> list[Path]:
        """One of each message: that of its key and headers, or, where it has none, that of its bytes."""
        # Key and headers are there before the bytes, so that they are looked for behind them.
        bytes_of = {file.stem: file for file in self._folder.glob("*.avro")}
        found = bytes_of | {file.stem: file for file in self._folder.glob("*.json")}
        return [found[name] for name in sorted(found)]

    def _message(self, file: Path) -> Message | None:
        if file.suffix == ".avro":
            self._seen.add(_seen_as(file))
            return None if file.stat().st_mtime < self._since else Message(file.read_bytes())
        try:
            told: dict[str, Any] = json.loads(file.read_text())
            has_value, key = told.get("has_value", True), _decoded(told["key"])
            headers = tuple((str(name), _decoded(coded)) for name, coded in told["headers"])
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _LOG.warning("%s is left out: it is no message's key and headers: %s: %s", file, type(error).__name__, error)
            self._seen.add(_seen_as(file))
            return None
        value = None
        if has_value:
            try:
                value = file.with_suffix(".avro").read_bytes()
            except FileNotFoundError:
                return None  # it is there in a moment
        self._seen.add(_seen_as(file))
        return None if file.stat().st_mtime < self._since else Message(value, key, headers)

    def behind(self) -> int:  # noqa: D102 - see Reader
        return sum(_seen_as(file) not in self._seen for file in self._files())

    def close(self, *, done: bool = True) -> None:  # noqa: D102 - see Reader
        return


def _seen_as(file: Path) -> str:
    """By what a message is known that has been read: a heartbeat takes the place of the one before."""
    return f"{file.stem} {file.stat().st_mtime_ns}" if file.stem == HEARTBEAT else file.stem


def _decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
