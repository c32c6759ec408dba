"""Streams out for long: ten minutes of hits into Kafka, with twenty kills, and a listener in the end.

    python -m tests.soak_out [--secs 600] [--kills 20]

A Kafka of its own. Prints Markdown; the exit status is 1 where a hit is lost or shown twice, or a table harmed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from broker import cli
from tests.emulators.kafka_server import KafkaServer, missing
from tests.kafka.topics import TestTopics
from tests.soak import Ingest, Packets, read_until, send, verdict

_RATE, _PARTITIONS = 150.0, 8
_PASSES = "-- surveys: ztf\nSELECT candidate.magpsf AS mag FROM alerts WHERE MOD(alert_id, 7) < 3\n"


@dataclass(frozen=True)
class Heard:
    """What a listener has seen of the hits."""

    status: int
    alerts: Counter[int]
    said: str


def streamed(server: KafkaServer, folder: Path, secs: float, kills: int) -> int:
    """Messages evenly for so long, and kills at random moments; gives how much is wrong."""
    packets, place, count = Packets(), folder / "out", int(secs * _RATE)
    topics = TestTopics(server.servers)
    topic, hits = topics.make("ztf_20260914_programid1", _PARTITIONS), f"kafka:{server.servers}/hits"
    filters = folder / "filters"
    filters.mkdir()
    (filters / "some.sql").write_text(_PASSES)
    asked = ("--every_secs", "1", "--filters", str(filters), "--publish", f"{hits}?format=json")
    sending = threading.Thread(target=send, args=(server.servers, topic, packets.of_night(0, count), _RATE))
    sending.start()
    chance, began, struck = random.Random(5), time.monotonic(), 0
    moments = sorted(chance.uniform(0, secs) for _ in range(kills))
    stream = Ingest.begin(server.servers, topic, place, *asked)
    for moment in moments:
        time.sleep(max(0.0, began + moment - time.monotonic()))
        if stream.process.poll() is not None:
            raise RuntimeError(f"the stream has ended: {stream.lines[-5:]}")
        stream.end(signal.SIGKILL)
        struck += 1
        stream = Ingest.begin(server.servers, topic, place, *asked)
    sending.join()
    read_until(place, topic, count)
    stream.end()
    # As a timer does, for what the last rounds have written.
    waits = cli.main(["publish", "--outbox", "--warehouse", str(place)])
    lost, doubled, _ = verdict(place, topic, count)
    came = _heard(hits)
    sent = {number for number in packets.ids(0, count) if number % 7 < 3}
    hits_lost, twice = len(sent - came.alerts.keys()), came.alerts.total() - len(came.alerts)
    print(
        f"\n{count:,} messages in {secs / 60:g} minutes, {struck} SIGKILLs at random moments: {lost} lost, {doubled} doubled in "
        f"the tables; of {len(sent):,} hits {hits_lost} lost, {twice} shown twice, {len(came.alerts.keys() - sent)} too many.\n"
    )
    print(came.said)
    return lost + doubled + hits_lost + twice + len(came.alerts.keys() - sent) + came.status + waits


def _heard(address: str) -> Heard:
    shown, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
        status = cli.main(["listen", address, "--once", "--quiet_secs", "5", "--verify"])
    return Heard(status, Counter(int(line.split("  ")[3]) for line in shown.getvalue().splitlines()), said.getvalue())


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; gives the exit status."""
    parser = argparse.ArgumentParser(description="Hits of a stream for long, and who listens.")
    parser.add_argument("--secs", type=float, default=600)
    parser.add_argument("--kills", type=int, default=20)
    given = parser.parse_args(argv)
    if why := missing():
        print(why, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as folder, KafkaServer(Path(folder, "kafka")) as server:
        return int(streamed(server, Path(folder), given.secs, given.kills) > 0)


if __name__ == "__main__":
    sys.exit(main())
