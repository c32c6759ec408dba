"""One HTTP call that ends in time: a deadline for all of it, where libraries only limit each wait for more bytes."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from alerts.catalogs.catalog import Unavailable
from alerts.limits import MAX_ANSWER_BYTES

CONNECT_SECS = 3.0
_CHUNK_BYTES = 65536
_GZIP = 31  # zlib's word for "32 kB window, gzip format"


class _Leash:
    """The socket of the call under way, which can be pulled away from another thread."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self.expired = False

    def hold(self, connected: socket.socket) -> None:
        """A handle of our own: TLS takes the socket itself into another object."""
        with self._lock:
            self._close()
            self._socket = connected.dup()
            if self.expired:
                self._shut()

    def let_go(self) -> None:
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def expire(self) -> None:
        with self._lock:
            self.expired = True
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            # A read that waits in another thread returns at once.
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _pools(leash: _Leash) -> dict[str, Any]:
    # From the first moment of a connection on: a proxy's answer and the TLS handshake may drip too.
    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            leash.hold(made)
            return made

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            made = super()._new_conn()
            leash.hold(made)
            return made

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    return {"http": PlainPool, "https": SecurePool}


class _Adapter(HTTPAdapter):
    def __init__(self, leash: _Leash) -> None:
        self._leash = leash
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._leash)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _pools(self._leash)
        return manager


@contextlib.contextmanager
def _leashed(deadline_secs: float) -> Iterator[tuple[requests.Session, _Leash]]:
    leash = _Leash()
    timer = threading.Timer(deadline_secs, leash.expire)
    timer.daemon = True
    timer.start()
    # A connection of its own: calls are few and long, and an old connection may have died unseen.
    session = requests.Session()
    try:
        session.mount("http://", _Adapter(leash))
        session.mount("https://", _Adapter(leash))
        yield session, leash
    finally:
        timer.cancel()
        leash.let_go()
        session.close()


def post(
    url: str,
    data: dict[str, Any],
    files: dict[str, Any],
    *,
    headers: dict[str, str],
    deadline_secs: float,
    max_bytes: int = MAX_ANSWER_BYTES,
) -> tuple[requests.Response, bytes]:
    """The response to a POST and its whole body, decompressed.

    Raises ``Unavailable`` when there is none within the deadline, no connection, a body that was cut, or one that is too long.
    """
    return _call("POST", url, deadline_secs, max_bytes, data=data, files=files, headers=headers)


def get(
    url: str, *, deadline_secs: float, max_bytes: int, auth: tuple[str, str] | None = None
) -> tuple[requests.Response, bytes]:
    """The response to a GET and its whole body; ``auth`` is user and password. Raises ``Unavailable`` as ``post`` does."""
    return _call("GET", url, deadline_secs, max_bytes, headers={}, auth=auth)


def _call(
    method: str, url: str, deadline_secs: float, max_bytes: int, *, headers: dict[str, str], **sending: Any
) -> tuple[requests.Response, bytes]:
    begun = time.monotonic()
    with _leashed(deadline_secs) as (session, leash):
        try:
            timeout = (min(CONNECT_SECS, deadline_secs), deadline_secs)
            # Only what can be decompressed piece by piece: others grow without a limit, or are gzip of gzip.
            asked = {**headers, "Accept-Encoding": "gzip"}
            sent = session.request(method, url, headers=asked, timeout=timeout, stream=True, allow_redirects=False, **sending)
            with sent as response:
                body = _body(response, max_bytes)
            if leash.expired:
                # To whoever reads, a connection pulled away looks like the end of a body without a length.
                raise Unavailable(f"{url} did not answer within {deadline_secs:g} s")
            return response, body
        except (requests.RequestException, HTTPError, OSError, ValueError) as error:
            if leash.expired or time.monotonic() - begun >= deadline_secs:
                raise Unavailable(f"{url} did not answer within {deadline_secs:g} s") from error
            raise Unavailable(f"{url} cannot be reached or broke off: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """What lies at the bottom of libraries' errors: the system's own words, where there are some."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, socket.gaierror):
            return f"no host of that name is known here ({below.strerror}); is there a network?"
        if isinstance(below, OSError) and below.errno and below.strerror:
            return below.strerror
        below = below.__cause__ or below.__context__
    return f"{type(error).__name__}: {error}"


def _body(response: requests.Response, max_bytes: int) -> bytes:
    if "Content-Length" not in response.headers and "chunked" not in response.headers.get("Transfer-Encoding", ""):
        raise Unavailable(f"{response.url} does not say how long its answer is, so that nobody can tell whether it is whole")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise Unavailable(f"{response.url} answers in {encoding[:40]!r} where only gzip was allowed")
    unpacker = None if encoding == "identity" else zlib.decompressobj(_GZIP)
    parts: list[bytes] = []
    size = 0
    for sent in response.raw.stream(_CHUNK_BYTES, decode_content=False):
        # One byte more than is allowed shows that there is more.
        part = _unpacked(unpacker, sent, max_bytes + 1 - size, response.url) if unpacker else sent
        parts.append(part)
        size += len(part)
        if size > max_bytes:
            raise Unavailable(f"{response.url} answers with more than {max_bytes // 2**20} MB; ask with a smaller radius")
    if unpacker and not unpacker.eof:
        raise Unavailable(f"{response.url} broke off: its gzip stream does not end")
    return b"".join(parts)


def _unpacked(unpacker: Any, sent: bytes, most: int, url: str) -> bytes:
    try:
        part: bytes = unpacker.decompress(sent, most)
    except zlib.error as error:
        raise Unavailable(f"{url} answers with a damaged gzip stream: {error}") from error
    if unpacker.unused_data:
        raise Unavailable(f"{url} answers with bytes behind the end of its gzip stream")
    return part
