"""What sends the hits of a stream, beside its rounds: no round waits for a receiver's side."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType

from pipelines.open_messages import WrittenBetween
from pipelines.sending import EVERYTHING, Reach, Sent, send_open
from schemas.run_ids import new_run_id
from streams.addresses import Address
from streams.heartbeats import EVERY_SECS, Heartbeat, send_heartbeats
from streams.open_writers import OpenWriters
from streams.said import Said
from warehouses.reachable import told

_LOG = logging.getLogger(__name__)
_AGAIN_SECS = 15.0
"""What waits in the outbox is tried again after so long, whether or not there was a round."""
_LEAVES_SECS = 20.0
_MANIFEST_SECS = 3600.0
_NEW = timedelta(days=2)
"""What was written before and is still open is sent once an hour: only then all is looked through that was ever sent."""
_MOST_SAID = 10


class Sender:
    """A thread that sends what is open whenever a round has written. Also a context manager.

    What it has in hand when the stream is killed is sent again by whoever comes next, with the same ids.
    """

    def __init__(self, uri: str, addresses: Mapping[str, Address]) -> None:
        """``addresses``: for which earlier runs may have left something open, which waits for no round."""
        self._uri = uri
        self._written, self._ending = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._addresses = dict(addresses)
        self._run_id = new_run_id(datetime.now(UTC))
        self._said = Said(_LOG)
        self._told_at = self._beat_at = -math.inf
        self._left, self._is_back = set[str](), False
        """The addresses that took none when all was looked through; and whether one of these does again."""
        self._writers = OpenWriters()
        self._thread = threading.Thread(target=self._work, name="sender", daemon=True)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._written.set()
        self._thread.join(_LEAVES_SECS)
        if self._thread.is_alive():
            _LOG.warning("hits are still being sent; what is left of them waits in the outbox: broker publish --outbox sends it")

    def tell(self, run_id: str, addresses: Mapping[str, Address]) -> None:
        """A round has written hits for these addresses."""
        with self._lock:
            self._run_id = run_id
            self._addresses |= addresses
        self._written.set()

    def _work(self) -> None:
        while True:
            self._written.wait(_AGAIN_SECS)
            is_last = self._ending.is_set()
            self._written.clear()
            self._send()
            if is_last:
                self._writers.close()
                return

    def _send(self) -> None:
        with self._lock:
            run_id, addresses = self._run_id, dict(self._addresses)
        if not addresses:
            return
        try:
            # Once an hour a topic into which nothing was sent has a manifest that says so.
            is_due = time.monotonic() - self._told_at > _MANIFEST_SECS
            asked_at = datetime.now(UTC)
            look = EVERYTHING if self._is_back else Reach(WrittenBetween(since=asked_at - _NEW))
            if is_due:
                look = Reach(nothing_since=asked_at - timedelta(seconds=_MANIFEST_SECS))
            found = send_open(self._uri, addresses, run_id, look, self._writers)
            if look.written.since is None:
                self._left, self._is_back = set(found.waiting), bool(found.taken)
            elif not self._left.isdisjoint(+found.sent):
                self._is_back = True
                self._written.set()
            self._tell(found)
            if is_due:
                self._told_at = time.monotonic()
            self._beat(asked_at, addresses, found)
        except Exception as error:  # nothing is lost: it is open, and sent the next time
            self._said.say(f"the outbox is not sent now: {told(error)}")

    def _beat(self, at: datetime, addresses: Mapping[str, Address], found: Sent) -> None:
        """Say to who listens that this lives, and has sent what was open at a time; not where something waits, new or old."""
        if time.monotonic() - self._beat_at < EVERY_SECS:
            return
        self._beat_at = time.monotonic()
        waiting = self._left | found.waiting.keys()
        beating = [(address, Heartbeat(topic, at)) for topic, address in addresses.items() if topic not in waiting]
        send_heartbeats(beating, self._writers)

    def _tell(self, found: Sent) -> None:
        said = [f"hits wait in the outbox for {topic}: {why}" for topic, why in found.waiting.items()]
        if found.others:
            told_of = ", ".join(found.others)
            said.append(f"hits wait in the outbox for {told_of}, which no --publish names; broker publish --outbox sends them")
        if said:
            # Together: of what is said one by one, only the first is, within a minute.
            more = f"; and {len(said) - _MOST_SAID} others" if len(said) > _MOST_SAID else ""
            self._said.say("; ".join(said[:_MOST_SAID]) + more)
        if found.sent:
            _LOG.info("%d hits were sent", found.sent.total(), extra={"stage": "publish", "refused": found.refused.total()})
