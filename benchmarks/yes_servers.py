"""Servers that say yes to whatever is written and keep nothing, each a process of its own: what is measured is who writes.

``python -m benchmarks.yes_servers grpc PORT FOLDER`` acknowledges AppendRows, on ``PORT`` as it is and on ``PORT + 1`` by TLS
with the certificate in ``FOLDER``; ``http PORT FOLDER`` answers every insertAll; ``tls PORT FOLDER`` reads what comes.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import http.server
import ipaddress
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.cloud.bigquery_storage_v1 import types

_HOST = "127.0.0.1"
_KEY, _CERTIFICATE = "key.pem", "certificate.pem"
_START_SECS = 30.0


@dataclass(frozen=True)
class YesServers:
    """Where they are, as ``host:port``."""

    grpc: str
    grpc_tls: str
    http: str
    tls: str
    """Reads whatever comes by TLS, and says nothing."""
    certificate: bytes
    """By which a client knows those that speak TLS, PEM."""


@contextlib.contextmanager
def running() -> Iterator[YesServers]:
    """All of them, as long as the context lasts."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as undo:
        folder = Path(name)
        certificate = _certify(folder)
        first, plain, tls = _ports()
        for kind, port in (("grpc", first), ("http", plain), ("tls", tls)):
            process = subprocess.Popen([sys.executable, "-m", "benchmarks.yes_servers", kind, str(port), name])
            undo.callback(process.wait)
            undo.callback(process.send_signal, signal.SIGKILL)
        for port in (first, first + 1, plain, tls):
            _wait(port)
        hosts = [f"{_HOST}:{port}" for port in (first, first + 1, plain, tls)]
        yield YesServers(*hosts, certificate=certificate)


def _ports() -> tuple[int, int, int]:
    """A free port whose next one is free too, and two others."""
    while True:
        with contextlib.ExitStack() as undo:
            sockets = [undo.enter_context(socket.socket()) for _ in range(4)]
            sockets[0].bind((_HOST, 0))
            first = sockets[0].getsockname()[1]
            try:
                sockets[1].bind((_HOST, first + 1))
            except (OSError, OverflowError):
                continue
            for other in sockets[2:]:
                other.bind((_HOST, 0))
            return first, *(other.getsockname()[1] for other in sockets[2:])


def _wait(port: int) -> None:
    end = time.monotonic() + _START_SECS
    while True:
        try:
            socket.create_connection((_HOST, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _certify(folder: Path) -> bytes:
    """A certificate for this machine's own address, and its key, as files; gives the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(_HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / _KEY).write_bytes(private)
    (folder / _CERTIFICATE).write_bytes(pem)
    return pem


class _Yes(grpc.GenericRpcHandler):
    def service(self, _: Any) -> grpc.RpcMethodHandler:
        yes = types.AppendRowsResponse.serialize(types.AppendRowsResponse(append_result={}))
        return grpc.stream_stream_rpc_method_handler(lambda requests, _: (yes for _ in requests))


def _serve_grpc(port: int, folder: Path) -> None:
    options = [("grpc.max_receive_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(64), handlers=[_Yes()], options=options)
    server.add_insecure_port(f"{_HOST}:{port}")
    pair = (folder / _KEY).read_bytes(), (folder / _CERTIFICATE).read_bytes()
    server.add_secure_port(f"{_HOST}:{port + 1}", grpc.ssl_server_credentials([pair]))
    server.start()
    server.wait_for_termination()


class _Inserted(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, 2**20)))
        body = b'{"kind": "bigquery#tableDataInsertAllResponse"}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: thousands of requests come."""


def _serve_tls(port: int, folder: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / _CERTIFICATE, folder / _KEY)
    room = bytearray(2**20)
    with socket.create_server((_HOST, port)) as listening:
        while True:
            plain, _ = listening.accept()
            # Whoever only looks whether somebody is there says nothing.
            with contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as tls:
                while tls.recv_into(room):
                    pass


def main() -> None:
    """Serve until killed."""
    kind, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if kind == "grpc":
        _serve_grpc(port, folder)
    elif kind == "tls":
        _serve_tls(port, folder)
    else:
        http.server.ThreadingHTTPServer((_HOST, port), _Inserted).serve_forever()


if __name__ == "__main__":
    main()
