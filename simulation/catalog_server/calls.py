"""What was asked of the server, by whom and when, and how many questions were in flight at once."""

from __future__ import annotations

import select
import socket
import threading
import time
from dataclasses import dataclass, replace

_HUNG_UP = getattr(select, "POLLRDHUP", select.POLLIN)
"""Linux tells that the other side has hung up though something it has sent is not read yet; elsewhere all must be read."""


@dataclass
class Call:
    """One request. Times are seconds on ``time.monotonic``."""

    path: str
    user_agent: str
    received_bytes: int
    begun_secs: float
    catalog: str = ""
    """The catalog asked, without ``vizier:``; empty where none was named."""
    positions: int = 0
    """Asked about; 0 where the service did not take the question."""
    in_flight: int = 0
    """Questions in flight when this one began, itself among them."""
    fault: str | None = None
    """The kind of the fault that struck it."""
    status: int | None = None
    """Of the answer; None where none was sent, not even in part."""
    ended_secs: float | None = None
    """Before the last byte of the answer left; None where the call goes on."""


class Calls:
    """The records of all calls. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._list_calls: list[Call] = []
        self._in_flight: dict[int, socket.socket] = {}

    def begin(self, path: str, user_agent: str, received_bytes: int, client: socket.socket) -> Call:
        """Record a question that has begun to arrive."""
        call = Call(path, user_agent, received_bytes, time.monotonic())
        with self._lock:
            # Who hung up waits for nothing any more, though a fault may still hold his call.
            self._in_flight[id(call)] = client
            call.in_flight = sum(not gone(request) for request in self._in_flight.values())
            self._calls.append(call)
        return call

    def end(self, call: Call) -> None:
        """The call is over, but for its last byte; to say so twice changes nothing."""
        with self._lock:
            if self._in_flight.pop(id(call), None) is not None:
                call.ended_secs = time.monotonic()

    def note(self, call: Call, **changes: object) -> None:
        """What has become known of a call."""
        with self._lock:
            for name, value in changes.items():
                setattr(call, name, value)

    def list_call(self, path: str, user_agent: str) -> None:
        """Record a request for the list of catalogs and the like."""
        now_secs = time.monotonic()
        with self._lock:
            self._list_calls.append(Call(path, user_agent, 0, now_secs))

    @property
    def all(self) -> tuple[Call, ...]:
        """The questions, in the order in which they began."""
        with self._lock:
            return tuple(replace(call) for call in self._calls)

    @property
    def of_lists(self) -> tuple[Call, ...]:
        """The requests to ``/tables``."""
        with self._lock:
            return tuple(replace(call) for call in self._list_calls)

    @property
    def most_in_flight(self) -> int:
        """The most questions in flight at once."""
        return max((call.in_flight for call in self.all), default=0)

    @property
    def positions(self) -> int:
        """In all uploads together."""
        return sum(call.positions for call in self.all)


def gone(client: socket.socket, wait_secs: float = 0.0) -> bool:
    """Whether the other side has hung up, or does within ``wait_secs``; takes nothing from the socket."""
    poll = select.poll()
    try:
        poll.register(client, _HUNG_UP)
        events = poll.poll(wait_secs * 1000)
        if not events or hasattr(select, "POLLRDHUP"):
            return bool(events)
        return client.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except (OSError, ValueError):
        # Closed on our side.
        return True
