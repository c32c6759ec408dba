"""One call and its deadline, against servers that take their time."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from alerts.catalogs.catalog import Unavailable
from alerts.catalogs.http import post


@contextlib.contextmanager
def dripping(head=b"", piece=b"H", every_secs=0.02):
    """A server that never ends its answer; gives its port."""
    done = threading.Event()

    def serve(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(head)
            while not done.wait(every_secs):
                try:
                    connection.sendall(piece)
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            done.set()
            thread.join()


def assert_ends_in_time(url, says):
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=says):
        post(url, {}, {}, headers={}, deadline_secs=0.3)
    # Room for a slow machine; without the deadline, this would never end.
    assert time.monotonic() - begun < 60


def test_a_dripping_server_cannot_stretch_the_deadline():
    """Byte by byte, each well within any timeout of a single read."""
    with dripping() as port:
        assert_ends_in_time(f"http://127.0.0.1:{port}/", r"within 0\.3 s")


def test_a_dripping_proxy_cannot_stretch_it_either(monkeypatch):
    """Before TLS begins, a proxy answers CONNECT."""
    with dripping() as port:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert_ends_in_time("https://xmatch.invalid/", r"within 0\.3 s")


@pytest.mark.parametrize(
    ("head", "piece", "says"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", b"a,b\n", "how long"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"4\r\na,b\n\r\n", r"within 0\.3 s"),
    ],
)
def test_a_body_that_the_deadline_ends_is_no_answer(head, piece, says):
    """Whole lines only: to a reader, our hanging up may look like the end."""
    with dripping(head, piece) as port:
        assert_ends_in_time(f"http://127.0.0.1:{port}/", says)


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(Unavailable, match="cannot be reached"):
        post(f"http://127.0.0.1:{port}/", {}, {}, headers={}, deadline_secs=1.0)
