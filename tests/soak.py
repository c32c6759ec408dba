"""A stream for long: 50,000 messages with 30 kills, and seven nights in fast time with what happens to a machine in a week.

    python -m tests.soak [--messages 50000] [--kills 30] [--nights 7] [--alerts 100000]

A Kafka of its own, a warehouse in a file system of its own (which takes root), both below --folder. Some 25 minutes. Prints
Markdown; the exit status is 1 where something was lost or doubled.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from confluent_kafka import Producer

import warehouses
from broker import cli
from simulation import simulate_packets
from tests.emulators.kafka_server import KafkaServer, missing
from tests.kafka.topics import TestTopics

GROUP = "soak"
FIRST_NIGHT = date(2026, 9, 14)
_DISTINCT, _PARTITIONS = 1_000, 8
_STAMP_BYTES = 300
_RATE = 1_800.0
_WITH_CUTOUTS = (1, 4)
"""By their number, the nights whose stamps are kept."""
_ROOM_MB = 6_000
_WAIT_SECS = 300.0
_HEAVY = ("prv_candidates", "fp_hists")
_STAMPS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")
_SYNC = bytes(range(16))
_ID_STEP = 10**13


class Packets:
    """Alerts of any night: a simulated one's, under other ids, without histories, and with stamps that are cut short."""

    def __init__(self) -> None:
        self._records = []
        for made in simulate_packets(survey="ztf", alerts=_DISTINCT, seed=3, night=FIRST_NIGHT):
            reader = fastavro.reader(io.BytesIO(made.data))
            (record,) = reader
            stamps = {name: {**record[name], "stampData": record[name]["stampData"][:_STAMP_BYTES]} for name in _STAMPS}
            self._records.append({**record, **dict.fromkeys(_HEAVY), **stamps})
        schema = reader.writer_schema
        newer = copy.deepcopy(schema)
        newer["fields"].append({"name": "soakField", "type": ["null", "double"], "default": None})
        self._schemas = [fastavro.parse_schema(schema), fastavro.parse_schema(newer)]
        self._heads = [_head(schema), _head(newer)]

    def of_night(self, number: int, count: int, *, newer: bool = False) -> Iterator[bytes]:
        """Containers; ``newer``: by a schema that has a field more."""
        for index in range(count):
            record = dict(self._records[index % _DISTINCT])
            added = (number * 1_000 + index // _DISTINCT) * _ID_STEP
            record["candid"] += added
            record["objectId"] += f"x{index // _DISTINCT}"
            record["candidate"] = {**record["candidate"], "candid": record["candid"], "jd": record["candidate"]["jd"] + number}
            if newer:
                record["soakField"] = 1.5
            written = io.BytesIO()
            fastavro.schemaless_writer(written, self._schemas[newer], record)
            datum = written.getvalue()
            yield self._heads[newer] + _long(1) + _long(len(datum)) + datum + _SYNC

    def ids(self, number: int, count: int) -> list[int]:
        """The alert ids of a night."""
        base = [record["candid"] for record in self._records]
        return [base[index % _DISTINCT] + (number * 1_000 + index // _DISTINCT) * _ID_STEP for index in range(count)]


def _head(schema: object) -> bytes:
    text = json.dumps(schema).encode()
    return b"Obj\x01" + _long(1) + _long(11) + b"avro.schema" + _long(len(text)) + text + _long(0) + _SYNC


def _long(number: int) -> bytes:
    number <<= 1
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


@dataclass
class Ingest:
    """A stream in a process of its own."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    held_mb: list[float] = field(default_factory=list)
    """Memory after each round."""
    reader: threading.Thread | None = None

    @classmethod
    def begin(cls, servers: str, topics: str, place: Path, *others: str) -> Ingest:
        """One that reads topics by a regular expression."""
        source = ["--kafka", servers, "--kafka_topic", topics, "--kafka_group", GROUP, "--warehouse", str(place)]
        command = [sys.executable, "-W", "ignore", "-m", "broker", "ingest", *source, *others]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        made = cls(process)
        made.reader = threading.Thread(target=made._read, daemon=True)
        made.reader.start()
        return made

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith("round"):
                with contextlib.suppress(OSError):  # it has just ended
                    self.held_mb.append(self._memory_mb())

    def wait_for(self, text: str) -> None:
        """Until it has said something."""
        end = time.monotonic() + _WAIT_SECS
        while not any(text in line for line in self.lines):
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"the stream does not say {text!r}: {self.lines[-5:]}")
            time.sleep(0.02)

    def end(self, number: int = signal.SIGTERM) -> None:
        """By a signal; SIGTERM must end it with 0."""
        self.process.send_signal(number)
        status = self.process.wait(60)
        if number == signal.SIGTERM and status:
            raise RuntimeError(f"the stream ended with {status}: {self.lines[-5:]}")
        if self.reader:
            self.reader.join()

    @property
    def cpu_secs(self) -> float:
        """CPU of it until now, threads and all."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _memory_mb(self) -> float:
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(text.partition("VmRSS:")[2].split()[0]) / 1024


def send(servers: str, topic: str, values: Iterator[bytes], rate: float) -> int:
    """Messages to all partitions in turn; gives their number."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "acks": "all", "enable.idempotence": True, "log_level": 2})
    began, number = time.monotonic(), 0
    for value in values:
        while True:
            try:
                producer.produce(topic, value, partition=number % _PARTITIONS)
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
        number += 1
        if number % 50 == 0:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
    producer.flush()
    return number


def read_until(place: Path, topic: str, count: int) -> None:
    """Until so many messages of a topic are rows."""
    end = time.monotonic() + _WAIT_SECS
    while done(place, topic) < count:
        if time.monotonic() > end:
            raise RuntimeError(f"{done(place, topic)} of {count} messages of {topic} were read")
        time.sleep(0.3)


def done(place: Path, topic: str) -> int:
    """How many messages of a topic were read."""
    with warehouses.at(str(place)) as opened:
        if not opened.holds_tables():
            return 0
        sql = (
            "SELECT COALESCE(SUM(n), 0) AS n FROM (SELECT MAX(end_offset) AS n FROM offsets "
            f"WHERE topic = '{topic}' GROUP BY kafka_partition)"
        )
        return int(opened.query(sql).column("n")[0].as_py())


def verdict(place: Path, topic: str, count: int) -> tuple[int, int, int]:
    """Messages of a topic that are neither row nor letter, rows and letters beyond one of each, and letters."""
    with warehouses.at(str(place)) as opened:
        own = f"WHERE source LIKE 'kafka://%/{topic}/%'"
        alerts = opened.query(f"SELECT source FROM ztf_alerts {own}").column("source").to_pylist()
        letters = opened.query(f"SELECT source FROM dead_letters {own}").column("source").to_pylist()
    found = Counter(source.split("/", 3)[3] for source in (*alerts, *letters))
    expected = {f"{topic}/{number % _PARTITIONS}/{number // _PARTITIONS}" for number in range(count)}
    return len(expected - set(found)), sum(found.values()) - len(found), len(letters)


def killed(server: KafkaServer, packets: Packets, folder: Path, count: int, kills: int) -> int:
    """Messages while the stream is killed again and again; gives how many are lost or doubled."""
    topics = TestTopics(server.servers)
    topic, place = topics.make(topics.name(), _PARTITIONS), folder / "killed"
    rate = count / (kills * 3.5)
    sending = threading.Thread(target=send, args=(server.servers, topic, packets.of_night(0, count), rate))
    sending.start()
    chance = random.Random(11)
    for _ in range(kills):
        stream = Ingest.begin(server.servers, topic, place, "--every_secs", "0.5", "--round_mb", "20")
        stream.wait_for("group")
        time.sleep(chance.uniform(0, 2.0))
        stream.end(signal.SIGKILL)
    sending.join()
    stream = Ingest.begin(server.servers, topic, place, "--every_secs", "0.5")
    read_until(place, topic, count)
    stream.end()
    lost, doubled, _ = verdict(place, topic, count)
    print(f"\n{count:,} messages, {kills} SIGKILLs at random moments: {lost} lost, {doubled} doubled.\n", flush=True)
    return lost + doubled


@dataclass(frozen=True)
class NightRow:
    """What a night took."""

    number: int
    what: str
    rounds: int
    cpu_ms: float | None
    """A message; None where it is of two processes."""
    memory_mb: float
    """After a round, the median."""
    lost: int
    doubled: int

    def line(self) -> str:
        cells = (
            self.number + 1,
            self.what,
            self.rounds,
            "" if self.cpu_ms is None else f"{self.cpu_ms:.2f}",
            f"{self.memory_mb:.0f}",
            self.lost,
            self.doubled,
        )
        return "| " + " | ".join(map(str, cells)) + " |"


@dataclass
class Week:
    """Nights of a stream, each a topic of its own."""

    server: KafkaServer
    packets: Packets
    place: Path
    room: Path
    count: int
    stream: Ingest | None = None

    def night(self, number: int) -> NightRow:
        """One of them, with what happens in it."""
        what = _EVENTS.get(number, "")
        name = f"ztf_{FIRST_NIGHT + timedelta(number):%Y%m%d}_programid1"
        kept = {"retention.bytes": str(2 * 10**9 // _PARTITIONS)}
        topic = TestTopics(self.server.servers).make(name, _PARTITIONS, **kept)
        self._begin(number)
        assert self.stream is not None
        first = self.stream
        began = first.cpu_secs
        values = self.packets.of_night(number, self.count, newer=what == "a schema with a field more")
        sending = threading.Thread(target=send, args=(self.server.servers, topic, values, _RATE))
        sending.start()
        time.sleep(self.count / _RATE / 2)
        self._happens(what, number)
        sending.join()
        read_until(self.place, topic, self.count)
        same = self.stream is first
        cpu_ms = (self.stream.cpu_secs - (began if same else 0.0)) / self.count * 1e3
        rounds = sum(line.startswith("round") for line in self.stream.lines)
        lost, doubled, _ = verdict(self.place, topic, self.count)
        memory_mb = statistics.median(self.stream.held_mb)
        self.stream.end()
        return NightRow(number, what or "nothing", rounds, cpu_ms if same else None, memory_mb, lost, doubled)

    def _begin(self, number: int) -> None:
        cutouts = () if number in _WITH_CUTOUTS else ("--no_cutouts",)
        self.stream = Ingest.begin(self.server.servers, r"ztf_\d+_programid1", self.place, "--every_secs", "1", *cutouts)
        self.stream.wait_for("group")

    def _happens(self, what: str, number: int) -> None:
        assert self.stream is not None
        if what == "a restart":
            self.stream.end()
            self._begin(number)
        elif what == "SIGKILL":
            self.stream.end(signal.SIGKILL)
            self._begin(number)
        elif what == "Kafka killed and begun again":
            self.server.kill()
            time.sleep(3)
            self.server.start()
        elif what == "a full disk":
            subprocess.run(["mount", "-o", f"remount,size={self._used_mb() + 1}m", str(self.room)], check=True)
            time.sleep(8)
            subprocess.run(["mount", "-o", f"remount,size={_ROOM_MB}m", str(self.room)], check=True)

    def _used_mb(self) -> int:
        about = os.statvfs(self.room)
        return (about.f_blocks - about.f_bfree) * about.f_frsize // 2**20


_EVENTS = {1: "a restart", 2: "SIGKILL", 3: "Kafka killed and begun again", 4: "a full disk", 5: "a schema with a field more"}
"""By night. The first and the last are without any, so that they can be compared."""


def files_of_nights(place: Path) -> Counter[str]:
    """How many files each night of ``ztf_alerts`` is in."""
    return Counter(file.parent.name for file in (place / "ztf_alerts").rglob("*.parquet"))


def week(server: KafkaServer, packets: Packets, room: Path, nights: int, count: int) -> int:
    """Nights one after another; gives how many messages are lost or doubled, and faults of the audit."""
    place = room / "week"
    run = Week(server, packets, place, room, count)
    print(f"{nights} nights of {count:,} messages, {_RATE:g} a second, `--every_secs 1`:\n")
    print(
        "| night | what happened | rounds | CPU ms a message | memory MB | lost | doubled |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    rows = []
    for number in range(nights):
        rows.append(run.night(number))
        print(rows[-1].line(), flush=True)
    first, last = rows[0], rows[-1]
    ids = [one for number in range(nights) for one in packets.ids(number, count)]
    pq.write_table(pa.table({"alert_id": ids}), room / "ids.parquet")
    between = f"{FIRST_NIGHT}..{FIRST_NIGHT + timedelta(nights)}"
    status = cli.main(["audit", "--ids", str(room / "ids.parquet"), "--night", between, "--warehouse", str(place)])
    files = files_of_nights(place)
    cpu, memory = (last.cpu_ms or 0.0) / (first.cpu_ms or 1.0), last.memory_mb / first.memory_mb
    print(f"\nThe last night over the first: CPU {cpu:.2f}, memory {memory:.2f}.")
    print(f"Files of `ztf_alerts`, at most of a night: {max(files.values())}. `broker audit` ends with {status}.\n", flush=True)
    return sum(row.lost + row.doubled for row in rows) + status


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of its own, which can be full. Raises ``OSError`` where nothing can be mounted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_ROOM_MB}m", "broker-soak", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OSError(f"nothing can be mounted here (it takes root): {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], capture_output=True, check=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run both; gives the exit status."""
    parser = argparse.ArgumentParser(description="A stream for long, and what happens to it.")
    parser.add_argument("--messages", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--nights", type=int, default=7)
    parser.add_argument("--alerts", type=int, default=100_000, help="of a night")
    given = parser.parse_args(argv)
    if why := missing():
        print(why, file=sys.stderr)
        return 1
    packets = Packets()
    settings = {"log.retention.check.interval.ms": "5000", "log.segment.bytes": str(64 * 2**20)}
    settings["log.segment.delete.delay.ms"] = "1000"
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, KafkaServer(Path(folder, "kafka"), settings) as server:
        if given.messages:
            wrong += killed(server, packets, Path(folder), given.messages, given.kills)
        if given.nights:
            with small_disk(Path(folder, "room")) as room:
                wrong += week(server, packets, room, given.nights, given.alerts)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
