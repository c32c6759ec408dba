"""How long a packet takes to become a row in BigQuery, and how many a second: on emulators, on this machine.

    python -m benchmarks.cloud [--alerts 600] [--rate 20]

Prints a Markdown table. The emulators share the cores with the pipeline and are slower than Google's services, so the
figures tell what the pipeline does, not what BigQuery does.
"""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path

import apache_beam
import numpy as np

from broker import cli, warehouse
from pipelines.ingest import run
from pipelines.messages import messages
from pipelines.publish import Pace, publish
from streams.write_pubsub import PubsubWriter
from tests.cloud.streams import Topic
from tests.emulators import cloud

METHODS = ("file_loads", "storage_write", "streaming_inserts")
_POLL_SECS = 0.25


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(description="Publish to row visible, and rows a second of each write method.")
    parser.add_argument("--alerts", type=int, default=600, help="packets per run (default 600)")
    parser.add_argument("--rate", type=float, default=20.0, help="packets a second onto the topic, for the latency (default 20)")
    given = parser.parse_args(argv)
    warnings.simplefilter("ignore", ResourceWarning)
    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, cloud.running(Path(folder, "emulators")) as here:
        night = Path(folder, "night")
        cli.main(["simulate", "--alerts", str(given.alerts), "--out", str(night)])
        lines = [_batch(here, night, method, given.alerts) for method in METHODS]
        lines += [_stream(here, night, given.alerts, pace) for pace in (Pace(given.rate, 1.0), None)]
    print(f"\n{_machine()}\n")
    print("| run | packets | seconds | packets/s | publish to row visible: p50 | p95 | p99 |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(lines))
    return 0


def _machine() -> str:
    versions = f"Python {platform.python_version()}, Beam {apache_beam.__version__}"
    return f"{date.today()}, {os.cpu_count()} shared cores ({platform.machine()}), {versions}, emulators on the same cores."


def _batch(here: cloud.Cloud, night: Path, method: str, alerts: int) -> str:
    place = f"bigquery://{here.project}/batch_{method}"
    flags = ["--survey", "ztf", "--write_method", method, "--temp_location", f"{here.bucket}/loads"]
    begin = time.monotonic()
    if run(["--input", str(night), "--warehouse", place, *flags]):
        raise RuntimeError("the batch run failed")
    seconds = time.monotonic() - begin
    return f"| batch, {method} | {alerts:,} | {seconds:.1f} | {alerts / seconds:.0f} | | | |"


def _stream(here: cloud.Cloud, night: Path, alerts: int, pace: Pace | None) -> str:
    """Packets at a pace, or (None) all at once, through a stream in rounds."""
    place = f"bigquery://{here.project}/{'paced' if pace else 'burst'}"
    topic = Topic(here.project)
    flags = ["--subscription", topic.subscriptions[0], "--warehouse", place, "--survey", "ztf", "--every_secs", "1", "--once"]
    sent = list(messages([str(night)]))
    publisher = threading.Thread(target=publish, args=(sent, PubsubWriter(topic.name), pace))
    seen = _Seen(place, alerts)
    begin = time.monotonic()
    publisher.start()
    stream = threading.Thread(target=cli.main, args=(["ingest", *flags],))
    stream.start()
    while stream.is_alive() and not seen.all_there():
        time.sleep(_POLL_SECS)
    publisher.join()
    stream.join()
    seconds = (seen.last_at or time.monotonic()) - begin
    p50, p95, p99 = np.percentile(seen.latencies_secs, [50, 95, 99])
    name = f"stream, --every_secs 1, {pace.count:g}/s" if pace else "stream, --every_secs 1, all at once"
    return f"| {name} | {alerts:,} | {seconds:.1f} | {alerts / seconds:.0f} | {p50:.1f} s | {p95:.1f} s | {p99:.1f} s |"


class _Seen:
    """Watches a table: when each row was first seen, after it was published."""

    def __init__(self, place: str, alerts: int) -> None:
        self._place, self._alerts = place, alerts
        self._ids: set[int] = set()
        self.latencies_secs: list[float] = []
        self.last_at: float | None = None

    def all_there(self) -> bool:
        try:
            with warehouse.open(self._place) as opened:
                rows = opened.query("SELECT alert_id, published_at FROM ztf_alerts").to_pylist()
        except warehouse.QueryError:
            return False
        now = datetime.now(timezone.utc)
        for row in rows:
            if row["alert_id"] not in self._ids:
                self._ids.add(row["alert_id"])
                self.latencies_secs.append((now - row["published_at"]).total_seconds())
        self.last_at = time.monotonic()
        return len(self._ids) >= self._alerts


if __name__ == "__main__":
    sys.exit(main())
