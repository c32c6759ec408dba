"""Hits on their way out: so many a second into a real Kafka, and what a slow receiver costs the tables.

    python -m benchmarks.hits

The rate is from open rows of a folder's outbox to rows that close them, by one process; Kafka shares the cores with it. What a
receiver costs the tables is the time from the beginning of each round of a stream to its end, all rounds together, where a filter
passes every alert: with a receiver that takes what comes, and with one that takes 20 kB a second, each beside none.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

import warehouses
from benchmarks.machine_facts import facts, sentence
from benchmarks.relay import pubsub
from benchmarks.tables import MarkdownTable
from pipelines.sending import send_open
from schemas.outbox import OUTBOX
from schemas.run_ids import new_run_id
from streams.addresses import parse_address
from streams.hits import Hit, PassedAlert
from streams.outbox_rows import ToSend, outbox_rows
from tests.emulators import processes
from tests.emulators.kafka_server import KafkaServer, missing
from tests.emulators.settings import PUBSUB
from tests.emulators.tcp_relay import TcpRelay
from tests.kafka.topics import TestTopics
from tests.nights import ask, simulated
from transforms.read import BATCH_PACKETS

HITS = 100_000
_OF_RUN = 10_000
ROUNDS, ALERTS = 12, 400
_SLOW_BYTES, _SLOW_SECS = 2_000, 0.1
_SOURCES = [{"separation_arcsec": 1.234, "source_id": "123456789012345678", "magnitude": 17.123}] * 4
_MATCHES = [{"catalog": name, "status": "matched", "sources": _SOURCES} for name in ("gaia", "ps1", "wise", "sdss")]


def main() -> int:
    """Measure and print; gives the exit status."""
    print(sentence(facts()))
    for table in (rates(), receivers()):
        print(f"\n{table.to_markdown()}")
    return 0


def rates() -> MarkdownTable:
    """How many hits a second go into Kafka."""
    table = MarkdownTable("Hits into Kafka", ["format", "hits", "bytes each", "seconds", "hits/s", "µs CPU per hit"])
    if why := missing():
        table.notes.append(f"not measured: {why}")
        return table
    with tempfile.TemporaryDirectory() as folder, KafkaServer(Path(folder, "kafka")) as kafka:
        topic = f"kafka:{kafka.servers}/{TestTopics(kafka.servers).name('hits')}"
        uri, size = f"{folder}/w", _write(f"{folder}/w", topic)
        began, cpu = time.monotonic(), time.process_time()
        found = send_open(uri, {topic: parse_address(topic, "topic")}, new_run_id(datetime.now(UTC)))
        secs, cpu = time.monotonic() - began, time.process_time() - cpu
        if found.sent[topic] != HITS:
            raise RuntimeError(f"{found.sent[topic]:,} of {HITS:,} hits were sent: {found.waiting}")
        cells = {"format": "json", "hits": HITS, "bytes each": size, "seconds": secs, "hits/s": HITS / secs}
        table.add_row({**cells, "µs CPU per hit": 1e6 * cpu / HITS})
    return table


def _write(uri: str, topic: str) -> int:
    """Open rows of hits, as runs write them: those of a batch of alerts at one time; gives the bytes of one."""
    with warehouses.at(uri) as place:
        for begin in range(0, HITS, _OF_RUN):
            run_id, batches = new_run_id(datetime.now(UTC)), []
            for first in range(begin, begin + _OF_RUN, BATCH_PACKETS):
                now = datetime.now(UTC)
                hits = [_hit(number, now) for number in range(first, min(first + BATCH_PACKETS, begin + _OF_RUN))]
                made = [ToSend(topic, hit, hit.as_json(_MATCHES)) for hit in hits]
                batches.append(outbox_rows(made, now, run_id))
            place.add(OUTBOX, pa.Table.from_batches(batches).combine_chunks().to_batches()[0], run_id)
    return len(made[0].payload)


def _hit(number: int, now: datetime) -> Hit:
    alert = PassedAlert("ztf", 2**60 + number, f"ZTF26{number % 9_999:07d}", "object", number, now, now)
    return Hit(alert, "fast", "v1", '{"fade": 0.51}', now)


def receivers() -> MarkdownTable:
    """What a slow receiver costs the tables."""
    table = MarkdownTable(
        "Rounds beside a receiver", ["receiver", "rounds", "alerts", "seconds of rounds", "over none", "hits open at the end"]
    )
    if why := processes.pubsub_missing():
        table.notes.append(f"not measured: {why}")
        return table
    with tempfile.TemporaryDirectory() as folder:
        nights = Path(folder, "nights")
        for number in range(ROUNDS):
            night = simulated(Path(folder, str(number)), "--alerts", str(ALERTS), "--seed", str(number + 1))
            nights.mkdir(exist_ok=True)
            next(night.glob("*.tar.gz")).rename(nights / f"{number:02d}.tar.gz")
        filters = Path(folder, "filters")
        filters.mkdir()
        (filters / "every.sql").write_text("-- surveys: ztf\nSELECT ra_deg FROM alerts WHERE candidate.jd > 0\n")
        words = ["--watch", str(nights), "--filters", str(filters), "--no_cutouts"]
        publish = ["--publish", f"pubsub:projects/{processes.PROJECT}/topics/hits?format=json"]
        with pubsub(Path(folder)) as host:
            port = int(host.rpartition(":")[2])
            slow = _Slow(port)
            none = _rounds(Path(folder, "none"), words, port)
            for name, more, where in (("none", [], port), ("as it comes", publish, port), ("20 kB/s", publish, slow.port)):
                secs, left = none if name == "none" else _rounds(Path(folder, name), [*words, *more], where)
                cells = {"receiver": name, "rounds": ROUNDS, "alerts": ROUNDS * ALERTS, "seconds of rounds": secs}
                table.add_row({**cells, "over none": secs / none[0], "hits open at the end": left})
            slow.close()
    return table


def _rounds(warehouse: Path, words: Sequence[str], port: int) -> tuple[float, int]:
    """The seconds of all rounds of a stream, and how many hits are open when it ends."""
    command = [sys.executable, "-m", "broker", "ingest", *words, "--warehouse", str(warehouse), "--round_mb", "1"]
    command += ["--every_secs", "0.1", "--once"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, PUBSUB: f"127.0.0.1:{port}"})
    spans = "SELECT SUM(epoch(ended_at) - epoch(started_at)) FROM runs WHERE alerts_written > 0"
    has_hits = "--publish" in words
    return ask(warehouse, spans)[0][0], ask(warehouse, "SELECT COUNT(*) FROM outbox_open")[0][0] if has_hits else 0


class _Slow(TcpRelay):
    """A way to a receiver by which a few bytes go each moment."""

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_SLOW_BYTES):
                time.sleep(_SLOW_SECS)
                sink.sendall(data)


if __name__ == "__main__":
    sys.exit(main())
