"""Streams of Kafka in rounds: every message a row or a letter, once, whoever is killed, whatever appears later."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from alerts.avro.packets import open_packets
from alerts.avro.wire_schemas import WireSchemas
from pipelines import kafka_source
from pipelines.ingest import run
from pipelines.kafka_source import KafkaStream
from pipelines.options import parse
from tests.kafka.topics import TestTopics
from warehouses import at
from warehouses.offsets import done

ROOT = Path(__file__).parents[2]


def words(kafka: TestTopics, place: str, topic: str, *others: str, group: str = "g") -> list[str]:
    source = ["--kafka", kafka.servers, "--kafka_topic", topic, "--kafka_group", group]
    return [*source, "--warehouse", place, "--every_secs", "0.2", *others]


def sources(place: str) -> Counter[str]:
    with at(place) as opened:
        rows = (
            opened.query("SELECT source FROM ztf_alerts UNION ALL SELECT source FROM dead_letters").column("source").to_pylist()
        )
    return Counter(rows)


def expected(kafka: TestTopics, topic: str, numbers: range, partitions: int = 4) -> Counter[str]:
    cluster = json.loads(json.dumps("pittbroker0000000000000w"))
    return Counter(f"kafka://{cluster}/{topic}/{number % partitions}/{number // partitions}" for number in numbers)


def test_every_message_is_a_row_or_a_letter_once(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, place = kafka.make(kafka.name()), str(tmp_path / "w")
    poison = [b"no alert", None, packets[0][:100]]
    kafka.send(topic, [*packets, *poison], keys=[b"k"], headers=[("h", b"1")])
    assert run(words(kafka, place, topic, "--once")) == 0
    assert "round 1: 63 messages, 60 alerts, 3 dead letters" in capsys.readouterr().out
    assert sources(place) == expected(kafka, topic, range(63))
    with at(place) as opened:
        assert sorted(done(opened, "pittbroker0000000000000w", "g").items())[1:] == [
            ((topic, partition), 16 if partition < 3 else 15) for partition in range(4)
        ]
        letters = opened.query("SELECT payload, attributes FROM dead_letters ORDER BY source").to_pylist()
        published = opened.query("SELECT COUNT(published_at) AS n, COUNT(DISTINCT run_id) AS runs FROM ztf_alerts").to_pylist()
        account = opened.query("SELECT records_read, alerts_written, dead_letters, status FROM runs").to_pylist()
    assert {letter["payload"] for letter in letters} == {b"no alert", None, packets[0][:100]}
    assert all(json.loads(letter["attributes"])["key"] == "k" for letter in letters)
    assert all(json.loads(letter["attributes"])["h"] == "1" for letter in letters)
    assert published == [{"n": 60, "runs": 1}]
    assert account == [{"records_read": 63, "alerts_written": 60, "dead_letters": 3, "status": "done"}]
    # Nothing new: nothing is written, and the group goes on where it was, for others to see, too.
    assert run(words(kafka, place, topic, "--once")) == 0
    assert "round 1" not in capsys.readouterr().out
    kafka.send(topic, packets[:4])
    assert run(words(kafka, place, topic, "--once")) == 0
    assert "round 1: 4 messages, 4 alerts" in capsys.readouterr().out
    assert kafka.committed("g", topic) == [17, 17, 17, 16]


def test_a_backlog_is_read_in_rounds_of_a_size(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, place = kafka.make(kafka.name()), str(tmp_path / "w")
    kafka.send(topic, packets)
    assert run(words(kafka, place, topic, "--once", "--round_mb", "2")) == 0
    out = capsys.readouterr().out
    assert "round 1: 20 messages, 20 alerts, 0 dead letters" in out
    assert ", 40 behind" in out
    assert out.splitlines()[-1].endswith(" 0 behind")
    assert sources(place) == expected(kafka, topic, range(60))


def test_bare_datums_whose_key_is_their_schema_and_those_of_a_given_one(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = [next(open_packets(packet, "s", WireSchemas())) for packet in packets[:12]]
    schema, datums = opened[0].schema.text, [bytes(packet.datum) for packet in opened]
    (tmp_path / "given.avsc").write_bytes(schema)
    digests = []
    for number, (keys, flags) in enumerate([([schema], []), (None, ["--kafka_schema", str(tmp_path / "given.avsc")])]):
        topic, place = kafka.make(kafka.name()), str(tmp_path / f"w{number}")
        kafka.send(topic, [*datums, datums[0][:3_000]], keys=keys)
        assert run(words(kafka, place, topic, "--once", *flags)) == 0
        assert "round 1: 13 messages, 12 alerts, 1 dead letters" in capsys.readouterr().out
        with at(place) as there:
            digests.append(sorted(there.query("SELECT packet_digest FROM ztf_alerts").column("packet_digest").to_pylist()))
            (letter,) = there.query("SELECT stage, payload FROM dead_letters").to_pylist()
        assert letter["stage"] == "decode"
        # It has its schema with it.
        (again,) = open_packets(letter["payload"], "s", WireSchemas())
        assert bytes(again.datum) == datums[0][:3_000]
    topic, place = kafka.make(kafka.name()), str(tmp_path / "w")
    kafka.send(topic, packets[:12])
    assert run(words(kafka, place, topic, "--once")) == 0
    with at(place) as there:
        assert digests == 2 * [sorted(there.query("SELECT packet_digest FROM ztf_alerts").column("packet_digest").to_pylist())]


def test_a_topic_that_appears_is_read_from_its_beginning_by_a_stream_that_runs(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path
) -> None:
    """A thousand messages are there before the stream looks again, though it began at the latest."""
    begin, place = kafka.name("nights"), str(tmp_path / "w")
    old = kafka.make(f"{begin}_1")
    kafka.send(old, packets[:20])
    process = start(kafka, place, f"{begin}_.*", "--kafka_from", "latest", "--every_secs", "4")
    try:
        assert process.stdout is not None
        assert "begins at the latest" in process.stdout.readline()
        new = kafka.make(f"{begin}_2")
        kafka.send(new, (packets * 17)[:1_000])
        seen = 0
        while seen < 1_000:
            line = process.stdout.readline()
            assert line
            seen += int(line.partition(": ")[2].partition(" messages")[0].replace(",", ""))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, err
    assert sources(place) == expected(kafka, new, range(1_000))


def start(kafka: TestTopics, place: str, topic: str, *others: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-m", "broker", "ingest", *words(kafka, place, topic, *others)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_killed_again_and_again_nothing_is_lost_or_doubled(kafka: TestTopics, packets: list[bytes], tmp_path: Path) -> None:
    topic, place = kafka.make(kafka.name()), str(tmp_path / "w")
    sent = threading.Thread(target=kafka.send, args=(topic, packets * 10), kwargs={"rate": 100.0})
    sent.start()
    rng = random.Random(5)
    for _ in range(3):
        process = start(kafka, place, topic)
        assert process.stdout is not None
        # When it has said where it begins, at some moment of its rounds.
        process.stdout.readline()
        time.sleep(rng.uniform(0.2, 1.2))
        process.kill()
        process.communicate()
    sent.join()
    process = start(kafka, place, topic, "--once")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert sources(place) == expected(kafka, topic, range(600))
    with at(place) as opened:
        read = opened.query("SELECT SUM(end_offset - first_offset) AS n FROM offsets WHERE kafka_partition >= 0").to_pylist()
    assert read == [{"n": 600}]


def test_sigterm_ends_after_the_round_with_0_and_another_may_not_read_in_the_group(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, place = kafka.make(kafka.name()), str(tmp_path / "w")
    kafka.send(topic, packets[:8])
    process = start(kafka, place, topic)
    assert process.stdout is not None
    assert (
        process.stdout.readline()
        == f"group g is new to {place} and begins at the earliest, in 4 partitions, 0 of them by its offsets in Kafka\n"
    )
    assert "round 1: 8 messages" in process.stdout.readline()
    assert run(words(kafka, place, topic, "--once")) == 2
    assert "--kafka_group g" in capsys.readouterr().err
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err


def test_topics_that_appear_are_read_from_their_beginning_and_latest_holds_for_what_was_there(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path
) -> None:
    begin, place = kafka.name("nights"), str(tmp_path / "w")
    old = kafka.make(f"{begin}_1")
    kafka.send(old, packets[:20])
    flags = words(kafka, place, f"{begin}_.*", "--once", "--kafka_from", "latest")
    assert run(flags) == 0
    new = kafka.make(f"{begin}_2")
    kafka.send(new, packets[:40])
    kafka.send(old, packets[20:24])
    assert run(flags) == 0
    kafka.widen(old, 5)
    kafka.send(old, packets[:5], partitions=5)
    assert run(flags) == 0
    found = sources(place)
    assert found.total() == 40 + 4 + 5
    assert sum(source.startswith(f"kafka://pittbroker0000000000000w/{new}/") for source in found) == 40
    assert set(found.values()) == {1}


def test_a_group_that_saw_no_topic_yet_reads_the_first_from_its_beginning(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path
) -> None:
    """Also with ``latest``, and when it was started anew in between: what appears later is read whole."""
    begin, place = kafka.name("later"), str(tmp_path / "w")
    flags = words(kafka, place, f"{begin}_[0-9]+", "--once", "--kafka_from", "latest")
    assert run(flags) == 0
    topic = kafka.make(f"{begin}_1")
    kafka.send(topic, packets[:12])
    assert run(flags) == 0
    assert sources(place) == expected(kafka, topic, range(12))


def test_a_group_begins_where_it_is_told_and_the_warehouse_knows_better_afterwards(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = kafka.make(kafka.name(), 1)
    kafka.send(topic, packets[:10], partitions=1)
    time.sleep(0.01)
    middle = time.time()
    time.sleep(0.01)
    kafka.send(topic, packets[10:16], partitions=1)
    moment = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(middle))}.{round(middle % 1 * 1000):03d}Z"
    kafka.commit("known", topic, 13)
    for number, (group, begin, first) in enumerate(
        [("new", "group", 0), ("known", "group", 13), ("known", "earliest", 0), ("new", "latest", 16), ("new", moment, 10)]
    ):
        place = str(tmp_path / f"w{number}")
        for _ in range(2):
            assert run(words(kafka, place, topic, "--once", "--kafka_from", begin, group=group)) == 0
        with at(place) as opened:
            counted = opened.query("SELECT COUNT(*) AS n, COUNT(DISTINCT source) AS d FROM ztf_alerts").to_pylist()
        assert counted == [{"n": 16 - first, "d": 16 - first}], (group, begin)
        kafka.commit("known", topic, 13)
    capsys.readouterr()


def test_a_topic_that_is_taken_away_under_a_round_is_a_letter_and_the_stream_goes_on(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream was killed in a round, and begun again when that night's topic was gone."""
    first, place = kafka.make(kafka.name("gone-1")), str(tmp_path / "w")
    pattern = first.replace("gone-1", "gone-.")
    kafka.send(first, packets[:8])
    options = parse(words(kafka, place, pattern))
    with KafkaStream.from_options(options) as stream, at(place) as opened:
        opened.prepare(["ztf"])
        stream.begin(opened)
        # It is planned, and nothing more.
        assert stream.next(opened, 1e9) is not None
    second = kafka.make(first.replace("gone-1", "gone-2"))
    kafka.send(second, packets[:8])
    kafka.delete(first)
    monkeypatch.setattr(kafka_source, "_GONE_SECS", 0.5)
    assert run(words(kafka, place, pattern, "--once")) == 0
    cluster = "kafka://pittbroker0000000000000w"
    assert sources(place) == Counter(
        [*(f"{cluster}/{first}/{number}/0..1" for number in range(4)), *expected(kafka, second, range(8))]
    )


def test_a_group_whose_old_topics_are_gone_is_told_to_kafka_again(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A topic a night, which is taken away after a week: the others' offsets must not be forgotten with it."""
    begin, place = kafka.name("night"), str(tmp_path / "w")
    old, new = (kafka.make(f"{begin}-{number}", 1) for number in (1, 2))
    for topic in (old, new):
        kafka.send(topic, packets[:2], partitions=1)
    assert run(words(kafka, place, f"{begin}-.*", "--once", group=begin)) == 0
    kafka.delete(old)
    # Kafka has forgotten what it was told.
    kafka.commit(begin, new, 0)
    capsys.readouterr()
    assert run(words(kafka, place, f"{begin}-.*", "--once", group=begin)) == 0
    assert kafka.committed(begin, new, 1) == [2]
    assert "do not follow" not in capsys.readouterr().err


def test_what_retention_took_is_a_letter_and_the_account_balances(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic, place = kafka.make(kafka.name(), 1), str(tmp_path / "w")
    kafka.send(topic, packets[:5], partitions=1)
    assert run(words(kafka, place, topic, "--once")) == 0
    kafka.send(topic, packets[5:20], partitions=1)
    kafka.delete_before(topic, 0, 9)
    assert run(words(kafka, place, topic, "--once")) == 0
    with at(place) as opened:
        letters = opened.query("SELECT message, source, attributes FROM dead_letters").to_pylist()
    assert len(letters) == 1
    assert letters[0]["source"].endswith(f"/{topic}/0/5..8")
    assert "has deleted offsets 5 to 8" in letters[0]["message"]
    assert json.loads(letters[0]["attributes"])["records_lost"] == 4
    assert sum(sources(place).values()) == 5 + 1 + 11


@pytest.mark.parametrize(("count", "told"), [(4, "/0 ends at offset 4, before 12"), (16, " was made anew since group g read it")])
def test_a_topic_that_was_made_anew_stops_the_stream_before_anything_is_left_out(
    kafka: TestTopics, packets: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, told: str
) -> None:
    """Its offsets begin at 0 again: to go on at the old one would leave out what stands before it, however many came since."""
    topic, place = kafka.make(kafka.name(), 1), str(tmp_path / "w")
    kafka.send(topic, packets[:12], partitions=1)
    assert run(words(kafka, place, topic, "--once")) == 0
    kafka.delete(topic)
    kafka.make_again(topic)
    kafka.send(topic, packets[12 : 12 + count], partitions=1)
    for _ in range(2):
        assert run(words(kafka, place, topic, "--once")) == 1
        assert f"{topic}{told}" in capsys.readouterr().err
    assert run(words(kafka, place, topic, "--once", group="another")) == 0
    with at(place) as opened:
        assert opened.query("SELECT COUNT(DISTINCT alert_id) AS n FROM ztf_alerts").to_pylist() == [{"n": 12 + count}]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--kafka_topic", "alerts", "--input", "x.avro"), "--input and --kafka are given; a run reads from one of them"),
        (("--kafka_topic", "no-such-topic-at-all"), "Kafka has no such topic"),
        (("--kafka_topic", "("), "is no regular expression"),
        (("--kafka_schema", "/nowhere.avsc"), "--kafka_schema /nowhere.avsc: "),
        (("--kafka_schema", __file__), f"--kafka_schema {__file__}: the schema is not valid Avro"),
        (("--kafka_from", "monday"), "--kafka_from monday is none of"),
        (("--kafka_from", "2026-11-29T03:00:00"), "does not say its time zone"),
        (("--every_secs", "0"), "--every_secs is 0"),
        (("--runner", "DataflowRunner", "--project", "p", "--temp_location", "gs://b/t"), "which Dataflow's workers do not see"),
        (("--kafka_group", ""), "--kafka_group is missing"),
        (("--kafka", "127.0.0.1:1"), "Kafka at 127.0.0.1:1 does not answer"),
        (("--warehouse", "bigquery://project/dataset", "--every_secs", "5"), "takes a round every 30 s at most"),
        (("--warehouse", "bigquery://project/dataset", "--write_method", "streaming_inserts"), "is not for a stream in rounds"),
    ],
)
def test_what_is_refused_before_anything_starts(
    kafka: TestTopics, tmp_path: Path, flags: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words(kafka, str(tmp_path / "w"), "__consumer_offsets", "--once"), *flags]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "w").exists()
