"""A loopback proxy in front of an HTTP service that fails as it is told: 503 for a while, 403, a connection cut."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal

_REASONS = {400: "invalid", 403: "accessDenied", 404: "notFound", 413: "uploadTooLarge", 429: "rateLimitExceeded"}
_JOB = re.compile(r"^/bigquery/v2/projects/[^/]+/(jobs|queries)(\?|$)")
_HOP_BY_HOP = {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}


@dataclass
class Fault:
    """What happens to the next ``times`` requests that match, all of them if it is None."""

    pattern: re.Pattern[str]
    times: int | None
    status: int
    body: bytes
    cut: Literal["request", "answer"] | None
    met: int = 0

    def take(self, request: str) -> bool:
        """Whether this request meets the fault; counts it."""
        if self.met == self.times or not self.pattern.search(request):
            return False
        self.met += 1
        return True


@dataclass
class Exchange:
    """One request as the proxy saw it; ``status`` is None where the connection was cut."""

    method: str
    path: str
    size: int
    status: int | None = None
    failed: bool = False
    job: bytes = field(default=b"", repr=False)
    """What was sent, where it is a job for BigQuery."""


class FaultyProxy:
    """Forwards HTTP from ``host`` to ``target`` (both ``host:port``), until it is closed. Also a context manager."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.exchanges: list[Exchange] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def fail(
        self,
        times: int | None,
        request: str,
        status: int = 503,
        reason: str | None = None,
        *,
        answer: Any = None,
        cut: Literal["request", "answer"] | None = None,
    ) -> Fault:
        """Fail the next ``times`` requests (None: all, until ``heal``) in whose ``METHOD /path?query`` the pattern is found.

        They get ``status`` with an error as Google's JSON, or ``answer`` as JSON in its place (with ``status=200`` too).
        ``cut="request"`` closes the connection before the service sees the request, ``cut="answer"`` after it did its work.
        Of several faults the first that matches is met; ``Fault.met`` counts.
        """
        if answer is None:
            message = f"{status} because a test wants it"
            details = [{"domain": "global", "reason": reason or _REASONS.get(status, "backendError"), "message": message}]
            answer = {"error": {"code": status, "message": message, "errors": details}}
        fault = Fault(re.compile(request), times, status, json.dumps(answer).encode(), cut)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """No faults from now on."""
        with self._lock:
            self._faults.clear()

    @property
    def failed(self) -> list[str]:
        """``METHOD /path?query`` of the requests that met a fault."""
        with self._lock:
            return [f"{one.method} {one.path}" for one in self.exchanges if one.failed]

    def seen(self, request: str) -> list[Exchange]:
        """The requests so far in whose ``METHOD /path?query`` the pattern is found."""
        with self._lock:
            return [one for one in self.exchanges if re.search(request, f"{one.method} {one.path}")]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def arrived(self, exchange: Exchange) -> Fault | None:
        """Note a request; gives the fault it meets."""
        with self._lock:
            self.exchanges.append(exchange)
            request = f"{exchange.method} {exchange.path}"
            fault = next((fault for fault in self._faults if fault.take(request)), None)
            exchange.failed = fault is not None
            return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    proxy: FaultyProxy

    def setup(self) -> None:
        super().setup()
        self.upstream = http.client.HTTPConnection(self.proxy.target, timeout=600)

    def finish(self) -> None:
        self.upstream.close()
        # The client may be gone.
        with contextlib.suppress(OSError):
            super().finish()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def _exchange(self) -> None:
        sent = self._body()
        is_job = self.command == "POST" and _JOB.search(self.path)
        exchange = Exchange(self.command, self.path, len(sent), job=sent if is_job else b"")
        fault = self.proxy.arrived(exchange)
        if fault is None:
            status, headers, body = self._forward(sent)
            self._answer(exchange, status, headers, body)
        elif fault.cut is None:
            self._answer(exchange, fault.status, [("Content-Type", "application/json")], fault.body)
        else:
            if fault.cut == "answer":
                self._forward(sent)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _exchange

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        # The Host header stays the proxy's, so that links in answers (a resumable upload's) lead through the proxy too.
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        if body or self.command in {"POST", "PUT", "PATCH"}:
            headers["Content-Length"] = str(len(body))
        if self._is_idle_and_closed():
            self.upstream.close()
        self.upstream.request(self.command, self.path, body or None, headers)
        answer = self.upstream.getresponse()
        return answer.status, answer.getheaders(), answer.read()

    def _is_idle_and_closed(self) -> bool:
        if self.upstream.sock is None:
            return False
        poll = select.poll()
        poll.register(self.upstream.sock, select.POLLIN)
        return bool(poll.poll(0))

    def _answer(self, exchange: Exchange, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        exchange.status = status
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        if exchange.method == "HEAD":
            self.send_header("Content-Length", dict(headers).get("Content-Length", "0"))
            body = b""
        elif status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass
