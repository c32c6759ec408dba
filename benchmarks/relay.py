"""``broker relay``: messages a second, and CPU per message, from a real Kafka to the Pub/Sub emulator, both on this machine.

    python -m benchmarks.relay

CPU is that of the relay's process alone, all its threads, less that of a relay that finds nothing. The emulator and Kafka share
the cores with it, so that the rate is a lower bound. The emulator keeps what it gets in memory, which bounds the size of a run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.machine_facts import facts, sentence
from pipelines.messages import messages
from tests.cloud.streams import Topic
from tests.emulators import cloud
from tests.emulators.kafka_server import KafkaServer
from tests.kafka.topics import TestTopics
from tests.nights import simulated

_RUN_BYTES = 190_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit status."""
    argparse.ArgumentParser(description="Messages a second and CPU per message of broker relay.").parse_args(argv)
    lines = [
        f"\n{sentence(facts())}\n",
        "| messages | MB | seconds | messages/s | ms CPU per message |",
        "|---|---|---|---|---|",
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        cloud.running(Path(folder, "emulators")) as here,
        KafkaServer(Path(folder, "kafka")) as kafka,
    ):
        topics = TestTopics(kafka.servers)
        for survey in ("ztf", "lsst"):
            night = simulated(Path(folder, survey), "--survey", survey, "--alerts", "100", "--seed", "1")
            packets = list(messages([str(night)]))
            name = topics.make(topics.name(survey))
            run = _Relay(topics.servers, name, Topic(here.project).name, here.variables)
            idle_secs, idle_cpu_secs = run.once()
            sent = [*packets] * (_RUN_BYTES // sum(map(len, packets)))
            topics.send(name, sent)
            secs, cpu_secs = run.once()
            secs, cpu_secs = secs - idle_secs, cpu_secs - idle_cpu_secs
            size_mb, rate, cost_ms = sum(map(len, sent)) / 1e6, len(sent) / secs, 1e3 * cpu_secs / len(sent)
            lines.append(f"| {len(sent):,} of {survey} | {size_mb:.0f} | {secs:.1f} | {rate:,.0f} | {cost_ms:.2f} |")
    print("\n".join(lines))
    return 0


class _Relay:
    def __init__(self, servers: str, name: str, topic: str, variables: dict[str, str]) -> None:
        source = ["--kafka", servers, "--kafka_topic", name, "--kafka_group", "bench"]
        self._command = [sys.executable, "-m", "broker", "relay", *source, "--publish", f"pubsub:{topic}", "--once"]
        self._environment = {**os.environ, **variables}

    def once(self) -> tuple[float, float]:
        """Seconds, and seconds of CPU, of a relay that sends on what there is."""
        began = time.monotonic()
        process = subprocess.Popen(self._command, env=self._environment, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"the relay ended with {process.returncode}")
        return time.monotonic() - began, used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
