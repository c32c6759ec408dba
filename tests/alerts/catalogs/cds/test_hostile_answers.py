"""Services that mean harm: their answers are refused in little memory and time, and never taken for "nothing there"."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest

from alerts.avro import wire_schemas
from alerts.avro.wire_schemas import WireSchemas
from alerts.catalogs.rows import POSITION_COLUMNS, CatalogQuery, failed
from alerts.errors import UnknownSchema
from alerts.limits import MAX_ANSWER_BYTES, MAX_ANSWER_ROWS
from tests.alerts.attacks import (
    COLUMNS,
    MIB,
    ask_for,
    ask_registry,
    gzipped,
    read_declaration,
    read_table,
    refusal_of,
    zeros,
    zstandard_of,
)
from tests.alerts.making import LSST_SCHEMA
from tests.within import within

SMALL, LARGE = 64 * MIB, 3 * MAX_ANSWER_BYTES
HEAD = (",".join(["angDist", "broker_index", *COLUMNS]) + "\n").encode()
ROW = b"0,1" + b"," * len(COLUMNS) + b"\n"


class Service:
    """Answers whatever is asked with these headers and pieces, and counts."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.pieces: Iterable[bytes] = ()
        self.pause_secs = 0.0
        self.asked: list[str] = []
        self.url = ""

    def answers(self, *pieces: bytes, pause_secs: float = 0.0, **headers: str) -> str:
        length = {"Content-Length": str(sum(map(len, pieces)))}
        self.pieces, self.pause_secs = pieces, pause_secs
        self.headers = length | {name.replace("_", "-"): value for name, value in headers.items()}
        return self.url


@pytest.fixture
def service() -> Iterator[Service]:
    state = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            for name, value in state.headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):  # who was asked hangs up
                for piece in state.pieces:
                    self.wfile.write(piece)
                    self.wfile.flush()
                    time.sleep(state.pause_secs)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield state
        server.shutdown()
        thread.join()


def test_an_answer_that_comes_gzipped_is_unpacked(service):
    body = HEAD + 1000 * ROW
    assert ask_for(service.answers(gzip.compress(body), Content_Encoding="gzip")) == body
    assert ask_for(service.answers(gzip.compress(body), Content_Encoding="GZip ")) == body
    assert ask_for(service.answers(body)) == body


@pytest.mark.parametrize(
    ("packed", "encoding", "says"),
    [
        (gzipped(zeros(MAX_ANSWER_BYTES + MIB)), "gzip", "answers with more than 256 MB"),
        (gzipped([gzipped(zeros(64 * MIB))]), "gzip, gzip", "answers in 'gzip, gzip' where only gzip was allowed"),
        (zstandard_of(zeros(64 * MIB)), "zstd", "answers in 'zstd'"),
        (b"x", "br", "answers in 'br'"),
        (gzip.compress(HEAD)[:-4], "gzip", "its gzip stream does not end"),
        (gzip.compress(HEAD) + b"more", "gzip", "bytes behind the end of its gzip stream"),
        (gzip.compress(HEAD) + gzip.compress(HEAD), "gzip", "bytes behind the end of its gzip stream"),
        (HEAD, "gzip", "a damaged gzip stream"),
        (b"", "gzip", "its gzip stream does not end"),
    ],
    ids=["bomb", "twice", "zstd", "br", "cut", "behind", "two", "plain", "empty"],
)
def test_an_answer_packed_to_do_harm(service, packed, encoding, says):
    url = service.answers(packed, Content_Encoding=encoding)
    assert says in within(LARGE, 30, refusal_of, ask_for, url)


def test_an_answer_that_drips_ends_with_the_deadline(service):
    url = service.answers(*[b" "] * 1000, pause_secs=0.1)
    assert "did not answer within 2 s" in within(SMALL, 20, refusal_of, ask_for, url, 2.0)


def test_a_table_of_more_rows_than_were_asked_for(service):
    body = HEAD + (60 * MIB // len(ROW)) * ROW
    assert f"more than the {MAX_ANSWER_ROWS:,} rows" in within(SMALL, 20, refusal_of, read_table, body)
    assert within(SMALL, 20, read_table, HEAD + MAX_ANSWER_ROWS * ROW) == MAX_ANSWER_ROWS


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (HEAD + b'0,1,"' + b"x" * (20 * MIB) + b"\n", ""),  # a text that never ends
        (HEAD + b"\n" * (20 * MIB), "nothing was refused"),
        (HEAD + b"0,1" + b"," * (20 * MIB) + b"\n", ""),
        (b"," * (20 * MIB) + b"\n", "other columns than were asked for"),
        (b"x" * (20 * MIB), "no whole table"),
        (HEAD.replace(b"c0", b"c" * (20 * MIB)) + ROW, "other columns than were asked for"),
        (HEAD + ROW.replace(b"0,1", b"0," + b"1" * 1000), ""),
        (HEAD + ROW.replace(b"0,1", b"0,-1"), "is about position"),
        (HEAD + ROW.replace(b"0,1", b"0,9223372036854775808"), ""),
    ],
    ids=["text", "lines", "commas", "columns", "line", "name", "digits", "negative", "beyond 64 bits"],
)
def test_a_table_that_is_none(body, says):
    said = within(2 * SMALL, 20, refusal_of, read_table, body)
    assert says in said
    if not says:
        assert said.startswith("c: ")


def test_what_a_service_says_stands_shortened_in_each_row_that_failed():
    # Ten thousand alerts ask at once, and each has its own row.
    positions = pa.RecordBatch.from_pylist([dict.fromkeys(POSITION_COLUMNS)] * 3)
    rows = failed(positions, CatalogQuery("c", 1.0, datetime.now(timezone.utc)), "c: unknown: " + "x" * MIB)
    assert all(len(one) < 500 for one in rows.column("error").to_pylist())


VOTABLE = b'<?xml version="1.0"?><VOTABLE xmlns="v"><RESOURCE><TABLE>%s</TABLE></RESOURCE></VOTABLE>'
FIELDS = b'<FIELD name="angDist" datatype="double"/><FIELD name="broker_index" datatype="int"/>'


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (VOTABLE % (FIELDS + b"<TR/>" * (2 * MIB)), "nothing was refused"),
        (VOTABLE % (FIELDS + b"<a>" * 10**6 + b"</a>" * 10**6), "nothing was refused"),
        (VOTABLE % (FIELDS + b"".join(b'<FIELD name="n%d"/>' % n for n in range(10**5))), "does not say which columns"),
        (VOTABLE % (FIELDS + b'<FIELD name="%s"/>' % (b"x" * MIB)), "does not say which columns"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]>' + VOTABLE % FIELDS, "does not say which columns"),
        (b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + VOTABLE % FIELDS, "does not say which columns"),
        (b'<!DOCTYPE x [<!ENTITY a "' + b"a" * MIB + b'">]><V>' + b"&a;" * 90 + b"</V>", "does not say which columns"),
        (b'<?xml version="1.0" encoding="no-such"?><V/>', "does not say which columns"),
        (VOTABLE % b'<FIELD name="a" name="b"/>', "does not say which columns"),
        (b"<" * MIB, "does not say which columns"),
    ],
    ids=["rows", "deep", "columns", "name", "entity", "file", "laughs", "encoding", "twice", "angles"],
)
def test_a_votable_that_means_harm(body, says):
    assert says in within(SMALL, 20, refusal_of, read_declaration, body)


def test_a_utf16_votable_hides_no_entity():
    body = ('<?xml version="1.0" encoding="utf-16"?><!DOCTYPE x [<!ENTITY a "b">]>' + (VOTABLE % FIELDS).decode()[21:]).encode(
        "utf-16"
    )
    assert "does not say which columns" in refusal_of(read_declaration, body)


@pytest.mark.parametrize(
    ("pieces", "headers", "says"),
    [
        ([b'{"schema": "', *[b"x" * MIB] * 20], {}, "answers with more than 1 MB"),
        ([gzipped(zeros(64 * MIB))], {"Content_Encoding": "gzip"}, "answers with more than 1 MB"),
        ([json.dumps({"schema": "x" * 300_000}).encode()], {}, "a schema of 300000 bytes"),
        ([b'{"schema":' + b"[" * 10**5 + b"]" * 10**5 + b"}"], {}, "no schema for wire schema id 5"),
        ([b'{"schema": ' + b"9" * 5000 + b"}"], {}, "no schema for wire schema id 5"),
    ],
    ids=["huge", "bomb", "long", "deep", "number"],
)
def test_a_registry_that_means_harm(service, pieces, headers, says):
    assert says in within(SMALL, 20, refusal_of, ask_registry, service.answers(*pieces, **headers))


def test_a_registry_that_drips_is_waited_for_once_and_not_for_every_id(service, monkeypatch):
    monkeypatch.setattr(wire_schemas, "REGISTRY_DEADLINE_SECS", 1.0)
    schemas = WireSchemas(service.answers(*[b" "] * 1000, pause_secs=0.1))
    begun = time.monotonic()
    for wire_id in range(5, 2000):
        with pytest.raises(UnknownSchema, match=f"wire schema id {wire_id}"):
            schemas.get(wire_id)
    assert len(service.asked) == 1
    assert time.monotonic() - begun < 30
    # It is asked again after a while, and believed when it answers.
    monkeypatch.setattr(wire_schemas, "_ASK_AGAIN_SECS", 0)
    service.answers(json.dumps({"schema": json.dumps(LSST_SCHEMA)}).encode())
    assert schemas.get(5).version == "10.0"


def test_a_folder_of_schemas_with_one_of_gigabytes(tmp_path):
    with (tmp_path / "5.avsc").open("wb") as file:
        file.truncate(10 * 2**30)
    assert "a schema of 262145 bytes; the limit is 262144" in within(SMALL, 20, refusal_of, ask_registry, str(tmp_path))
