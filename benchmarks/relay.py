"""``broker relay``: messages a second, and CPU per message, from a real Kafka to the Pub/Sub emulator, both on this machine.

    python -m benchmarks.relay

CPU is that of the relay's process alone, all its threads, less that of a relay that finds nothing. The emulator and Kafka share
the cores with it, so that the rate is a lower bound. The emulator keeps what it gets in memory, which bounds the size of a run.
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
from unittest import mock

from benchmarks.machine_facts import facts, sentence
from benchmarks.tables import MarkdownTable
from pipelines.messages import messages
from tests.cloud.streams import Topic
from tests.emulators import processes
from tests.emulators.kafka_server import KafkaServer
from tests.emulators.settings import PUBSUB
from tests.kafka.topics import TestTopics
from tests.nights import simulated

_RUN_BYTES = 190_000_000
TITLE = "From Kafka to Pub/Sub by broker relay"


def main() -> int:
    """Measure and print; gives the exit status."""
    machine = sentence(facts())
    print(f"{machine}\n\n{relay().to_markdown()}")
    return 0


def relay() -> MarkdownTable:
    """A row for each survey; without a Pub/Sub emulator a table of no rows that says so."""
    table = MarkdownTable(TITLE, ["messages of", "messages", "MB", "seconds", "messages/s", "ms CPU per message"])
    if why := processes.pubsub_missing():
        table.notes.append(f"not measured: {why}")
        return table
    with tempfile.TemporaryDirectory() as folder, pubsub(Path(folder)), KafkaServer(Path(folder, "kafka")) as kafka:
        topics = TestTopics(kafka.servers)
        for survey in ("ztf", "lsst"):
            night = simulated(Path(folder, survey), "--survey", survey, "--alerts", "100", "--seed", "1")
            packets = list(messages([str(night)]))
            sent = [*packets] * (_RUN_BYTES // sum(map(len, packets)))
            name = topics.make(topics.name(survey))
            run = _Relay(topics.servers, name, Topic(processes.PROJECT).name)
            idle_secs, idle_cpu_secs = run.once()
            topics.send(name, sent)
            secs, cpu_secs = run.once()
            secs, cpu_secs = secs - idle_secs, cpu_secs - idle_cpu_secs
            table.add_row(
                {
                    "messages of": survey,
                    "messages": len(sent),
                    "MB": sum(map(len, sent)) / 1e6,
                    "seconds": secs,
                    "messages/s": len(sent) / secs,
                    "ms CPU per message": 1e3 * cpu_secs / len(sent),
                }
            )
    return table


@contextlib.contextmanager
def pubsub(folder: Path) -> Iterator[str]:
    """Google's emulator, with this process's clients pointed at it, as long as the context lasts; gives its HOST:PORT."""
    emulator = processes.pubsub(folder)
    emulator.spawn()
    try:
        emulator.wait()
        with mock.patch.dict(os.environ, {PUBSUB: emulator.hosts[0]}):
            yield emulator.hosts[0]
    finally:
        emulator.stop()


class _Relay:
    def __init__(self, servers: str, name: str, topic: str) -> None:
        source = ["--kafka", servers, "--kafka_topic", name, "--kafka_group", "bench"]
        self._command = [sys.executable, "-m", "broker", "relay", *source, "--publish", f"pubsub:{topic}", "--once"]

    def once(self) -> tuple[float, float]:
        """Seconds, and seconds of CPU, of a relay that sends on what there is."""
        began = time.monotonic()
        process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"the relay ended with {process.returncode}")
        return time.monotonic() - began, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
