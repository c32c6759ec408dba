"""A stand-in for CDS X-Match on this machine: in a test's process, or for users without network."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any

from simulation.catalog_server.calls import Call, Calls
from simulation.catalog_server.catalog import ServedCatalog
from simulation.catalog_server.faults import Fault, Faults
from simulation.catalog_server.handler import SYNC, Handler, Limits, Shared

_POLL_SECS = 0.02
_JOIN_SECS = 30.0


class Listener(ThreadingHTTPServer):
    """Accepts connections, a thread each, and can end them all."""

    request_queue_size = 128
    daemon_threads = True

    def __init__(self, address: tuple[str, int], shared: Shared) -> None:
        super().__init__(address, Handler)
        self.shared = shared
        self.failures: list[BaseException] = []
        """What a request died of that is neither the client's doing nor a fault."""
        self._lock = threading.Lock()
        self._open: dict[threading.Thread, socket.socket] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own."""
        thread = threading.Thread(
            target=self.process_request_thread, args=(request, client_address), name="catalog-server", daemon=True
        )
        with self._lock:
            self._open[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The life of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[threading.current_thread()]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may hang up; what else goes wrong is kept for ``CatalogServer.close``."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, (ConnectionError, TimeoutError)):
            self.failures.append(error)

    def end_connections(self) -> None:
        """Hang up on everybody: threads that wait, send or read return at once."""
        with self._lock:
            open_now = dict(self._open)
            for connection in open_now.values():
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue
        for thread in open_now:
            thread.join(_JOIN_SECS)
            if thread.is_alive():
                raise RuntimeError(f"a connection of the catalog server did not end within {_JOIN_SECS:g} s")


class CatalogServer:
    """CDS X-Match, for the catalogs given by their names (``I/311/hip2``, ``simbad``): ``with CatalogServer({...}) as server``.

    Knows what it was asked, and can be told to fail. Used from any thread.
    """

    def __init__(
        self,
        catalogs: Mapping[str, ServedCatalog],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        limits: Limits = Limits(),  # noqa: B008  (frozen)
    ) -> None:
        """Takes the port (0: a free one), and serves from ``start`` on. Raises ``OSError`` when it cannot have the port."""
        self._calls, self._faults = Calls(), Faults()
        self._listener = Listener((host, port), Shared(dict(catalogs), limits, self._calls, self._faults))
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(_POLL_SECS,), name="catalog-server-accepts", daemon=True
        )
        self.url = f"http://{host}:{self._listener.server_address[1]}{SYNC}"
        """What clients take for the service's address."""

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def close(self) -> None:
        """End all connections and give the port back. Raises what a request died of, if it was the server's own fault."""
        if self._thread.is_alive():
            self._listener.shutdown()
            self._thread.join()
        self._listener.end_connections()
        self._listener.server_close()
        if self._listener.failures:
            raise self._listener.failures[0]

    def __enter__(self) -> CatalogServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def fail(self, *faults: Fault) -> None:
        """Fail so from now on, and in no other way; of several faults the first that is meant for a call strikes it."""
        self._faults.put(faults)

    def heal(self) -> None:
        """Answer rightly again. Calls that hang, hang on."""
        self._faults.put(())

    @property
    def calls(self) -> tuple[Call, ...]:
        """The questions so far, in the order in which they began."""
        return self._calls.all

    @property
    def list_calls(self) -> tuple[Call, ...]:
        """The requests to ``/tables`` so far."""
        return self._calls.of_lists

    @property
    def most_in_flight(self) -> int:
        """The most questions that were in flight at once; whose client has hung up is no longer."""
        return self._calls.most_in_flight

    @property
    def positions_asked(self) -> int:
        """Positions in all questions so far that were well put, answered or not."""
        return self._calls.positions
