"""How an answer goes over the wire: whole, or in one of the ways in which answers have failed to arrive."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from simulation.catalog_server.calls import gone
from simulation.catalog_server.faults import Fault

_LONGEST_WAIT_SECS = 60.0
_REASONS = {400: "Mauvaise Requ\xeate", 504: "Gateway Time-out"}
"""Other reason phrases than HTTP's own. That of 400 is French and in Latin-1: astroquery issue 2208."""


@dataclass(frozen=True)
class Reply:
    """An answer before it is sent."""

    status: int
    body: bytes
    content_type: str = "text/xml"


class Client:
    """The other end of a connection. Sending and waiting end with ``ConnectionError`` when it, or the server, goes."""

    def __init__(self, connection: socket.socket, last_byte: Callable[[], None]) -> None:
        """``last_byte`` is called just before the last byte of an answer leaves: the next request may come at once."""
        self._connection = connection
        self._last_byte = last_byte

    def send(self, data: bytes) -> None:
        """The rest of an answer."""
        self._connection.sendall(data[:-1])
        self._last_byte()
        self._connection.sendall(data[-1:])

    def send_part(self, data: bytes) -> None:
        """Some of an answer."""
        self._connection.sendall(data)

    def drip(self, data: bytes, secs: float) -> None:
        """The rest of an answer, a byte every ``secs``."""
        for place in range(len(data) - 1):
            self.send_part(data[place : place + 1])
            self.wait(secs)
        self.send(data[-1:])

    def wait(self, secs: float | None) -> None:
        """Let time pass; None: until one of us goes."""
        until = None if secs is None else time.monotonic() + secs
        while until is None or time.monotonic() < until:
            left = _LONGEST_WAIT_SECS if until is None else max(until - time.monotonic(), 0)
            if gone(self._connection, min(left, _LONGEST_WAIT_SECS)):
                raise ConnectionResetError("the client has hung up, or the server closes")


def deliver(client: Client, reply: Reply, fault: Fault | None) -> bool:
    """Send a reply as ``fault`` has it; tells whether the connection can be used again. Raises ``ConnectionError``."""
    kind, secs = (None, 0.0) if fault is None else (fault.kind, fault.secs)
    if kind == "closed":
        return False
    if kind in ("hanging", "slow"):
        client.wait(None if kind == "hanging" else secs)
    head, body = _laid_out(reply, kind)
    if kind == "dripping_headers":
        client.drip(head + body, secs)
    elif kind == "dripping_body":
        client.send_part(head)
        client.drip(body, secs)
    else:
        client.send(head + body)
    return kind is None or not kind.startswith("cut")


def _laid_out(reply: Reply, kind: str | None) -> tuple[bytes, bytes]:
    """Head and body, the body cut where ``kind`` is a cut."""
    body = reply.body
    if kind == "cut":
        return _head(reply, f"Content-Length: {len(body)}"), body[: len(body) // 2]
    if kind == "cut_at_line":
        lines = _first_lines(body)
        return _head(reply, f"Content-Length: {len(lines)}"), lines
    if kind == "cut_chunked":
        lines = _first_lines(body)
        return _head(reply, "Transfer-Encoding: chunked"), b"%x\r\n%s\r\n" % (len(lines), lines)
    if kind == "cut_unlengthed":
        return _head(reply, "Connection: close"), _first_lines(body)
    return _head(reply, f"Content-Length: {len(body)}"), body


def _first_lines(body: bytes) -> bytes:
    """The lines that end in the first half; the first line at least."""
    half = body.rfind(b"\n", 0, len(body) // 2) + 1
    return body[: half or body.find(b"\n") + 1]


def _head(reply: Reply, length: str) -> bytes:
    reason = _REASONS.get(reply.status) or HTTPStatus(reply.status).phrase
    lines = [
        f"HTTP/1.1 {reply.status} {reason}",
        "Server: stand-in for CDS X-Match",
        f"Content-Type: {reply.content_type}",
        length,
    ]
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("latin-1")
