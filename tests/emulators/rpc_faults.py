"""A loopback proxy before BigQuery's Storage Write API that fails as it is told: a status, an answer, silence, a connection cut.

A relay of bytes stands before it, as gRPC does not let its servers cut a connection: many calls go by one, and end with it.
"""

from __future__ import annotations

import contextlib
import queue
import re
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc

from tests.emulators.tcp_relay import TcpRelay

_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_THREADS = 300
_STREAMED = "AppendRows"
_OURS = ("x-goog-request-params",)
"""Headers that the service looks at."""


@dataclass
class RpcFault:
    """What happens to the next ``times`` requests that match, all of them if it is None."""

    pattern: re.Pattern[str]
    times: int | None
    code: grpc.StatusCode
    after: bool
    answer: bytes | None
    cut: bool
    silent: bool
    spare: int
    """So many that match pass before."""
    met: int = 0

    def take(self, request: str) -> bool:
        """Whether this request meets the fault; counts it."""
        if self.met == self.times or not self.pattern.search(request):
            return False
        if self.spare:
            self.spare -= 1
            return False
        self.met += 1
        return True


@dataclass
class RpcExchange:
    """One request as the proxy saw it; ``call`` counts the AppendRows calls, each of which may have many."""

    method: str
    place: str
    """``projects/...``: the stream or table."""
    size: int
    call: int = 0
    failed: bool = False
    answered: bool = False


class FaultyRpcProxy:
    """Forwards gRPC from ``host`` to ``target`` (both ``host:port``), until it is closed. Also a context manager."""

    def __init__(self, target: str) -> None:
        self.exchanges: list[RpcExchange] = []
        self.delay_secs = 0.0
        """How long the service takes for each request, besides what it takes."""
        self.idle_secs = 3600.0
        """A call that has had no request for so long ends with ABORTED."""
        self.edit: Callable[[bytes], bytes] | None = None
        """What becomes of an answer of AppendRows on its way."""
        self.calls = 0
        """How many AppendRows calls were begun."""
        self._faults: list[RpcFault] = []
        self._lock = threading.Lock()
        self._target = grpc.insecure_channel(target, options=_OPTIONS)
        self._server = grpc.server(ThreadPoolExecutor(_THREADS), handlers=[_Handler(self)], options=_OPTIONS)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._relay = TcpRelay(port)
        self.host = f"127.0.0.1:{self._relay.port}"

    @property
    def connections(self) -> int:
        """How many TCP connections there were."""
        return self._relay.accepted

    def fail(
        self,
        times: int | None,
        request: str,
        code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE,
        *,
        after: bool = False,
        answer: Any = None,
        cut: bool = False,
        silent: bool = False,
        spare: int = 0,
    ) -> RpcFault:
        """Fail the next ``times`` requests (None: all, until ``heal``) in whose ``METHOD projects/...`` the pattern is found.

        Their call ends with the status ``code``; or they get ``answer``, a message, and their call goes on; or the connection
        is ``cut``, with all calls that go by it; or nothing ever comes (``silent``). With ``after`` the service has done its
        work, else it does not see the request. Of several faults the first that matches is met, and the
        first ``spare`` that match pass; ``RpcFault.met`` counts.
        """
        serialized = None if answer is None else type(answer).serialize(answer)
        fault = RpcFault(re.compile(request), times, code, after, serialized, cut, silent, spare)
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """No faults, delays, short idle times and edits from now on."""
        with self._lock:
            self._faults.clear()
        self.delay_secs, self.idle_secs, self.edit = 0.0, 3600.0, None

    def cut(self) -> None:
        """Cut all connections that there are."""
        self._relay.cut()

    def seen(self, request: str) -> list[RpcExchange]:
        """The requests so far in whose ``METHOD projects/...`` the pattern is found."""
        with self._lock:
            return [one for one in self.exchanges if re.search(request, f"{one.method} {one.place}")]

    def close(self) -> None:
        """Stop."""
        self._relay.close()
        self._server.stop(0).wait()
        self._target.close()

    def __enter__(self) -> FaultyRpcProxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def begun(self) -> int:
        """Number a call that begins."""
        with self._lock:
            self.calls += 1
            return self.calls

    def arrived(self, exchange: RpcExchange) -> RpcFault | None:
        """Note a request; gives the fault it meets."""
        with self._lock:
            self.exchanges.append(exchange)
            request = f"{exchange.method} {exchange.place}"
            fault = next((fault for fault in self._faults if fault.take(request)), None)
            exchange.failed = fault is not None
        if self.delay_secs:
            time.sleep(self.delay_secs)
        return fault

    def through(self, exchange: RpcExchange, forward: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
        """The answer to a request; ends the call where that is the fault it meets."""
        fault = self.arrived(exchange)
        if fault is None or fault.after:
            answer = _forwarded(forward, context)
        if fault is not None:
            answer = self._failed(fault, context)
        elif self.edit is not None and exchange.method == _STREAMED:
            answer = self.edit(answer)
        exchange.answered = True
        return answer

    def _failed(self, fault: RpcFault, context: grpc.ServicerContext) -> bytes:
        if fault.cut:
            self.cut()
        if fault.silent or fault.cut:
            gone = threading.Event()
            if context.add_callback(gone.set):
                gone.wait()
        if fault.answer is None:
            context.abort(fault.code, "because a test wants it")
        return fault.answer


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, proxy: FaultyRpcProxy) -> None:
        self._proxy = proxy

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        name = details.method.rpartition("/")[2]
        sent = [(key, value) for key, value in details.invocation_metadata if key in _OURS]
        places = [urllib.parse.unquote(value).partition("=")[2] for _, value in sent]
        place = next(filter(None, places), "")
        if name == _STREAMED:
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, context: self._streamed(details.method, place, sent, requests, context)
            )
        ask = self._proxy._target.unary_unary(details.method)

        def answered(request: bytes, context: grpc.ServicerContext) -> bytes:
            exchange = RpcExchange(name, place, len(request))
            return self._proxy.through(exchange, lambda: ask(request, metadata=sent, timeout=600), context)

        return grpc.unary_unary_rpc_method_handler(answered)

    def _streamed(
        self, method: str, place: str, sent: list[tuple[str, str]], requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        call, forwarded = self._proxy.begun(), queue.SimpleQueue()
        answers = self._proxy._target.stream_stream(method)(iter(forwarded.get, None), metadata=sent)

        def forward() -> bytes:
            forwarded.put(request)
            return next(answers)

        try:
            for request in _until_idle(requests, self._proxy, context):
                yield self._proxy.through(RpcExchange(_STREAMED, place, len(request), call), forward, context)
        finally:
            forwarded.put(None)
            answers.cancel()


def _forwarded(forward: Callable[[], bytes], context: grpc.ServicerContext) -> bytes:
    try:
        return forward()
    except StopIteration:
        context.abort(grpc.StatusCode.INTERNAL, "the service has ended the call without a status")
    except grpc.RpcError as error:
        context.set_trailing_metadata(tuple(error.trailing_metadata() or ()))
        context.abort(error.code(), error.details())


def _until_idle(requests: Iterator[bytes], proxy: FaultyRpcProxy, context: grpc.ServicerContext) -> Iterator[bytes]:
    """The requests, each taken from the network when the one before is answered; a call that idles is ended."""
    taken: queue.Queue[bytes | None] = queue.Queue(1)

    def take() -> None:
        # A call that has ended ends its requests with an error.
        with contextlib.suppress(Exception):
            for request in requests:
                taken.put(request)
        taken.put(None)

    threading.Thread(target=take, daemon=True).start()
    while True:
        try:
            request = taken.get(timeout=proxy.idle_secs)
        except queue.Empty:
            context.abort(grpc.StatusCode.ABORTED, f"Closing the stream: it was idle for {proxy.idle_secs:g} s")
        if request is None:
            return
        yield request
