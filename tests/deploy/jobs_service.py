"""The part of Dataflow's jobs API (v1b3) that a submission talks to, on loopback: it keeps what is posted and runs nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class JobsService:
    """What the service is to answer, and what it was asked."""

    states: Sequence[str] = ("JOB_STATE_DONE",)
    """States that a job is in, one for each time it is asked for; the last one stays."""
    counters: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """The broker's counters by name: the committed and the tentative value."""
    errors: Sequence[str] = ()
    """Error messages of a job."""
    running: Sequence[str] = ()
    """Names of the jobs that run already; the id is ``id-of-NAME``."""
    endpoint: str = ""
    jobs: list[dict[str, Any]] = field(default_factory=list)
    """The jobs that were posted."""
    launches: list[dict[str, Any]] = field(default_factory=list)
    """What was asked of Flex Templates."""
    changes: list[dict[str, Any]] = field(default_factory=list)
    """What was asked of running jobs: to drain, to be cancelled."""
    asked: int = 0
    """How often somebody wanted to know a job's state."""

    def answer(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request."""
        if path.endswith("flexTemplates:launch"):
            self.launches.append(body["launchParameter"])
            return {"job": _job("id-of-launch", body["launchParameter"]["jobName"], "JOB_STATE_QUEUED")}
        if method == "POST":
            self.jobs.append(body)
            return {**body, "id": f"id-of-{body['name']}", "projectId": "testproj", "currentState": "JOB_STATE_PENDING"}
        if method == "PUT":
            self.changes.append(body)
            return body
        kind = path.rsplit("/", 1)[-1]
        if kind == "messages":
            return {"jobMessages": [_message(number, text) for number, text in enumerate(self.errors)]}
        if kind == "metrics":
            return {"metrics": [one for name, values in self.counters.items() for one in _metrics(name, *values)]}
        if kind == "jobs":
            return {"jobs": [_job(f"id-of-{name}", name, "JOB_STATE_RUNNING") for name in self.running]}
        state = self.states[min(self.asked, len(self.states) - 1)]
        self.asked += 1
        return _job(kind, kind.removeprefix("id-of-"), state)


@contextmanager
def serving(service: JobsService) -> Iterator[JobsService]:
    """The service on a free port; its ``endpoint`` is for ``--dataflow_endpoint``."""

    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            answer = json.dumps(service.answer(self.command, path, json.loads(sent or b"{}"))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = _do

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    # Beam speaks REST, without TLS, to an endpoint that has "localhost" in its name.
    service.endpoint = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        # Beam asks on a thread of its own, every few seconds, and raises there where nobody answers: in whatever test is next.
        for asking in [one for one in threading.enumerate() if "poll_for_job_completion" in one.name]:
            service.states = ["JOB_STATE_CANCELLED"]
            asking.join(30)
        server.shutdown()
        thread.join()
        server.server_close()


def _job(job_id: str, name: str, state: str) -> dict[str, Any]:
    return {"id": job_id, "name": name, "projectId": "testproj", "currentState": state}


def _message(number: int, text: str) -> dict[str, Any]:
    return {
        "id": str(number),
        "time": f"2026-11-23T00:00:{number:02}Z",
        "messageText": text,
        "messageImportance": "JOB_MESSAGE_ERROR",
    }


def _metrics(name: str, committed: int, tentative: int) -> list[dict[str, Any]]:
    """A counter as the service gives it: of two steps, and each value twice."""
    found = []
    for step, share in (("s1", 1), ("s2", 0)):
        for value, context in ((committed, {}), (tentative, {"tentative": "true"})):
            names = {"origin": "user", "name": name, "context": {"namespace": "broker", "step": step, **context}}
            found.append({"name": names, "scalar": value * share, "updateTime": "2026-11-23T00:00:00Z"})
    return found
