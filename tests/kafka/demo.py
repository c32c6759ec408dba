"""``make stream-demo``: a simulated night of LSST through a real Kafka into a folder, in rounds, with a kill in the midst of it;
what filters pass goes into Kafka again, where a listener proves that all has come.

Kafka is one of Maven's jars, or the one that ``PITT_BROKER_TEST_KAFKA`` names (``HOST:PORT``).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from broker import cli, warehouse
from tests.emulators import kafka_server
from tests.kafka.topics import TestTopics
from tests.nights import truth

_ALERTS, _COPIES, _DAMAGED = 600, 20, 6
_BURST = "125/4s"
"""A visit of LSST is 10,000 every 39 s (``--cadence lsst``); this one is small enough to be looked at."""
_EXAMPLES = Path(__file__).parents[2] / "examples" / "filters"
_PLANTED = {
    "steady_fader": {"fader"},
    "both_signs": {"variable"},
    "past_flare": {"flare"},
}
"""Filters of the examples, and the simulator's families of objects that they are to find."""
_SHOWN = 4
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
        hits = f"kafka:{topics.servers}/{topics.name('hits')}-{{survey}}-{{filter}}"
        stream = ["ingest", "--kafka", topics.servers, "--kafka_topic", name, "--kafka_group", "demo", "--warehouse", place]
        stream += ["--filters", str(_filters(Path(folder, "filters"))), "--publish", hits]
        to = f"kafka:{topics.servers}/{name}"
        print(f"\n== onto the topic {name}, a burst every few seconds, and from there into a folder, in rounds;", flush=True)
        print(f"   what {', '.join(_PLANTED)} pass goes to {hits}", flush=True)
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
        wrong = cli.main(["query", "--warehouse", place, _COUNTS]) or _account(topics, name, place) or _audit(night, place)
        return wrong or _listen(hits, night, Path(folder, "saved"))


def _filters(folder: Path) -> Path:
    folder.mkdir()
    for name in _PLANTED:
        shutil.copy(_EXAMPLES / f"{name}.sql", folder)
    return folder


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


def _listen(hits: str, night: Path, saved: Path) -> int:
    """Each filter's stream, as whoever subscribes reads it, against its manifests; and the objects that were planted in it."""
    told = [each for each in truth(night) if each["kind"] == "good"]
    for name, families in _PLANTED.items():
        address = hits.replace("{survey}", "lsst").replace("{filter}", name)
        print(f"\n== broker listen {address} --once --verify", flush=True)
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            status = cli.main(["listen", address, "--once", "--quiet_secs", "2", "--verify", "--save", str(saved / name)])
        lines = shown.getvalue().splitlines()
        print("\n".join([*lines[:_SHOWN], f".. and {len(lines) - _SHOWN} others" if len(lines) > _SHOWN else ""]).rstrip())
        if status:
            return status
        came = {json.loads(file.read_text())["alert_id"] for file in (saved / name).glob("*.headers")}
        objects = {each["object_id"] for each in told if str(each["alert_id"]) in came}
        planted = {each["object_id"] for each in told if each["family"] in families}
        print(f"of {len(planted)} planted objects ({', '.join(sorted(families))}) {len(planted & objects)} have come")
        if not planted <= objects:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
