"""``make stream-demo``: a simulated night of LSST through a real Kafka into a folder, in rounds, with a kill in the midst of it.

Kafka is one of Maven's jars, or the one that ``PITT_BROKER_TEST_KAFKA`` names (``HOST:PORT``).
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from broker import cli, warehouse
from tests.emulators import kafka_server
from tests.kafka.topics import TestTopics

_ALERTS, _COPIES, _DAMAGED = 600, 20, 6
_BURST = "125/4s"
"""A visit of LSST is 10,000 every 39 s (``--cadence lsst``); this one is small enough to be looked at."""
_COUNTS = """
    SELECT 'alerts' AS what, COUNT(*) AS rows_written FROM lsst_alerts
    UNION ALL SELECT 'alerts, each once', COUNT(*) FROM lsst_alerts_unique
    UNION ALL SELECT 'cutouts', COUNT(*) FROM lsst_cutouts
    UNION ALL SELECT 'dead letters', COUNT(*) FROM dead_letters
    UNION ALL SELECT 'rounds', COUNT(*) FROM runs
"""
_SOURCES = "SELECT source FROM lsst_alerts UNION ALL SELECT source FROM dead_letters"


def main() -> int:
    """Run the demo; gives the exit status."""
    with tempfile.TemporaryDirectory(prefix="stream-demo-") as folder, _kafka(Path(folder, "kafka")) as topics:
        night, place = Path(folder, "night"), str(Path(folder, "warehouse"))
        flags = ["--alerts", str(_ALERTS), "--duplicates", str(_COPIES), "--damaged", str(_DAMAGED), "--out", str(night)]
        if cli.main(["simulate", "--survey", "lsst", *flags]):
            return 1
        name = topics.make(topics.name("lsst_demo"))
        stream = ["ingest", "--kafka", topics.servers, "--kafka_topic", name, "--kafka_group", "demo", "--warehouse", place]
        to = f"kafka:{topics.servers}/{name}"
        print(f"\n== onto the topic {name}, a burst every few seconds, and from there into a folder, in rounds", flush=True)
        publishing = _begin("publish", "--input", str(night), "--to", to, "--cadence", _BURST)
        _killed_in_the_midst([*stream, "--every_secs", "1"])
        print("\n== begun again: it goes on where the warehouse is", flush=True)
        second = _begin(*stream, "--every_secs", "1")
        if publishing.wait():
            return 1
        second.terminate()
        if second.wait() or cli.main([*stream, "--once"]):
            return 1
        print(f"\n== what {place} holds", flush=True)
        return cli.main(["query", "--warehouse", place, _COUNTS]) or _account(topics, name, place) or _audit(night, place)


@contextlib.contextmanager
def _kafka(folder: Path) -> Iterator[TestTopics]:
    if given := os.environ.get(kafka_server.GIVEN):
        yield TestTopics(given)
        return
    if why := kafka_server.missing():
        raise SystemExit(f"make stream-demo: {why}")
    with kafka_server.KafkaServer(folder) as server:
        print(f"== Kafka {kafka_server.jars().name.partition('-')[2]} at {server.servers}", flush=True)
        yield TestTopics(server.servers)


def _begin(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-W", "ignore", "-m", "broker", *words])


def _killed_in_the_midst(words: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "broker", *words], stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if line.startswith("round 2"):
            break
    # The next burst is on its way, or has been read and is being written.
    time.sleep(3)
    process.kill()
    process.wait()
    print("\n== kill -9", flush=True)


def _account(topics: TestTopics, name: str, place: str) -> int:
    """Messages sent, against rows and letters, each of which says of which message it is."""
    sent = topics.ends(name)
    with warehouse.open(place) as opened:
        sources = opened.query(_SOURCES).column("source").to_pylist()
    copies = len(sources) - len(set(sources))
    print(
        f"\n{sent:,} messages sent = {len(sources):,} rows and dead letters, of {len(set(sources)):,} messages; {copies} copies"
    )
    return 0 if sent == len(sources) and not copies else 1


def _audit(night: Path, place: str) -> int:
    print("\n== broker audit: what was sent against what is there, packet by packet", flush=True)
    return cli.main(["audit", "--input", str(night), "--warehouse", place])


if __name__ == "__main__":
    sys.exit(main())
