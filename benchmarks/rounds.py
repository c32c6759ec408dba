"""Streams in rounds: messages a second, how fresh rows are, and LSST's visits; a Kafka of its own on the same machine.

    python -m benchmarks.rounds [--messages 20000] [--secs 60] [--visits 10] [--largest]

Prints Markdown. Messages are real packets where they are on this machine, else simulated ones, again and again. A row is as old
as the time from its message's publishing to the line that says that its round is done.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from confluent_kafka import Producer

import warehouses
from benchmarks.machine_facts import facts, sentence
from benchmarks.samples import LSST_REAL, ZTF_RECENT, Sample, real, simulated
from benchmarks.tables import MarkdownTable
from tests.emulators.kafka_server import KafkaServer, missing
from tests.kafka.topics import TestTopics

_DISTINCT = {"ztf": 1_000, "lsst": 200}
_RATE, _EVERY_SECS = 150.0, 5.0
_VISIT, _BURST_SECS, _CADENCE_SECS = 10_000, 5.0, 39.0
_PARTITIONS = 32
_WIDE_BYTES = 165_000
"""Of an alert of LSST's wide survey at most; those of deep fields have histories of a thousand sources."""
_KEPT_BYTES = 8 * 10**9
"""Of a topic: some visits, not all."""
_END_SECS = 600


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; gives the exit status."""
    parser = argparse.ArgumentParser(description="Streams in rounds, from a Kafka on this machine into a folder.")
    parser.add_argument("--messages", type=int, default=20_000, metavar="N", help="in the backlog (default 20000)")
    parser.add_argument("--secs", type=float, default=60.0, help="seconds of messages at 150/s (default 60)")
    parser.add_argument("--visits", type=int, default=10, metavar="N", help="of LSST, a minute's worth of disk each (default 10)")
    parser.add_argument("--largest", action="store_true", help="visits of all packets, those of deep fields among them")
    given = parser.parse_args(argv)
    if why := missing():
        print(why)
        return 1
    print(f"{sentence(facts())}\n", flush=True)
    for table in rounds(given.messages, given.secs, given.visits, given.largest):
        print(f"{table.to_markdown()}\n", flush=True)
    return 0


def rounds(messages: int, secs: float, visits: int, largest: bool = False) -> Iterator[MarkdownTable]:
    """The tables."""
    with tempfile.TemporaryDirectory() as folder:
        ztf, lsst = samples(Path(folder))
        # As much as a few visits: what was read is taken away, as any Kafka does.
        settings = {"log.retention.check.interval.ms": "1000", "log.segment.bytes": str(64 * 2**20)}
        settings["log.segment.delete.delay.ms"] = "1000"
        with KafkaServer(Path(folder, "kafka"), settings) as server:
            bench = _Bench(TestTopics(server.servers), Path(folder))
            yield bench.backlog(ztf, messages)
            yield bench.paced(ztf, secs)
            yield bench.visits(lsst, visits, largest)


def samples(folder: Path) -> tuple[Sample, Sample]:
    """A night of ZTF and one of LSST: real ones where they are on this machine."""
    there = {sample.name: sample for sample in real()}
    ztf = there.get(ZTF_RECENT) or simulated(folder, "ztf", _DISTINCT["ztf"])
    return ztf, there.get(LSST_REAL) or simulated(folder, "lsst", _DISTINCT["lsst"])


@dataclass
class StreamProcess:
    """A stream in a process of its own, what it said and when, and what it took."""

    process: subprocess.Popen[str]
    rounds: list[tuple[float, int]] = field(default_factory=list)
    """Of each, when it was done (seconds since 1970), and its messages."""
    cpu_secs: float = 0.0
    memory_mb: float = 0.0

    def read(self) -> None:
        """Take its lines, until it ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("round"):
                self.rounds.append((time.time(), int(line.split()[2].replace(",", ""))))
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_secs, self.memory_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


@dataclass
class _Bench:
    topics: TestTopics
    folder: Path

    def stream(self, topic: str, *others: str) -> tuple[StreamProcess, threading.Thread]:
        """A stream that begins now, and what reads its lines."""
        source = ["--kafka", self.topics.servers, "--kafka_topic", topic, "--kafka_group", "bench"]
        command = [sys.executable, "-m", "broker", "ingest", *source, "--warehouse", str(self.folder / topic), *others]
        # Whoever fills Kafka beside it has the other core.
        stream = StreamProcess(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        reading = threading.Thread(target=stream.read)
        reading.start()
        return stream, reading

    def backlog(self, sample: Sample, count: int) -> MarkdownTable:
        """A backlog, read to its end."""
        packets = sample.packets(_DISTINCT[sample.survey])
        topic = self.topics.make(self.topics.name(), _PARTITIONS)
        send(self.topics.servers, topic, itertools.islice(itertools.cycle(packets), count))
        stream, reading = self.stream(topic, "--once")
        began = time.time()
        reading.join()
        first = stream.rounds[0]
        later = stream.rounds[1:]
        table = MarkdownTable(
            "Rounds over a backlog",
            ["night", "messages", "kB a message", "messages/s", "messages/s with the start", "CPU ms a message", "memory MB"],
        )
        table.add_row(
            {
                "night": sample.name,
                "messages": count,
                "kB a message": round(float(np.mean([len(packet) for packet in packets])) / 1e3, 1),
                "messages/s": round(sum(number for _, number in later) / (later[-1][0] - first[0])) if later else None,
                "messages/s with the start": round(count / (stream.rounds[-1][0] - began)),
                "CPU ms a message": round(stream.cpu_secs / count * 1e3, 3),
                "memory MB": round(stream.memory_mb),
            }
        )
        table.notes.append(f"{len(stream.rounds)} rounds; messages/s: after the first, which pays for the start.")
        return table

    def paced(self, sample: Sample, secs: float) -> MarkdownTable:
        """150 messages a second."""
        packets = sample.packets(_DISTINCT[sample.survey])
        topic = self.topics.make(self.topics.name(), _PARTITIONS)
        stream, reading = self.stream(topic, "--every_secs", f"{_EVERY_SECS:g}")
        count = int(secs * _RATE)
        time.sleep(_EVERY_SECS)
        send(self.topics.servers, topic, itertools.islice(itertools.cycle(packets), count), _RATE)
        wait_for(stream, count)
        stream.process.terminate()
        reading.join()
        table = MarkdownTable(
            f"Fresh: {_RATE:g} messages a second, --every_secs {_EVERY_SECS:g}",
            ["night", "messages", "rounds", "p50 s", "p99 s", "most s", "CPU ms a message", "memory MB"],
        )
        ages = ages_secs(self.folder / topic, stream)
        p50, p99 = np.percentile(ages, [50, 99])
        table.add_row(
            {
                "night": sample.name,
                "messages": count,
                "rounds": len(stream.rounds),
                "p50 s": round(float(p50), 1),
                "p99 s": round(float(p99), 1),
                "most s": round(float(max(ages)), 1),
                "CPU ms a message": round(stream.cpu_secs / count * 1e3, 2),
                "memory MB": round(stream.memory_mb),
            }
        )
        return table

    def visits(self, sample: Sample, visits: int, largest: bool) -> MarkdownTable:
        """Visits of LSST: 10,000 messages within 5 s, every 39 s; of all packets, or without those of deep fields."""
        packets = sample.packets(_DISTINCT[sample.survey])
        if not largest:
            packets = [packet for packet in packets if len(packet) <= _WIDE_BYTES] or packets
        topic = self.topics.make(self.topics.name(), _PARTITIONS, **{"retention.bytes": str(_KEPT_BYTES // _PARTITIONS)})
        stream, reading = self.stream(topic, "--every_secs", "1", "--round_mb", "300")
        time.sleep(5)
        table = MarkdownTable(
            f"LSST's visits: {_VISIT:,} messages within {_BURST_SECS:g} s, every {_CADENCE_SECS:g} s",
            ["visit", "sent in s", "all are rows after s", "behind at the next"],
        )
        began = time.time()
        for number in range(visits):
            time.sleep(max(0.0, began + number * _CADENCE_SECS - time.time()))
            at = time.time()
            send(self.topics.servers, topic, itertools.islice(itertools.cycle(packets), _VISIT), _VISIT / _BURST_SECS)
            table.add_row({"visit": number + 1, "sent in s": round(time.time() - at, 1)})
        wait_for(stream, visits * _VISIT)
        stream.process.terminate()
        reading.join()
        for number, row in enumerate(table.rows):
            due = began + number * _CADENCE_SECS
            row["all are rows after s"] = round(_when(stream, (number + 1) * _VISIT) - due, 1)
            there = sum(count for when, count in stream.rounds if when <= due + _CADENCE_SECS)
            row["behind at the next"] = max(0, (number + 1) * _VISIT - there)
        sizes_kb = np.array([len(packet) for packet in packets]) / 1e3
        table.notes.append(
            f"{sample.name}: {len(packets)} packets again and again, median {np.median(sizes_kb):.0f} kB, "
            f"mean {sizes_kb.mean():.0f} kB; "
            f"{stream.cpu_secs / visits / _VISIT * 1e3:.2f} ms of CPU a message, "
            f"{stream.cpu_secs / visits / _CADENCE_SECS:.1f} cores on end, memory {stream.memory_mb:,.0f} MB."
        )
        return table


def _when(stream: StreamProcess, count: int) -> float:
    """When so many messages were rows."""
    there = 0
    for when, number in stream.rounds:
        there += number
        if there >= count:
            return when
    return float("nan")


def wait_for(stream: StreamProcess, count: int) -> None:
    """Until so many messages are rows. Raises ``RuntimeError`` where it takes ten minutes, or the stream ends."""
    end = time.monotonic() + _END_SECS
    while sum(number for _, number in stream.rounds) < count:
        if time.monotonic() > end or stream.process.poll() is not None:
            raise RuntimeError(f"the stream has read {sum(number for _, number in stream.rounds)} of {count} messages")
        time.sleep(0.05)


def ages_secs(place: Path, stream: StreamProcess) -> list[float]:
    """How old each row was when its round was done."""
    with warehouses.at(str(place)) as opened:
        runs = opened.query("SELECT run_id FROM runs WHERE status = 'done' ORDER BY started_at").column("run_id").to_pylist()
        done_at = dict(zip(runs, (when for when, _ in stream.rounds), strict=True))
        sql = "SELECT run_id, epoch(published_at) AS published FROM ztf_alerts"
        return [done_at[row["run_id"]] - row["published"] for row in opened.query(sql).to_pylist()]


def send(servers: str, topic: str, values: Iterator[bytes], rate: float = 0.0) -> None:
    """Messages to all partitions in turn, ``rate`` a second."""
    held = {"message.max.bytes": 8 * 2**20, "queue.buffering.max.kbytes": 200_000}
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "log_level": 2, **held})
    began = time.monotonic()
    for number, value in enumerate(values):
        while True:
            try:
                producer.produce(topic, value, partition=number % _PARTITIONS)
                break
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
        if rate and number % 10 == 0:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
    producer.flush()


if __name__ == "__main__":
    sys.exit(main())
