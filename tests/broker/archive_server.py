"""The public archive on loopback: a directory page as Apache makes it, MD5 list, Range, and faults at will.

    with ArchiveServer(folder) as server:
        server.faults["ztf_public_20180626.tar.gz"] = [Fault(cut_after=1000), Fault(status=503, retry_after="1")]
        ztf_archive.download_data(url=server.url)

Serves the files of a folder as they are when asked for. RFC 9110 for Range, If-Range, ETag and Last-Modified.
"""

from __future__ import annotations

import email.utils
import gzip
import hashlib
import re
import tarfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from broker.simulate import simulate_packets

MD5_LIST = "MD5SUMS"
_PIECE = 16 * 2**10


@dataclass(frozen=True)
class Fault:
    """What goes wrong in one answer. ``cut_after`` closes the connection after so many bytes of the body."""

    status: int | None = None
    retry_after: str | None = None
    cut_after: int | None = None
    no_answer: bool = False
    wrong_span: bool = False
    """A part of the file, but another one than asked for."""


@dataclass
class Asked:
    """One request, and how it was answered."""

    name: str
    headers: dict[str, str]
    at_secs: float
    status: int = 0
    sent_bytes: int = 0

    @property
    def start(self) -> int | None:
        """First byte of the range asked for; None without one."""
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("range", ""))
        return int(span[1]) if span else None


@dataclass
class Settings:
    """How the server is, as long as nobody changes it."""

    ranges: bool = True
    etag: str | None = "strong"
    """strong, weak or None."""
    last_modified: bool = True
    chunked: bool = False
    """No Content-Length, but HTTP/1.1 chunks."""
    claimed_bytes: int | None = None
    content_encoding: str | None = None
    bytes_per_sec: float | None = None
    page: str | None = None
    md5: dict[str, str | None] = field(default_factory=dict)
    """By file name, a wrong sum, or None to leave it out of the list."""
    md5_list: bool = True
    hidden: set[str] = field(default_factory=set)
    """Files on the page that answer 404."""


class ArchiveServer:
    """The server, on a free port of loopback, and what was asked of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings()
        self.faults: dict[str, list[Fault]] = {}
        self.log: list[Asked] = []
        self.lock = threading.Lock()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.archive = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/alerts/public/"

    def asked(self, name: str) -> list[Asked]:
        """The requests for a file so far, oldest first."""
        with self.lock:
            return [one for one in self.log if one.name == name]

    def sent_bytes(self, name: str) -> int:
        """Bytes of a file that went out, all answers together."""
        return sum(one.sent_bytes for one in self.asked(name))

    def next_fault(self, name: str) -> Fault:
        with self.lock:
            waiting = self.faults.get(name)
            return waiting.pop(0) if waiting else Fault()

    def __enter__(self) -> ArchiveServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    archive: ArchiveServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is none."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_GET(self) -> None:
        archive = self.server.archive
        name = unquote(self.path.rsplit("/", 1)[-1])
        headers = {key.lower(): value for key, value in self.headers.items()}
        self.asked = Asked(name, headers, time.monotonic())
        with archive.lock:
            archive.log.append(self.asked)
        fault = archive.next_fault(name)
        if fault.no_answer:
            self.close_connection = True
        elif fault.status is not None:
            extra = {"Retry-After": fault.retry_after} if fault.retry_after is not None else {}
            self._send(fault.status, b"<html>sorry</html>", extra)
        elif name == "":
            page = archive.settings.page
            self._send(200, (page if page is not None else _page(archive.folder)).encode(), {"Content-Type": "text/html"}, fault)
        elif name == MD5_LIST and archive.settings.md5_list:
            self._send(200, _md5_list(archive).encode(), {"Content-Type": "text/plain"}, fault)
        elif name in archive.settings.hidden or not (archive.folder / name).is_file():
            self._send(404, b"<html>Not Found</html>")
        else:
            self._send_file(archive.folder / name, fault)

    def _send_file(self, path: Path, fault: Fault) -> None:
        settings, data = self.server.archive.settings, path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()[:16]
        etag = {"strong": f'"{digest}"', "weak": f'W/"{digest}"', None: None}[settings.etag]
        modified = email.utils.formatdate(path.stat().st_mtime, usegmt=True)
        headers = {"ETag": etag} if etag else {}
        headers |= {"Last-Modified": modified} if settings.last_modified else {}
        headers |= {"Content-Encoding": settings.content_encoding} if settings.content_encoding else {}
        start, status = self.asked.start, 200
        if settings.ranges and start is not None and self._same_file(etag, modified):
            if start >= len(data):
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            start = start + 1 if fault.wrong_span else start
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            data, status = data[start:], 206
        self._send(status, data, headers, fault, settings.claimed_bytes)

    def _same_file(self, etag: str | None, modified: str) -> bool:
        condition = self.asked.headers.get("if-range")
        if condition is None:
            return True
        settings = self.server.archive.settings
        strong = etag if settings.etag == "strong" else None
        return condition == strong or (settings.last_modified and condition == modified)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str] | None = None,
        fault: Fault = Fault(),
        claimed_bytes: int | None = None,
    ) -> None:
        settings = self.server.archive.settings
        self.asked.status = status
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        chunked = settings.chunked and status == 200
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) if claimed_bytes is None else claimed_bytes))
        self.end_headers()
        whole = body
        if fault.cut_after is not None:
            body, self.close_connection = body[: fault.cut_after], True
        for begin in range(0, len(body), _PIECE):
            piece = body[begin : begin + _PIECE]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            self.asked.sent_bytes += len(piece)
            if settings.bytes_per_sec:
                time.sleep(len(piece) / settings.bytes_per_sec)
        if chunked and len(body) == len(whole):
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - so named in the base class
        """Quiet."""


def _page(folder: Path) -> str:
    rows = "\n".join(
        f'<tr><td valign="top"><img src="/icons/compressed.gif" alt="[   ]"></td><td><a href="{path.name}">{path.name}</a></td>'
        f'<td align="right">2018-06-27 14:10  </td><td align="right">{path.stat().st_size / 1e6:.1f}M</td><td>&nbsp;</td></tr>'
        for path in sorted(folder.iterdir())
    )
    return f"""<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 3.2 Final//EN">
<html><head><title>Index of /alerts/public</title></head><body><h1>Index of /alerts/public</h1>
<table id="indexlist"><tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td valign="top"><img src="/icons/back.gif" alt="[PARENTDIR]"></td><td><a href="/alerts/">Parent Directory</a></td></tr>
<tr><td valign="top"><img src="/icons/text.gif" alt="[TXT]"></td><td><a href="{MD5_LIST}">{MD5_LIST}</a></td></tr>
{rows}
</table></body></html>"""


def _md5_list(archive: ArchiveServer) -> str:
    lines = []
    for path in sorted(archive.folder.iterdir()):
        md5 = archive.settings.md5.get(path.name, "")
        if md5 is not None:
            lines.append(f"{md5 or hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.name}\n")
    return "".join(lines)


def pack(path: Path, members: Iterable[tuple[str, bytes]], *, end_mark: bool = True) -> Path:
    """A ``.tar.gz`` of these files at ``path``, quickly; without ``end_mark`` as some real nights end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
        for name, data in members:
            header = tarfile.TarInfo(name)
            header.size, header.type = len(data), tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            packed.write(header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % tarfile.BLOCKSIZE))
        if end_mark:
            packed.write(bytes(2 * tarfile.BLOCKSIZE))
    return path


def simulated_members(**options: Any) -> list[tuple[str, bytes]]:
    """Name and bytes of the packets of a simulated ZTF night."""
    return [(packet.name, packet.data) for packet in simulate_packets(survey="ztf", **options)]
