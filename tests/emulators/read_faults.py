"""A loopback proxy in front of the Storage Read API that fails as it is told, at a call or on the way through a stream."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import grpc

CREATE, READ = "CreateReadSession", "ReadRows"
_ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Fault:
    """What ends the next ``times`` calls of a method, of a stream after so many messages.

    OK ends it as if that were all; without a code nothing comes any more until the client ends the call.
    """

    method: str
    code: grpc.StatusCode | None
    words: str = "as told"
    after: int = 0
    times: int = 1


class ReadProxy(grpc.GenericRpcHandler):
    """Forwards calls to ``target`` (``host:port``) from ``host``, until it is closed: a context manager."""

    def __init__(self, target: str) -> None:
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[str, bytes]] = []
        self.messages = 0
        self.ended = threading.Semaphore(0)
        """Released as often as a stream has ended, whoever ended it."""
        self.faults: list[Fault] = []
        self._channel = grpc.insecure_channel(target, options=_ANY_SIZE)
        self._server = grpc.server(futures.ThreadPoolExecutor(16), handlers=(self,), options=_ANY_SIZE)
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def __enter__(self) -> ReadProxy:
        self._server.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._server.stop(0).wait()
        self._channel.close()

    def fail(self, method: str, code: grpc.StatusCode | None, words: str = "as told", *, after: int = 0, times: int = 1) -> None:
        """See ``Fault``."""
        self.faults.append(Fault(method, code, words, after, times))

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """The handler of a call."""
        name = details.method.rpartition("/")[2]
        metadata = tuple(pair for pair in details.invocation_metadata if pair[0].startswith("x-goog"))
        if name == READ:
            ask: Callable[..., Any] = self._channel.unary_stream(details.method)
            return grpc.unary_stream_rpc_method_handler(lambda *call: self._stream(ask, metadata, *call))
        ask = self._channel.unary_unary(details.method)
        return grpc.unary_unary_rpc_method_handler(lambda *call: self._once(name, ask, metadata, *call))

    def _once(self, name: str, ask: Callable[..., Any], metadata: Any, request: bytes, context: grpc.ServicerContext) -> bytes:
        self._note(name, request)
        self._strike(self._fault(name), 0, context)
        try:
            answer: bytes = ask(request, metadata=metadata)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())
        return answer

    def _stream(self, ask: Callable[..., Any], metadata: Any, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self._note(READ, request)
        fault = self._fault(READ)
        context.add_callback(self.ended.release)
        call = ask(request, metadata=metadata)
        context.add_callback(call.cancel)
        number = 0
        try:
            for message in call:
                if fault is not None and fault.code is grpc.StatusCode.OK and number == fault.after:
                    return
                self._strike(fault, number, context)
                self.messages += 1
                number += 1
                yield message
        except grpc.RpcError as error:
            context.abort(error.code(), error.details())

    def _note(self, name: str, request: bytes) -> None:
        self.calls[name] += 1
        self.requests.append((name, request))

    def _fault(self, method: str) -> Fault | None:
        fault = next((one for one in self.faults if one.method == method and one.times), None)
        if fault is not None:
            fault.times -= 1
        return fault

    def _strike(self, fault: Fault | None, number: int, context: grpc.ServicerContext) -> None:
        if fault is not None and number == fault.after:
            if fault.code is None:
                gone = threading.Event()
                if context.add_callback(gone.set):
                    gone.wait()
            context.abort(fault.code or grpc.StatusCode.CANCELLED, fault.words)
