"""The proxy that fails as it is told, in front of a service of a few lines and of the emulators."""

from __future__ import annotations

import http.client
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google.api_core.exceptions import Forbidden
from google.cloud import bigquery, storage
from google.cloud.bigquery.retry import DEFAULT_RETRY as BIGQUERY_RETRY
from google.cloud.storage.retry import DEFAULT_RETRY as STORAGE_RETRY

from tests.emulators import settings
from tests.emulators.cloud import Cloud
from tests.emulators.faults import FaultyProxy


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent, and counts."""

    protocol_version = "HTTP/1.1"
    requests: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append(self.path)
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Host", self.headers["Host"])
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self) -> None:
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[type[Echo]]:
    handler = type("Counting", (Echo,), {"requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def proxy(service: type[Echo]) -> Iterator[FaultyProxy]:
    with FaultyProxy(service.host) as proxy:
        yield proxy


@pytest.fixture
def connection(proxy: FaultyProxy) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(proxy.host, timeout=10)
    yield connection
    connection.close()


def post(connection: http.client.HTTPConnection, path: str, body: Any = b"body", **options: Any) -> tuple[int, bytes]:
    connection.request("POST", path, body, **options)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_forwards_what_it_is_not_told_to_fail(proxy: FaultyProxy, connection: http.client.HTTPConnection) -> None:
    body = bytes(range(256)) * 1000
    assert post(connection, "/a?b=c", body) == (201, body)
    assert post(connection, "/chunks", iter([b"one", b"two"]), encode_chunked=True) == (201, b"onetwo")
    connection.request("POST", "/host", b"")
    answer = connection.getresponse()
    assert (answer.headers["X-Host"], answer.read()) == (proxy.host, b"")
    connection.request("DELETE", "/a")
    answer = connection.getresponse()
    assert (answer.status, answer.read()) == (204, b"")
    assert [(one.method, one.path, one.size, one.status) for one in proxy.exchanges] == [
        ("POST", "/a?b=c", 256_000, 201),
        ("POST", "/chunks", 6, 201),
        ("POST", "/host", 0, 201),
        ("DELETE", "/a", 0, 204),
    ]
    assert proxy.failed == []


def test_fails_the_next_that_match(proxy: FaultyProxy, service: type[Echo], connection: http.client.HTTPConnection) -> None:
    fault = proxy.fail(2, r"^POST /tables/\w+/insertAll")
    proxy.fail(1, "jobs", 403, "quotaExceeded")
    assert post(connection, "/datasets")[0] == 201
    status, body = post(connection, "/tables/t/insertAll")
    assert (status, json.loads(body)["error"]["errors"][0]["reason"]) == (503, "backendError")
    status, body = post(connection, "/jobs")
    assert (status, json.loads(body)["error"]["errors"][0]["reason"]) == (403, "quotaExceeded")
    assert [post(connection, "/tables/t/insertAll")[0] for _ in range(3)] == [503, 201, 201]
    assert fault.met == 2
    assert proxy.failed == ["POST /tables/t/insertAll", "POST /jobs", "POST /tables/t/insertAll"]
    assert service.requests == ["/datasets", "/tables/t/insertAll", "/tables/t/insertAll"]


def test_fails_until_healed(proxy: FaultyProxy, connection: http.client.HTTPConnection) -> None:
    proxy.fail(None, "insertAll", 200, answer={"insertErrors": [{"index": 0}]})
    assert [post(connection, "/insertAll") for _ in range(3)] == [(200, b'{"insertErrors": [{"index": 0}]}')] * 3
    proxy.heal()
    assert post(connection, "/insertAll")[0] == 201


@pytest.mark.parametrize(("cut", "done"), [("request", []), ("answer", ["/a"])])
def test_cuts_the_connection(proxy: FaultyProxy, service: type[Echo], cut: Any, done: list[str]) -> None:
    proxy.fail(1, "POST /a", cut=cut)
    connection = http.client.HTTPConnection(proxy.host, timeout=10)
    with pytest.raises(ConnectionError):
        post(connection, "/a")
    connection.close()
    assert service.requests == done
    assert post(connection, "/a")[0] == 201
    connection.close()


def test_bigquerys_client_tries_again_what_can_pass(cloud: Cloud) -> None:
    with FaultyProxy(os.environ[settings.BIGQUERY].removeprefix("http://")) as proxy:
        options = {"api_endpoint": f"http://{proxy.host}"}
        client = bigquery.Client(project=cloud.project, client_options=options)
        dataset, soon = cloud.dataset(), BIGQUERY_RETRY.with_delay(initial=0.01)
        proxy.fail(2, rf"GET .*/datasets/{dataset}\b")
        proxy.fail(1, "POST .*/insertAll", cut="answer")
        client.create_dataset(dataset)
        table = f"{cloud.project}.{dataset}.t"
        client.create_table(bigquery.Table(table, schema=[bigquery.SchemaField("id", "INT64")]))
        assert client.get_dataset(dataset, retry=soon).dataset_id == dataset
        assert client.insert_rows_json(table, [{"id": 1}], retry=soon) == []
        # BigQuery would know the row again by its insertId, for a minute and as a best effort; the emulator does not.
        assert [one.id for one in client.query(f"SELECT id FROM `{table}`").result()] == [1, 1]
        proxy.fail(1, "POST .*/queries|POST .*/jobs", 403)
        with pytest.raises(Forbidden, match="because a test wants it"):
            client.query(f"SELECT id FROM `{table}`", retry=None, job_retry=None)
        assert len(proxy.failed) == 4
        client.close()


def test_storages_client_tries_again_and_its_uploads_go_through_the_proxy(cloud: Cloud) -> None:
    with FaultyProxy(os.environ[settings.STORAGE].removeprefix("http://")) as proxy:
        client = storage.Client(project=cloud.project, client_options={"api_endpoint": f"http://{proxy.host}"})
        blob = client.bucket(cloud.bucket.removeprefix("gs://")).blob("faults/a", chunk_size=2**22)
        content = os.urandom(9_000_000)
        soon = STORAGE_RETRY.with_delay(initial=0.01)
        proxy.fail(1, "POST /upload/")
        blob.upload_from_string(content, retry=soon)
        # In three parts: the link that begins such an upload names the proxy.
        assert len(proxy.seen("^PUT /upload/")) == 3
        proxy.fail(1, "GET /download/")
        assert blob.download_as_bytes(retry=soon) == content
        assert len(proxy.failed) == 2
        client.close()
