"""The stand-in for CDS X-Match counts its calls rightly, takes faults over HTTP, and ends whatever its clients do."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import requests

from simulation.catalog_server import CatalogServer, Fault
from tests.simulation.test_catalog_server import FORM
from tests.simulation.test_catalog_server_faults import GIVE_UP_SECS, PLACES, ask, catalog, connect, eventually, send


@pytest.fixture
def server() -> Iterator[CatalogServer]:
    with CatalogServer({"a/b": catalog(), "simbad": catalog()}) as running:
        yield running


def test_calls_in_flight_are_counted_as_their_clients_count_them(server):
    with requests.Session() as session:
        for _ in range(50):
            session.post(server.url, data={**FORM, "cat2": "a/b"}, files={"cat1": ("x", PLACES)}, timeout=GIVE_UP_SECS)
            ask(server)
    assert (server.most_in_flight, len(server.calls), server.positions_asked) == (1, 100, 10_000)
    ends = [call.ended_secs for call in server.calls]
    assert all(end <= call.begun_secs for end, call in zip(ends, server.calls[1:], strict=False))
    # A client that gives up has no call in flight any more, whatever the server still does for it.
    server.fail(Fault("hanging"))
    for _ in range(20):
        with connect(server) as connection:
            send(connection, server)
    eventually(lambda: len(server.calls) == 120)
    assert server.most_in_flight == 1
    with contextlib.ExitStack() as stack:
        for _ in range(7):
            send(stack.enter_context(connect(server)), server)
        eventually(lambda: len(server.calls) == 127)
    assert server.most_in_flight == 7


def test_the_server_ends_whatever_its_clients_do():
    def threads() -> int:
        return sum(thread.name.startswith("catalog-server") for thread in threading.enumerate())

    before = threads()
    with contextlib.ExitStack() as stack, CatalogServer({"a/b": catalog()}) as server:
        for kind in ("hanging", "slow", "dripping_body", "dripping_headers"):
            server.fail(Fault(kind, secs=3600))
            send(stack.enter_context(connect(server)), server)
            number = len(server.calls)
            eventually(lambda number=number: server.calls[number - 1].fault is not None if number else bool(server.calls))
        idle, half, last = (stack.enter_context(connect(server)) for _ in range(3))
        server.fail(Fault("hanging", tables=True))
        last.sendall(b"GET /xmatch/api/v1/sync/tables?action=getVizieRTableNames HTTP/1.1\r\n\r\n")
        half.sendall(b"POST /xmatch/api/v1/sync HTTP/1.1\r\nContent-Length: 1000\r\n\r\nrequest=")
        eventually(lambda: len(server.list_calls) == 1 and len(server.calls) == 5)
        assert threads() > before + 1
        server.close()
        assert threads() == before
        assert [one.recv(1) for one in (idle, half, last)] == [b""] * 3
        assert all(call.ended_secs is not None for call in server.calls)


def test_an_error_of_the_server_itself_is_not_hidden():
    server = CatalogServer({"a/b": SimpleNamespace(columns={})})
    server.start()
    with pytest.raises(requests.ConnectionError):
        ask(server)
    with pytest.raises(AttributeError, match="near"):
        server.close()


def test_faults_are_put_over_http(server):
    base = server.url.removesuffix("/xmatch/api/v1/sync")

    def put(document: object) -> requests.Response:
        return requests.put(f"{base}/_fault", data=json.dumps(document), timeout=GIVE_UP_SECS)

    assert put({"kind": "503", "times": 1}).json()[0]["kind"] == "503"
    assert [ask(server).status_code for _ in range(2)] == [503, 200]
    put([{"kind": "502", "only": "simbad"}, {"kind": "504"}])
    assert [ask(server, cat2=name).status_code for name in ("simbad", "a/b")] == [502, 504]
    log = requests.get(f"{base}/_log", timeout=GIVE_UP_SECS).json()
    assert (log["most_in_flight"], log["positions_asked"], len(log["faults"])) == (1, 400, 2)
    assert [call["status"] for call in log["calls"]] == [503, 200, 502, 504]
    assert log["calls"][0]["user_agent"].startswith("python-requests/")
    assert put({}).json() == []
    assert ask(server).status_code == 200
    for wrong in ({"kind": "moon"}, {"times": 1}, {"kind": "503", "color": "red"}, ["503"], {"kind": "503", "times": 0}):
        refused = put(wrong)
        assert (refused.status_code, refused.text.count("\n")) == (400, 1)
    assert ask(server).status_code == 200
