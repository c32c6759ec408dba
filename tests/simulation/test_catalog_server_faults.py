"""The stand-in for CDS X-Match fails on the wire as the service has failed."""

from __future__ import annotations

import csv
import io
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pytest
import requests

from simulation.catalog_server import CatalogServer, Declared, Fault, ServedCatalog
from tests.simulation.test_catalog_server import FORM, post, rows, status_info, upload

RA = np.arange(0, 360, 3.6)
PLACES = upload(*((ra, 0.0) for ra in RA.tolist()))
HEADER = "angDist,i,ra,dec,ra,dec,id"
GIVE_UP_SECS = 20.0
"""Only a broken test waits so long."""


def catalog() -> ServedCatalog:
    table = pa.table({"ra": RA, "dec": np.zeros(len(RA)), "id": [f"star {n}" for n in range(len(RA))]})
    return ServedCatalog(table, Declared("ra", "dec"))


@pytest.fixture
def server() -> Iterator[CatalogServer]:
    with CatalogServer({"a/b": catalog(), "simbad": catalog()}) as running:
        yield running


def ask(server: CatalogServer, **form: str) -> requests.Response:
    return post(server, PLACES, **{"cat2": "a/b", **form})


def connect(server: CatalogServer) -> socket.socket:
    url = urlsplit(server.url)
    return socket.create_connection((url.hostname, url.port), timeout=GIVE_UP_SECS)


def send(connection: socket.socket, server: CatalogServer) -> None:
    """A question, as bytes."""
    form = {**FORM, "cat2": "a/b"}
    request = requests.Request("POST", server.url, data=form, files={"cat1": ("cat1.csv", PLACES)}).prepare()
    head = [f"POST {request.path_url} HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
    connection.sendall("\r\n".join(head).encode() + request.body)


def received(server: CatalogServer) -> tuple[bytes, bytes]:
    """Head and body of the answer to a question, up to the end of the connection."""
    parts = []
    with connect(server) as connection:
        send(connection, server)
        while part := connection.recv(65536):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    return head, body


def eventually(true: Callable[[], bool]) -> None:
    until = time.monotonic() + GIVE_UP_SECS
    while not true():
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("kind", "status", "reason", "says"),
    [
        ("403", 403, "Forbidden", "<h1>403 Forbidden</h1>"),
        ("500", 500, "Internal Server Error", "Message: Internal Server Error"),
        ("502", 502, "Bad Gateway", "<h1>502 Bad Gateway</h1>"),
        ("503", 503, "Service Unavailable", "Message: Too many jobs are being processed, try later!"),
        ("504", 504, "Gateway Time-out", "<h1>504 Gateway Time-out</h1>"),
        ("html_in_200", 200, "OK", "<html><head><title>504 Gateway Time-out"),
    ],
)
def test_errors_come_from_the_service_or_from_its_proxy(server, kind, status, reason, says):
    server.fail(Fault(kind))
    response = ask(server)
    assert (response.status_code, response.reason) == (status, reason)
    assert says in response.text
    votable = kind in ("500", "503")
    assert response.headers["Content-Type"] == ("text/xml" if votable else "text/html")
    if votable:
        assert status_info(response.content) == ["ERROR"]
    assert (server.calls[0].fault, server.calls[0].status) == (kind, status)
    server.heal()
    assert len(rows(server, PLACES, cat2="a/b")) == 100


def table(response: requests.Response) -> list[list[str]]:
    assert response.status_code == 200
    return list(csv.reader(io.StringIO(response.text)))


def test_an_answer_may_have_other_columns_than_were_asked_for(server):
    right = table(ask(server))
    assert ",".join(right[0]) == HEADER
    server.fail(Fault("other_columns"))
    other = table(ask(server))
    assert other[1:] == right[1:]
    assert not set(other[0]) & set(right[0])
    server.fail(Fault("other_columns_empty"))
    assert table(ask(server)) == [other[0]]
    server.fail(Fault("missing_column"))
    assert table(ask(server)) == [row[:-1] for row in right]


def test_an_answer_may_be_empty_or_cut_at_a_limit(server):
    server.fail(Fault("empty"))
    assert ask(server).text == HEADER + "\n"
    server.fail(Fault("truncated", rows=7))
    assert [row[1] for row in table(ask(server, MAXREC="1000"))[1:]] == [str(n) for n in range(7)]
    assert status_info(ask(server, RESPONSEFORMAT="votable").content) == ["OK", "OVERFLOW"]


def test_an_answer_may_be_about_other_places(server):
    right = table(ask(server))[1:]
    server.fail(Fault("outside_radius"))
    far = table(ask(server))[1:]
    # The source itself, and its neighbor 3.6 degrees away.
    assert [float(row[0]) for row in far] == pytest.approx([0, 3.6 * 3600] * 100, abs=1e-3)
    server.fail(Fault("foreign_index"))
    assert [row[:2] + row[6:] for row in table(ask(server))[1:]] == [[row[0], str(int(row[1]) + 100), row[6]] for row in right]
    server.fail(Fault("shifted_index"))
    shifted = table(ask(server))[1:]
    assert [row[1:4] for row in shifted] == [row[1:4] for row in right[1:] + right[:1]]
    assert [row[4:] for row in shifted] == [row[4:] for row in right]


def test_a_body_may_be_cut_in_four_ways(server):
    whole = ask(server).content
    server.fail(Fault("cut"))
    head, body = received(server)
    assert f"Content-Length: {len(whole)}".encode() in head
    assert body == whole[: len(whole) // 2]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ask(server)
    server.fail(Fault("cut_at_line"))
    head, lines = received(server)
    assert f"Content-Length: {len(lines)}".encode() in head
    assert whole.startswith(lines)
    assert lines.endswith(b"\n")
    assert len(whole) * 0.4 < len(lines) < len(whole) * 0.6
    assert ask(server).content == lines
    server.fail(Fault("cut_chunked"))
    head, body = received(server)
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"%x\r\n%s\r\n" % (len(lines), lines)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        ask(server)
    server.fail(Fault("cut_unlengthed"))
    head, body = received(server)
    assert b"Content-Length" not in head
    assert body == lines
    assert {call.status for call in server.calls} == {200}


def test_a_connection_may_be_closed_without_an_answer(server):
    server.fail(Fault("closed"))
    assert received(server) == (b"", b"")
    with pytest.raises(requests.ConnectionError):
        ask(server)
    assert [(call.status, call.fault) for call in server.calls] == [(None, "closed")] * 2


def test_an_answer_may_be_slow(server):
    server.fail(Fault("slow", secs=0.3))
    begun = time.monotonic()
    assert len(table(ask(server))) == 101
    assert time.monotonic() - begun >= 0.3
    with pytest.raises(requests.ReadTimeout):
        requests.post(server.url, data={**FORM, "cat2": "a/b"}, files={"cat1": ("x", PLACES)}, timeout=0.05)


@pytest.mark.parametrize("kind", ["dripping_headers", "dripping_body"])
def test_an_answer_may_come_byte_by_byte(server, kind):
    server.fail(Fault(kind, secs=0.02))
    with connect(server) as connection:
        send(connection, server)
        head = b"" if kind == "dripping_body" else b"\r\n\r\n"
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
            assert len(head) < 1000
        pieces = [connection.recv(65536) for _ in range(4)]
    expected = HEADER.encode() if kind == "dripping_body" else b"HTTP/1.1 200 OK"
    # Where the test is slow it finds some bytes together.
    assert expected.startswith(b"".join(pieces))


def test_a_dripping_answer_is_whole_in_the_end(server):
    whole = ask(server).content
    server.fail(Fault("dripping_body", secs=0))
    assert ask(server).content == whole
    server.fail(Fault("dripping_headers", secs=0))
    assert ask(server).content == whole


def test_a_call_may_hang_until_its_client_goes(server):
    server.fail(Fault("hanging"))
    with connect(server) as connection:
        send(connection, server)
        connection.settimeout(0.3)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        server.heal()
        assert (server.calls[0].ended_secs, server.calls[0].fault) == (None, "hanging")
    eventually(lambda: server.calls[0].ended_secs is not None)
    assert server.calls[0].status is None


def test_a_fault_strikes_as_often_and_where_it_was_told_to(server):
    server.fail(Fault("503", times=2, only="simbad"), Fault("502", only="a/b", times=1), Fault("504", times=1))
    asked = ["a/b", "simbad", "vizier:a/b", "simbad", "simbad", "a/b"]
    assert [ask(server, cat2=name).status_code for name in asked] == [502, 503, 504, 503, 200, 200]


def test_the_list_of_catalogs_may_fail_by_itself(server):
    def names(timeout: float = GIVE_UP_SECS) -> requests.Response:
        return requests.get(f"{server.url}/tables", params={"action": "getVizieRTableNames"}, timeout=timeout)

    server.fail(Fault("502", tables=True))
    assert (names().status_code, ask(server).status_code) == (502, 200)
    server.fail(Fault("empty", tables=True))
    assert (names().status_code, names().text) == (200, "")
    server.fail(Fault("hanging", tables=True))
    with pytest.raises(requests.ReadTimeout):
        names(timeout=0.3)
    server.heal()
    assert names().text == "a/b\nsimbad\n"
    assert (len(server.list_calls), len(server.calls)) == (5, 1)


def test_too_many_jobs_at_once_are_sent_away(server):
    server.fail(Fault("too_many_jobs", jobs=2), Fault("hanging", times=2))
    with connect(server) as first, connect(server) as second:
        for connection in (first, second):
            send(connection, server)
        eventually(lambda: [call.fault for call in server.calls] == ["hanging"] * 2)
        refused = ask(server)
        assert (refused.status_code, status_info(refused.content)) == (503, ["ERROR"])
        assert "Too many jobs are being processed" in refused.text
    assert ask(server).status_code == 200


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"kind": "moon"}, "there is no fault 'moon'; known: 403, 500"),
        ({"kind": "truncated", "tables": True}, "there is no fault 'truncated' of /tables"),
        ({"kind": "503", "times": 0}, "times of a fault is 0"),
        ({"kind": "slow", "secs": -1}, "secs of a fault is -1"),
        ({"kind": "503", "only": 5}, "only of a fault is 5"),
    ],
)
def test_there_are_no_other_faults(fault, message):
    with pytest.raises(ValueError, match=message):
        Fault(**fault)
