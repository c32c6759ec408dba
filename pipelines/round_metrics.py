"""What the rounds of a stream count, for Prometheus: ``--metrics_port``. ``docs/service.md`` has what to watch of it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alerts.extras import needs
from pipelines.errors import OptionsError
from pipelines.round_source import Round
from pipelines.summary import Summary
from warehouses.warehouse import Warehouse

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_OWN_HOST = "127.0.0.1"
_BACKLOG_EVERY_SECS = 60.0


class RoundMetrics:
    """Counters since the stream began, and gauges of its newest round."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge  # noqa: PLC0415 - of an extra

        self.registry: CollectorRegistry = CollectorRegistry()
        of: dict[str, Any] = {"namespace": "broker", "registry": self.registry}
        self._rounds = Counter("rounds", "rounds that are done", **of)
        self._failures = Counter("rounds_failed", "rounds, or looks at what there is, that failed and are tried again", **of)
        self._read = Counter("records_read", "messages, or records of files", **of)
        self._alerts = Counter("alerts_written", "rows of the tables of alerts", **of)
        self._letters = Counter("dead_letters", "records that became dead letters", ["stage"], **of)
        self._secs = Gauge("last_round_seconds", "what the newest round took", **of)
        self._at = Gauge("last_round_timestamp_seconds", "when the newest round was done, or nothing was there, Unix time", **of)
        self._behind = Gauge("behind", "messages, or files, that were there and not read after the newest round", **of)
        self._nights = Gauge("catalog_backlog_nights", "nights with alerts that catalogs have yet to answer about", **of)
        self._looked_at = -_BACKLOG_EVERY_SECS

    def done(self, found: Round, counts: Summary, secs: float) -> None:
        """A round is done."""
        self._rounds.inc()
        self._read.inc(counts.records_read)
        self._alerts.inc(counts.alerts)
        for stage, number in counts.dead_letters.items():
            self._letters.labels(stage).inc(number)
        self._secs.set(secs)
        self._at.set(time.time())
        self._behind.set(found.behind)

    def nothing(self) -> None:
        """There is nothing to read: all is read."""
        self._at.set(time.time())
        self._behind.set(0)

    def failed(self) -> None:
        """Something did not go through, and is tried again."""
        self._failures.inc()

    def look_at_catalogs(self, place: Warehouse, stream: str) -> None:
        """Now and then, how many nights the catalogs' own loop has to go through."""
        if time.monotonic() - self._looked_at < _BACKLOG_EVERY_SECS:
            return
        self._looked_at = time.monotonic()
        kept = place.kept_plan(f"catalogs of {stream}")
        self._nights.set(len(json.loads(kept)["nights"]) if kept else 0)


@contextlib.contextmanager
def serving(port: str | None) -> Iterator[RoundMetrics | None]:
    """Metrics that can be had at ``[HOST:]PORT`` as long as the body works; none without a port. Raises ``OptionsError``."""
    if port is None:
        yield None
        return
    host, _, number = port.rpartition(":")
    if not number.isdigit() or int(number) > 65_535:
        raise OptionsError(f"--metrics_port {port} is no port; give a number, or HOST:PORT for others than this machine")
    needs("prometheus_client")
    from prometheus_client import start_http_server  # noqa: PLC0415 - of an extra

    metrics = RoundMetrics()
    try:
        server, thread = start_http_server(int(number), host or _OWN_HOST, metrics.registry)
    except OSError as error:
        raise OptionsError(f"--metrics_port {port} cannot be had: {error}") from error
    try:
        yield metrics
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
