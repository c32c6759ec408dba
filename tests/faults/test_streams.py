"""Pub/Sub as it may be: every message three times, in any order, and poison among them."""

from __future__ import annotations

import io
import itertools
import json
import random
import struct
import tarfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker import warehouse
from pipelines.messages import messages
from tests.cloud.streams import Topic
from tests.emulators.cloud import Cloud
from tests.faults.nights import Night
from tests.faults.runs import Run, Verdict, audit

pytestmark = pytest.mark.faults

TIMES, KILLS = 3, 10


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


def stream(pubsub: Cloud, subscription: str, place: str, log: Path) -> Run:
    words = ("--subscription", subscription, "--warehouse", place, "--no_cutouts", "--no_history", "--survey", "ztf")
    rounds = ("--every_secs", "0.5", "--round_mb", "8")
    return Run(log, "ingest", *words, *rounds, child=("--cloud",), environment=pubsub.variables)


@pytest.mark.timeout(900)
def test_every_message_three_times_in_any_order(pubsub: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    packets = [*messages([str(light.archive)]), *poison()]
    sent = packets * TIMES
    random.Random(5).shuffle(sent)
    place, topic = str(tmp_path / "warehouse"), Topic(pubsub.project)
    topic.publish(sent)
    run = stream(pubsub, topic.subscriptions[0], place, tmp_path / "log")
    finished(run, place, len(sent))
    verdict = audit("--input", packed(packets, tmp_path / "sent.tar"), "--warehouse", place, "--no_cutouts")
    again = verdict.information["rows_from_elsewhere"]
    tell(
        f"Pub/Sub in rounds into a folder: every message {TIMES} times, shuffled, {len(poison())} kinds of poison",
        len(sent),
        verdict,
        f"{again:,} rows in the table, each alert once in the view",
    )
    verdict.must_be_whole()


@pytest.mark.timeout(900)
def test_streams_of_messages_are_killed(pubsub: Cloud, light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Ten, each once, some at a time.

    The emulator gives messages to streams that are dead, too, and again when the lease is over: one that was killed ten times
    would wait for hours.
    """
    packets = [*itertools.islice(messages([str(light.archive)]), 520), *poison()]
    truth = packed(packets, tmp_path / "sent.tar")
    topic, chance = Topic(pubsub.project, KILLS), random.Random(5)
    topic.publish(packets)

    def struck(number: int, secs: float) -> tuple[bool, Path]:
        place, log = tmp_path / str(number), tmp_path / f"{number}.log"
        run = stream(pubsub, topic.subscriptions[number], str(place), log)
        run.wait_for(lambda: "is read" in run.said)
        time.sleep(secs)
        lived = run.kill()
        finished(stream(pubsub, topic.subscriptions[number], str(place), log), str(place), len(packets))
        return lived, place

    with ThreadPoolExecutor(5) as pool:
        done = [pool.submit(struck, number, chance.uniform(0, 2)) for number in range(KILLS)]
        found = [each.result() for each in done]
    verdicts = [audit("--input", truth, "--warehouse", place, "--no_cutouts") for _, place in found]
    copies = sum(rows_beyond_the_view(place) for _, place in found)
    faults = sum((Counter(verdict.faults) for verdict in verdicts), Counter())
    whole = Verdict(max(verdict.status for verdict in verdicts), KILLS * len(packets), dict(faults), Counter())
    lived = sum(lived for lived, _ in found)
    tell(
        "Pub/Sub in rounds into a folder: SIGKILL at random moments",
        lived,
        whole,
        f"{copies} rows are copies, in the table alone",
    )
    whole.must_be_whole()


def rows_beyond_the_view(place: Path) -> int:
    with warehouse.open(str(place)) as opened:
        sql = "SELECT (SELECT COUNT(*) FROM ztf_alerts) - (SELECT COUNT(*) FROM ztf_alerts_unique) AS n"
        return int(opened.query(sql).column("n")[0].as_py())


def finished(run: Run, place: str, records: int) -> None:
    """Wait until everything is there, and end the stream."""
    assert run.wait_for(lambda: "is read" in run.said and all_there(place, records)), run.said
    run.process.terminate()
    assert run.end() == 0, run.said


@pytest.mark.timeout(600)
def test_a_folder_that_fills(light: Night, tmp_path: Path, tell: Callable[..., None]) -> None:
    """Files of one packet come while whoever watches is killed at random moments."""
    folder, place = tmp_path / "in", str(tmp_path / "warehouse")
    folder.mkdir()
    with tarfile.open(light.archive) as archive:
        packets = [archive.extractfile(member).read() for member in archive if member.isfile()]

    def fill() -> None:
        for number, packet in enumerate(packets):
            (folder / f".{number:05d}").write_bytes(packet)
            (folder / f".{number:05d}").rename(folder / f"{number:05d}.avro")
            time.sleep(0.004)

    def begin(*others: str) -> Run:
        return Run(tmp_path / "log", "ingest", "--watch", folder, "--warehouse", place, "--every_secs", "0.5", *others)

    filling = threading.Thread(target=fill)
    filling.start()
    chance, lived = random.Random(7), 0
    for _ in range(KILLS):
        run = begin()
        run.wait_for(lambda run=run: "is watched" in run.said)
        time.sleep(chance.uniform(0, 4))
        lived += run.kill()
    filling.join()
    last = begin("--once")
    assert last.end() == 0, last.said
    verdict = audit("--input", light.archive, "--warehouse", place)
    with warehouse.open(place) as opened:
        sql = "SELECT source FROM ztf_alerts UNION ALL SELECT source FROM dead_letters"
        found = Counter(opened.query(sql).column("source").to_pylist())
    assert found == Counter(str(folder / f"{number:05d}.avro") for number in range(len(packets)))
    tell("A folder that fills, watched in rounds: SIGKILL at random moments", lived, verdict, "no file was read twice")
    verdict.must_be_whole()


def packed(packets: list[bytes], place: Path) -> Path:
    """What was published, for an audit."""
    with tarfile.open(place, "w") as archive:
        for number, packet in enumerate(packets):
            member = tarfile.TarInfo(f"{number:05d}.avro")
            member.size = len(packet)
            archive.addfile(member, io.BytesIO(packet))
    return place


def all_there(place: str, records: int) -> bool:
    """Whether at least so many records are rows or letters."""
    time.sleep(0.5)
    letters = "SELECT COUNT(*) FROM dead_letters"
    try:
        with warehouse.open(place) as opened:
            found = opened.query(f"SELECT (SELECT COUNT(*) FROM ztf_alerts) + ({letters}) AS n")
            return int(found.column("n")[0].as_py()) >= records
    except warehouse.QueryError:
        return False
