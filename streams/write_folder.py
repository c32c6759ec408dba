"""Messages to a folder, each a file, which is there when it is complete."""

from __future__ import annotations

import base64
import json
import os
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from streams.errors import StreamAway, StreamProblem
from streams.messages import HEARTBEAT, Message
from streams.relayed import file_name
from streams.writers import Deliveries, Flushed


class FolderWriter:
    """Writes into one folder of this machine. Key and headers of ``NAME.avro`` are in ``NAME.json``, which is there before it.

    A message that was sent on from Kafka has the name of its place there, so that it is one file however often it is sent.
    """

    def __init__(self, path: str) -> None:
        self.deliveries = Deliveries()
        self._folder = Path(path)
        self._begin, self._number = f"{time.time_ns() // 1000:017d}-{uuid.uuid4().hex[:6]}", 0

    def check(self) -> None:
        """Make the folder. Raises ``StreamProblem`` where that cannot be."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StreamProblem(f"{self._folder} cannot be made: {error.strerror}") from error

    def room(self, secs: float) -> bool:
        """There always is."""
        return True

    def send(self, message: Message) -> None:
        """Write a message, and wait until the disk has it."""
        name = lasting_name(message) or file_name(message)
        if name is None:
            name = f"{self._begin}-{self._number:08d}"
            self._number += 1
        self.deliveries.begun(message)
        try:
            if message.value is None or message.key is not None or message.headers:
                self._write(f"{name}.json", _beside(message))
            if message.value is not None:
                self._write(f"{name}.avro", message.value)
        except OSError as error:
            self.deliveries.ended(message, StreamAway(f"{self._folder} does not take a message: {error.strerror}"))
        else:
            self.deliveries.ended(message)

    def _write(self, name: str, content: bytes) -> None:
        aside = self._folder / f".{name}.part"
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(self._folder / name)

    def flush(self, secs: float) -> Flushed:
        """Wait until the disk knows the names, too. Raises ``StreamAway`` where the folder is gone."""
        try:
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StreamAway(f"{self._folder} is not to be had: {error.strerror}") from error
        return self.deliveries.flushed()

    def close(self) -> None:
        """There is nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def lasting_name(message: Message) -> str | None:
    """The name of what takes the place of the one before, a heartbeat, of which a folder would fill; None for all others."""
    return HEARTBEAT if dict(message.headers).get("kind") == HEARTBEAT.encode() else None


def _beside(message: Message) -> bytes:
    """Key and headers, in base64 but for the names."""
    coded = [[name, _coded(value)] for name, value in message.headers]
    return json.dumps({"key": _coded(message.key), "headers": coded, "has_value": message.value is not None}).encode()


def _coded(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode("ascii")
