"""Pub/Sub as it may be: every message three times, in any order, and poison among them."""

from __future__ import annotations

import io
import json
import random
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from broker import warehouse
from pipelines.messages import messages
from tests.cloud.streams import Topic, run_until
from tests.emulators.cloud import Cloud
from tests.faults.nights import Night
from tests.faults.runs import audit

pytestmark = pytest.mark.faults

TIMES = 3


def poison() -> list[bytes]:
    """What kills a consumer that believes what it reads."""
    schema = '"long"'
    for _ in range(5_000):
        schema = f'{{"type": "array", "items": {schema}}}'
    recursive = json.dumps({"type": "record", "name": "a", "fields": [{"name": "next", "type": "a"}]})
    chance = random.Random(4)
    return [
        b"\0",
        b"\0" * 1_000,
        b"\xff" * 1_000,
        chance.randbytes(50_000),
        b"Obj\x01",
        b"Obj\x01" + b"\xff" * 100,
        _container(schema, b"\0"),
        _container(recursive, b"\0"),
        _container('{"type": "record", "name": "alert", "fields": [{"name": "candid", "type": "bytes"}]}', _long(2**60)),
        b"\0" + struct.pack(">I", 2**32 - 1) + b"\x02" * 100,
        zlib.compress(b"\0" * 10_000_000, wbits=31),
        b"{" * 100_000,
    ]


def _container(schema: str, datum: bytes) -> bytes:
    """An Avro container of one record."""
    text, sync = schema.encode(), bytes(16)
    header = b"Obj\x01" + _long(1) + _long(11) + b"avro.schema" + _long(len(text)) + text + _long(0) + sync
    return header + _long(1) + _long(len(datum)) + datum + sync


def _long(number: int) -> bytes:
    """Avro's variable-length integer, zigzag."""
    number <<= 1
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def test_every_message_three_times_in_any_order(pubsub: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Into a folder. BigQuery's emulator and the local runner take some 20 a second: ``tests/cloud`` sends it fewer."""
    packets = [*messages([str(light.archive)]), *poison()]
    truth = packed(packets, tmp_path / "sent.tar")
    sent = packets * TIMES
    random.Random(5).shuffle(sent)
    place = str(tmp_path / "warehouse")
    topic = Topic(pubsub.project)
    topic.publish(sent)
    flags = ["--warehouse", place, "--survey", "ztf", "--no_cutouts", "--no_history", "--load_every_secs", "5"]
    run_until(topic, [flags], lambda: all_there(place, len(sent)), timeout_secs=900, poll_secs=3)
    verdict = audit("--input", truth, "--warehouse", place, "--no_cutouts")
    again = verdict.information["rows_from_elsewhere"]
    tell(
        f"Pub/Sub: every message {TIMES} times, shuffled, {len(poison())} kinds of poison; folder",
        len(sent),
        verdict,
        f"{again:,} rows in the table, each alert once in the view",
    )
    verdict.must_be_whole()


def packed(packets: list[bytes], place: Path) -> Path:
    """What was published, for an audit: heartbeats of the topic are no part of it."""
    with tarfile.open(place, "w") as archive:
        for number, packet in enumerate(packets):
            member = tarfile.TarInfo(f"{number:05d}.avro")
            member.size = len(packet)
            archive.addfile(member, io.BytesIO(packet))
    return place


def all_there(place: str, records: int) -> bool:
    """Whether so many records are rows or letters; a heartbeat of the topic is none."""
    letters = "SELECT COUNT(*) FROM dead_letters WHERE message NOT LIKE '%heartbeat%'"
    try:
        with warehouse.open(place) as opened:
            found = opened.query(f"SELECT (SELECT COUNT(*) FROM ztf_alerts) + ({letters}) AS n")
            return int(found.column("n")[0].as_py()) >= records
    except warehouse.QueryError:
        return False
