"""Answers of X-Match damaged at random: a row for every alert, and never "nothing there" where there is something."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.catalogs.asking import Asker
from alerts.catalogs.cds.client import CdsCatalog, Service
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.cds.question import request, upload
from alerts.catalogs.http import post
from alerts.catalogs.known import KNOWN
from alerts.catalogs.spec import parse_spec
from schemas.tables import CROSSMATCHES, FAILED, MATCHED, NO_MATCH
from simulation.catalog_server.server import CatalogServer
from tests.alerts.catalogs.test_asking import positions
from tests.alerts.making import examples
from tests.crossmatching import ALLWISE, as_allwise
from tests.fuzz.making import accidents, in_time, suffer

RA = np.array([150.0, 150.1, 150.2, 150.3, 150.4, 150.5])
DEC = np.array([2.0, 2.1, -2.2, 2.3, 2.4, 0.0])
HAS_STARS = [True, False, True, True, False, True]
TRUTH = [MATCHED if has else NO_MATCH for has in HAS_STARS]
ASKED = positions([f"object {number}" for number in range(6)], RA, DEC)
TEXTS = st.sampled_from(
    [b'"', b'""', b",", b"\n", b"\r\n", b"0", b"1", b"2", b"9", b".", b"-", b"e", b"nan", b"inf", b" ", b"\xff", b"\0"]
)


class Repeater(http.server.ThreadingHTTPServer):
    """Answers every question with ``body``."""

    daemon_threads = True
    body = b""


@pytest.fixture(scope="module")
def answer() -> bytes:
    """What the service answers, with a canary at its end."""
    ra, dec = RA[HAS_STARS], DEC[HAS_STARS]
    near = pa.table({"source_id": range(8), "ra_deg": [*ra, *ra], "dec_deg": [*(dec + 0.5 / 3600), *(dec - 1 / 3600)]})
    known = KNOWN[ALLWISE]
    assert known.canary is not None
    sent = upload(np.append(RA, known.canary[0]), np.append(DEC, known.canary[1]))
    with CatalogServer({ALLWISE.removeprefix("vizier:"): as_allwise(near)}) as server:
        payload, files = request(ALLWISE, sent, 5.02, answer_format="csv", columns=list(known.columns), max_rows=200_000)
        response, body = post(server.url, payload, files, headers={}, deadline_secs=10)
    assert response.status_code == 200
    assert body.count(b"\n") == 1 + 2 * sum(HAS_STARS) + 1
    return body


@pytest.fixture(scope="module")
def repeater() -> Iterator[Repeater]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = self.server.body  # type: ignore[attr-defined]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with Repeater(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def statuses(repeater: Repeater, body: bytes) -> list[str]:
    """The states of the alerts when the service answers with this body, as sent: nothing is cut on its way."""
    repeater.body = body
    spec = parse_spec(ALLWISE, 5.0)
    service = Service(Gate(2), f"http://127.0.0.1:{repeater.server_port}", 5.0, longest_pause_secs=0.0)
    rows = Asker(spec, CdsCatalog(spec, service)).rows(ASKED)
    assert rows.schema == CROSSMATCHES.arrow_schema
    rows.validate(full=True)
    assert rows.column("alert_id").to_pylist() == ASKED.column("alert_id").to_pylist()
    for row in rows.to_pylist():
        assert (row["status"] == FAILED) == bool(row["error"])
        assert (row["status"] == MATCHED) == bool(row["matches"])
        assert all(one["separation_arcsec"] <= 5.0 for one in row["matches"])
    return rows.column("status").to_pylist()


def test_the_answer_as_it_is(repeater, answer):
    assert statuses(repeater, answer) == TRUTH


@pytest.mark.parametrize("row", range(1, 10))
def test_an_answer_without_its_last_rows(repeater, answer, row):
    lines = answer.splitlines(keepends=True)
    assert set(statuses(repeater, b"".join(lines[:row]))) == {FAILED} if row < len(lines) else {MATCHED, NO_MATCH}


@examples(120)
@given(some=st.one_of(accidents(TEXTS), accidents()))
def test_a_damaged_answer_is_never_taken_for_nothing_there(repeater, answer, some):
    with in_time():
        found = statuses(repeater, suffer(answer, some))
    for state, truth in zip(found, TRUTH, strict=True):
        assert state in (truth, FAILED)
