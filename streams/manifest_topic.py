"""What is beside a topic, read while it is listened to: its manifests, and heartbeats of who sends to it."""

from __future__ import annotations

from streams.addresses import Address
from streams.errors import StreamProblem
from streams.heartbeats import Heartbeat, heartbeat_of
from streams.manifests import MANIFEST, from_json
from streams.readers import EARLIEST, LATEST, Reader, open_reader


class ManifestTopic:
    """A topic's manifests and heartbeats, as far as they have been read. Let go of it by ``close``."""

    def __init__(self, address: Address, *, keeps_ids: bool) -> None:
        """``keeps_ids``: whether it is asked what was sent. Raises ``StreamProblem`` where there is nothing to read."""
        self.address = address
        self.beat: Heartbeat | None = None
        """The latest."""
        self.manifests, self.ids = 0, set[str]()
        self._keeps_ids = keeps_ids
        whole = keeps_ids or address.kind == "pubsub"
        self._reader: Reader = open_reader(address, EARLIEST if whole else LATEST)

    def read(self, secs: float) -> bool:
        """Read what has come, waiting so long at most; whether anything had. Raises ``StreamProblem`` and ``NoManifest``."""
        messages = self._reader.read(secs)
        for message in messages:
            value = message.value or b""
            if beat := heartbeat_of(value):
                self.beat = beat
            elif self._keeps_ids and (manifest := from_json(value)):
                self.manifests += 1
                self.ids.update(manifest.ids)
        return bool(messages)

    def read_all(self, secs: float) -> set[str]:
        """The ids that manifests tell of, read until nothing has come for so long. Raises as ``read``, and where none is."""
        while self.read(secs):
            pass
        if not self.manifests:
            raise StreamProblem(f"{self.address} has no {MANIFEST}: nothing says what was sent")
        return self.ids

    def close(self, *, done: bool = True) -> None:
        """Let go of the place; ``done``: whether all that was read was dealt with."""
        self._reader.close(done=done)
