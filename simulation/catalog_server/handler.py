"""One request to the stand-in: read, checked, answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from simulation.catalog_server import faults
from simulation.catalog_server.answers import CONTENT_TYPES, describe, error_votable, html_page, render
from simulation.catalog_server.calls import Call, Calls
from simulation.catalog_server.catalog import ServedCatalog
from simulation.catalog_server.delivery import Client, Reply, deliver
from simulation.catalog_server.faults import Fault, Faults, faulty_answer
from simulation.catalog_server.form import Form, Refused, read_form, read_query
from simulation.catalog_server.question import XMatchRequest, catalog_name, find_catalog, read_question

if TYPE_CHECKING:
    from simulation.catalog_server.server import Listener

SYNC = "/xmatch/api/v1/sync"
TABLES = f"{SYNC}/tables"
FAULT = "/_fault"
LOG = "/_log"
_PIECE_BYTES = 1 << 20
_TOO_MANY = "Too many jobs are being processed, try later!"


@dataclass(frozen=True)
class Limits:
    """What the service takes and gives at most."""

    rows: int = 2_000_000
    """In an answer; the rest is left out without a word in CSV."""
    upload_bytes: int = 100_000_000


@dataclass(frozen=True)
class Shared:
    """What all requests to a server share."""

    catalogs: Mapping[str, ServedCatalog]
    limits: Limits
    calls: Calls
    faults: Faults


class Handler(BaseHTTPRequestHandler):
    """One connection; requests on it come one after the other."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Listener

    def do_POST(self) -> None:
        """A question, its positions uploaded."""
        self._question(self._length())

    def do_GET(self) -> None:
        """A question between catalogs that the service has, ``/tables``, or ``/_log``."""
        path = urlsplit(self.path).path
        if path == LOG:
            self._reply(self._log())
        elif path == TABLES:
            self._tables()
        else:
            self._question(0)

    def do_PUT(self) -> None:
        """``/_fault``: these faults from now on, and no others."""
        body = self.rfile.read(self._length() or 0)
        if urlsplit(self.path).path != FAULT:
            self._reply(Reply(404, html_page("404 Not Found"), "text/html"))
            return
        try:
            put = faults.from_json(json.loads(body or b"{}"))
        except ValueError as error:
            self._reply(Reply(400, f"{error}\n".encode(), "text/plain"))
            return
        self.server.shared.faults.put(put)
        self._reply(Reply(200, json.dumps(self.server.shared.faults.describe()).encode(), "application/json"))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Silent: ``Calls`` keeps the record."""

    def _question(self, length: int | None) -> None:
        url = urlsplit(self.path)
        if url.path != SYNC or length is None:
            self.close_connection = True
            status = 404 if url.path != SYNC else 411
            self._reply(Reply(status, html_page(f"{status}"), "text/html"))
            return
        shared = self.server.shared
        call = shared.calls.begin(url.path, self.headers.get("User-Agent", ""), length, self.connection)
        try:
            form, question, refusal = self._read(call, url.query, length)
            fault = shared.faults.strike(call.catalog, call.in_flight)
            reply = _answer(form, question, refusal, fault)
            silent = fault is not None and fault.kind in ("hanging", "closed")
            shared.calls.note(call, fault=fault and fault.kind, status=None if silent else reply.status)
            self._reply(reply, fault, call)
        finally:
            shared.calls.end(call)

    def _read(self, call: Call, query: str, length: int) -> tuple[Form, XMatchRequest | None, str]:
        """The form, and the question that it is or why it is none."""
        shared, form = self.server.shared, read_query(query)
        try:
            if length > shared.limits.upload_bytes:
                self._discard(length)
                raise Refused(f"Uploaded tables cannot be larger than {shared.limits.upload_bytes / 1e6:g} MB.")
            body = self._body(length)
            form = read_form(self.headers.get("Content-Type", ""), body) if self.command == "POST" else form
            shared.calls.note(call, catalog=catalog_name(form))
            question = read_question(form, shared.catalogs, shared.limits.rows)
        except Refused as refusal:
            return form, None, str(refusal)
        shared.calls.note(call, positions=len(question.asked))
        return form, question, ""

    def _tables(self) -> None:
        url, shared = urlsplit(self.path), self.server.shared
        shared.calls.list_call(url.path, self.headers.get("User-Agent", ""))
        form = read_query(url.query)
        fault = shared.faults.strike("", 0, tables=True)
        try:
            reply = _listing(form, {} if fault and fault.kind == "empty" else shared.catalogs)
        except Refused as refusal:
            reply = Reply(400, error_votable(str(refusal), form))
        self._reply(_failed(fault, form) or reply, fault)

    def _reply(self, reply: Reply, fault: Fault | None = None, call: Call | None = None) -> None:
        def last_byte() -> None:
            if call is not None:
                self.server.shared.calls.end(call)

        if not deliver(Client(self.connection, last_byte), reply, fault):
            self.close_connection = True

    def _length(self) -> int | None:
        given = self.headers.get("Content-Length", "")
        return int(given) if given.isdecimal() else None

    def _body(self, length: int) -> bytes:
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionResetError("the client hung up before its request was whole")
        return body

    def _discard(self, length: int) -> None:
        while length > 0:
            length -= len(self._body(min(length, _PIECE_BYTES)))

    def _log(self) -> Reply:
        calls = self.server.shared.calls
        record = {
            "most_in_flight": calls.most_in_flight,
            "positions_asked": calls.positions,
            "faults": self.server.shared.faults.describe(),
            "calls": [asdict(call) for call in calls.all],
            "list_calls": [asdict(call) for call in calls.of_lists],
        }
        return Reply(200, json.dumps(record).encode(), "application/json")


def _answer(form: Form, question: XMatchRequest | None, refusal: str, fault: Fault | None) -> Reply:
    if failed := _failed(fault, form):
        return failed
    if question is None:
        return Reply(400, error_votable(refusal, form))
    answer = faulty_answer(question, fault.kind if fault else None, fault.rows if fault else 0)
    return Reply(200, render(answer, question.answer_format), CONTENT_TYPES[question.answer_format])


def _failed(fault: Fault | None, form: Form) -> Reply | None:
    """The reply of a fault that leaves no room for an answer."""
    if fault and fault.kind == "html_in_200":
        return Reply(200, html_page("504 Gateway Time-out"), "text/html")
    kind = "503" if fault and fault.kind == faults.TOO_MANY_JOBS else fault.kind if fault else ""
    if kind not in faults.STATUSES:
        return None
    status, title = faults.STATUSES[kind]
    if kind in faults.BY_THE_SERVICE:
        return Reply(status, error_votable(_TOO_MANY if kind == "503" else title, form, "java.lang.Exception"))
    return Reply(status, html_page(f"{status} {title}"), "text/html")


def _listing(form: Form, catalogs: Mapping[str, ServedCatalog]) -> Reply:
    """``/tables``. The JSON of the real service is not known here: names, and objects with name, datatype and unit."""
    action = form.get("action", "")
    if action == "getVizieRTableNames":
        if form.get("responseformat") == "json":
            return Reply(200, json.dumps(list(catalogs)).encode(), "application/json")
        return Reply(200, "".join(f"{name}\n" for name in catalogs).encode(), "text/plain")
    if action not in ("getColList", "getInfo"):
        raise Refused(f'Unknown action "{action!s}": must be getVizieRTableNames, getColList or getInfo.')
    name = str(form.get("tabname", ""))
    catalog = find_catalog(catalogs, name)
    if action == "getColList":
        document: object = [describe(column) for column in catalog.columns.values()]
    else:
        document = {"name": name.removeprefix("vizier:"), "nbRows": len(catalog)}
    return Reply(200, json.dumps(document).encode(), "application/json")
