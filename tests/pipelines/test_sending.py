"""An outbox that is emptied: in order, few messages in memory, and nobody asks again and again for what is not there."""

from __future__ import annotations

import base64
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import warehouses
from alerts.dead_letters import dead_letter_rows
from broker import cli
from pipelines import open_messages, sending
from pipelines.open_messages import WrittenBetween
from pipelines.sender import Sender
from pipelines.sending import Reach, open_addresses, send_open, send_refused
from schemas.outbox import OUTBOX
from schemas.run_ids import new_run_id
from schemas.table import Table
from schemas.tables import DEAD_LETTERS
from streams.addresses import parse_address
from streams.delivering import PUBLISH, Delivered, closing_rows, refused_letters, rows_of
from streams.errors import MessageRefused
from streams.manifests import manifest_address
from streams.open_writers import OpenWriters
from streams.writers import Writer
from transforms.read_letters import SavedLetter
from warehouses.folder.warehouse import FolderWarehouse

AT = datetime(2026, 11, 29, 5, tzinfo=UTC)


def run_id() -> str:
    return new_run_id(datetime.now(UTC))


def hit(topic: str, number: int, *, key: str = "dia:7", observed_secs: float = 0, written_secs: float = 0, size: int = 9) -> dict:
    name = f"{number:032x}"
    headers = {"id": name, "observed_at": (AT + timedelta(seconds=observed_secs)).isoformat(timespec="microseconds")}
    row: dict[str, Any] = {"id": name, "topic": topic, "key": key, "headers": json.dumps(headers), "payload": b"x" * size}
    return {**row, "written_at": AT + timedelta(seconds=written_secs)}


def add(uri: str, *rows: dict) -> None:
    own = run_id()
    with warehouses.at(uri) as place, place.claim(own, {"rows"}):
        place.add(OUTBOX, pa.RecordBatch.from_pylist([{**row, "run_id": own} for row in rows], schema=OUTBOX.arrow_schema), own)


def send(uri: str, *topics: str) -> dict[str, int]:
    return dict(send_open(uri, {topic: parse_address(topic, "test") for topic in topics}, run_id()).sent)


def ids(place: Path) -> list[str]:
    """In the order in which they were sent."""
    found = [dict(json.loads(file.read_text())["headers"])["id"] for file in sorted(place.glob("*.json"))]
    return [base64.b64decode(name).decode() for name in found]


def test_hits_of_one_object_that_are_written_at_once_are_sent_as_they_were_observed(tmp_path: Path) -> None:
    topic = f"folder:{tmp_path}/hits"
    rows = [hit(topic, number, observed_secs=100 - number) for number in range(40)]
    add(f"{tmp_path}/w", *rows, *(hit(topic, 100 + number, written_secs=-5) for number in range(3)))
    assert send(f"{tmp_path}/w", topic) == {topic: 43}
    assert [int(name, 16) for name in ids(tmp_path / "hits")] == [100, 101, 102, *range(39, -1, -1)]


def test_each_is_sent_once_however_often_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_messages, "_FIRST_ROWS", 4)
    monkeypatch.setattr(open_messages, "_MOST_ROWS", 4)
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    # Copies in one batch, and in others; one object's of one time beyond the end of what is asked for at once.
    add(uri, *(hit(topic, number % 10) for number in range(20)))
    add(uri, *(hit(topic, number, key=f"dia:{number}", written_secs=number) for number in range(5, 30)))
    assert send(uri, topic) == {topic: 30}
    assert sorted(int(name, 16) for name in ids(tmp_path / "hits")) == [*range(30)]
    # What was sent is not sent again for having come again.
    add(uri, *(hit(topic, number, written_secs=1000) for number in range(25, 35)))
    assert send(uri, topic) == {topic: 5}
    assert sorted(int(name, 16) for name in ids(tmp_path / "hits")) == [*range(35)]


def test_few_bytes_are_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_messages, "_BYTES", 50_000)
    monkeypatch.setattr(open_messages, "_FIRST_ROWS", 5)
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    add(uri, *(hit(topic, number, key=f"dia:{number}", written_secs=number // 10, size=10_000) for number in range(90)))
    with warehouses.at(uri) as place:
        parts = [[len(row["payload"]) for row in rows] for rows in open_messages.open_messages(place, topic)]
    assert sum(map(len, parts)) == 90
    assert max(map(sum, parts)) <= 60_000


def test_hundreds_of_addresses_with_nothing_open_cost_one_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri, topics = f"{tmp_path}/w", [f"folder:{tmp_path}/{number}" for number in range(200)]
    add(uri, hit(topics[7], 1))
    asked = []
    ask = FolderWarehouse.ask

    def counted(self: FolderWarehouse, sql: str, *words: Any) -> Any:
        asked.append(sql)
        return ask(self, sql, *words)

    monkeypatch.setattr(FolderWarehouse, "ask", counted)
    assert send(uri, *topics) == {topics[7]: 1}
    first, asked[:] = len(asked), []
    assert send(uri, *topics) == {}
    assert (first < 10, len(asked)) == (True, 1)


def test_nothing_is_closed_before_a_manifest_tells_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BigQuery takes rows in several requests, and whoever writes them may die between two."""
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    add(uri, *(hit(topic, number) for number in range(5)))
    added = list[dict[str, Any]]()
    whole = FolderWarehouse.add

    def noted(self: FolderWarehouse, table: Table, rows: pa.RecordBatch, own: str) -> None:
        added.extend(rows.to_pylist())
        whole(self, table, rows, own)

    monkeypatch.setattr(FolderWarehouse, "add", noted)
    assert send(uri, topic) == {topic: 5}
    (first,) = [number for number, row in enumerate(added) if row["topic"] == f"{topic}/_manifest" and row["payload"]]
    assert first < min(number for number, row in enumerate(added) if row["topic"] == topic)


def test_who_sends_by_hand_says_what_is_not_in_the_table(tmp_path: Path) -> None:
    uri = f"{tmp_path}/w"
    topics = [f"folder:{tmp_path}/x", "kafka:host:1/x", "pubsub:projects/my-project/topics/hits"]
    add(uri, *(hit(topic, 1) for topic in topics), hit("pubsub:projects/my-project/topics/hits-manifest", 2))
    with warehouses.at(uri) as place:
        found = open_addresses(place, "kafka.conf", ordered=True)
    assert {text: (address.config, address.ordered) for text, address in found.items()} == {
        topics[0]: (None, False),
        topics[1]: ("kafka.conf", False),
        topics[2]: (None, True),
    }


def test_what_was_refused_and_is_sent_is_told_in_a_manifest(tmp_path: Path) -> None:
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    row = hit(topic, 1)
    add(uri, {**{name: row[name] for name in ("id", "topic", "key", "written_at")}, "error": "too large"})
    about = {"outbox_id": row["id"], "topic": topic, "key": row["key"], "headers": row["headers"]}
    (tmp_path / "hits").mkdir()
    letter = SavedLetter("a", PUBLISH, f"outbox:{row['id']}", row["payload"], about, AT)
    assert send_refused(uri, [letter], None, run_id()) == [letter]
    assert ids(tmp_path / "hits") == [row["id"]]
    (manifest,) = (tmp_path / "hits" / "_manifest").glob("*.avro")
    assert json.loads(manifest.read_text())["ids"] == [row["id"]]
    with warehouses.at(uri) as place:
        assert open_messages.open_topics(place) == []


def test_of_a_manifest_that_was_refused_no_manifest_tells(tmp_path: Path) -> None:
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits/_manifest"
    row = hit(topic, 1)
    add(uri, {**{name: row[name] for name in ("id", "topic", "key", "written_at")}, "error": "too large"})
    about = {"outbox_id": row["id"], "topic": topic, "key": row["key"], "headers": row["headers"]}
    (tmp_path / "hits" / "_manifest").mkdir(parents=True)
    letter = SavedLetter("a", PUBLISH, f"outbox:{topic}#{row['id']}", row["payload"], about, AT)
    assert send_refused(uri, [letter], None, run_id()) == [letter]
    assert ids(tmp_path / "hits" / "_manifest") == [row["id"]]
    assert not (tmp_path / "hits" / "_manifest" / "_manifest").exists()


def test_who_looks_often_looks_at_what_is_new(tmp_path: Path) -> None:
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    add(uri, hit(topic, 1), hit(topic, 2, written_secs=100))
    addresses = {topic: parse_address(topic, "test")}
    assert send_open(uri, addresses, run_id(), Reach(WrittenBetween(since=AT + timedelta(seconds=200)))).sent == {}
    assert send_open(uri, addresses, run_id(), Reach(WrittenBetween(since=AT + timedelta(seconds=50)))).sent == {topic: 1}
    assert send_open(uri, addresses, run_id(), Reach(WrittenBetween(since=AT + timedelta(seconds=50)))).sent == {}
    assert send(uri, topic) == {topic: 1}
    assert [int(name, 16) for name in ids(tmp_path / "hits")] == [2, 1]


def test_of_many_that_were_written_at_once_each_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_messages, "_FIRST_ROWS", 5)
    monkeypatch.setattr(open_messages, "_MOST_ROWS", 5)
    monkeypatch.setattr(FolderWarehouse, "rows_at_once_asked", 0)
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    add(uri, *(hit(topic, number, key=f"dia:{number // 2}") for number in range(60)))
    read, ask = list[int](), FolderWarehouse.ask

    def counted(self: FolderWarehouse, sql: str, values: Any = None, *words: Any) -> Any:
        found = ask(self, sql, values, *words)
        if "payload" in sql and values["topic"] == topic:
            rows = found.read()
            read.append(rows.num_rows)
            return iter(rows.to_batches())
        return found

    monkeypatch.setattr(FolderWarehouse, "ask", counted)
    assert send(uri, topic) == {topic: 60}
    assert len(read) > 8
    assert sum(read) == 60
    assert sorted(int(name, 16) for name in ids(tmp_path / "hits")) == [*range(60)]


def test_all_places_that_are_away_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file, and no folder")
    topics = [f"folder:{taken}/{name}" for name in ("first", "second")]
    add(f"{tmp_path}/w", *(hit(topic, 1) for topic in topics), hit("folder:/of-nobody", 1))
    sender = Sender(f"{tmp_path}/w", {topic: parse_address(topic, "test") for topic in topics})
    with sender:
        pass
    for topic in topics:
        assert f"hits wait in the outbox for {topic}: " in caplog.text
    assert "hits wait in the outbox for folder:/of-nobody, which no --publish names" in caplog.text


def manifests_of(place: Path) -> list[int]:
    """The number that each tells, in the order in which they came."""
    return [json.loads(file.read_text())["number"] for file in sorted((place / "_manifest").glob("*.avro"))]


def test_no_manifest_says_that_nothing_was_sent_while_something_was(tmp_path: Path) -> None:
    """A stream sends all the time, and says once an hour where it has sent nothing."""
    uri, topics = f"{tmp_path}/w", [f"folder:{tmp_path}/hits", f"folder:{tmp_path}/none"]
    addresses = {topic: parse_address(topic, "test") for topic in topics}
    begin = datetime.now(UTC)
    add(uri, hit(topics[0], 1))
    send_open(uri, addresses, run_id(), Reach(WrittenBetween(since=AT - timedelta(days=1))))
    send_open(uri, addresses, run_id(), Reach(nothing_since=begin))
    assert [manifests_of(tmp_path / name) for name in ("hits", "none")] == [[1], [0]]
    send_open(uri, addresses, run_id(), Reach(nothing_since=datetime.now(UTC)))
    assert [manifests_of(tmp_path / name) for name in ("hits", "none")] == [[1, 0], [0, 0]]


def test_what_was_sent_long_ago_is_not_sent_again_by_who_looks_at_what_is_new(tmp_path: Path) -> None:
    """A refilter of an old night, while a stream sends to the same address."""
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    addresses = {topic: parse_address(topic, "test")}
    week = 7 * 86_400
    refused = hit(topic, 2)
    add(uri, hit(topic, 1), {**{name: refused[name] for name in ("id", "topic", "key", "written_at")}, "error": "too large"})
    assert send(uri, topic) == {topic: 1}
    undated = {**hit(topic, 4, written_secs=week + 4), "headers": "{}"}
    add(uri, *(hit(topic, number, written_secs=week + number) for number in (1, 2, 3)), undated)
    look = Reach(WrittenBetween(since=AT + timedelta(days=5)))
    assert send_open(uri, addresses, run_id(), look).sent == {topic: 2}
    assert len([*(tmp_path / "hits").glob("*.avro")]) == 3
    # They are closed: nobody reads them again.
    with warehouses.at(uri) as place:
        assert open_messages.open_topics(place, look.written) == []
        rows = place.ask("SELECT id, error FROM outbox WHERE error IS NOT NULL").read().to_pylist()
    assert [(int(row["id"], 16), row["error"]) for row in rows] == [(2, "too large")] * 2


def test_no_heartbeat_while_something_older_waits(tmp_path: Path) -> None:
    """A place that was away for days takes messages again: what waits for it is sent at once, and not within the hour."""
    uri, place, now = f"{tmp_path}/w", tmp_path / "hits", datetime.now(UTC)
    topic = f"folder:{place}"
    place.write_text("a file, and no folder")
    add(uri, {**hit(topic, 1), "written_at": now - timedelta(days=5)})
    sender = Sender(uri, {topic: parse_address(topic, "test")})
    sender._send()
    place.unlink()
    add(uri, {**hit(topic, 2), "written_at": now})
    sender._beat_at = -math.inf
    sender._send()
    assert [int(name, 16) for name in ids(place)] == [2]
    assert not (place / "_manifest" / "heartbeat.json").exists()
    sender._beat_at = -math.inf
    sender._send()
    assert [int(name, 16) for name in ids(place)] == [2, 1]
    assert (place / "_manifest" / "heartbeat.json").exists()


def test_a_cluster_that_goes_away_is_waited_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for each of its topics, while other places wait."""
    monkeypatch.setattr(sending, "_AWAY_SECS", 1.0)
    uri, other = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    topics = [f"kafka:127.0.0.1:1/{name}" for name in "abcd"]
    addresses = {topic: parse_address(topic, "test") for topic in [*topics, other]}
    add(uri, *(hit(topic, 1) for topic in addresses))
    tried, deliver = list[str](), sending.deliver

    def noted(writer: Writer, topic: str, *words: Any) -> Delivered:
        tried.append(topic)
        return deliver(writer, topic, *words)

    monkeypatch.setattr(sending, "deliver", noted)
    with OpenWriters() as writers:
        # As if it had been there a moment ago.
        writers._made.update(each for topic in topics for each in (addresses[topic], manifest_address(addresses[topic])))
        found = send_open(uri, addresses, run_id(), writers=writers)
    assert +found.sent == {other: 1}
    assert set(found.waiting) == set(topics)
    assert [topic for topic in tried if topic in topics] == topics[:1]


@pytest.mark.parametrize("kept", [True, False], ids=["in the outbox", "nowhere"])
def test_a_refused_message_that_is_longer_than_letters_are_is_replayed(
    kept: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    uri, topic = f"{tmp_path}/w", f"folder:{tmp_path}/hits"
    (tmp_path / "hits").mkdir()
    row, other = hit(topic, 1, size=7 * 2**20), hit(topic, 2)
    add(uri, row if kept else other)
    delivered = Delivered((), [(row, MessageRefused("it is too long"))], None)
    own = run_id()
    with warehouses.at(uri) as place, place.claim(own, {"rows"}):
        place.add(DEAD_LETTERS, dead_letter_rows(refused_letters(delivered, topic), own), own)
        place.add(OUTBOX, rows_of(closing_rows(delivered, topic, own)), own)
    with warehouses.at(uri) as place:
        assert place.query("SELECT COUNT(*) AS n FROM dead_letters_open WHERE payload IS NULL").to_pylist() == [{"n": 1}]
    status = cli.main(["replay", "--warehouse", uri, "--stage", "publish", "--no_cutouts"])
    if kept:
        assert (status, ids(tmp_path / "hits")) == (0, [row["id"]])
        (file,) = (tmp_path / "hits").glob("*.avro")
        assert file.stat().st_size == 7 * 2**20
    else:
        assert ids(tmp_path / "hits") == []
        assert "has no packet: keep what its format needs" in capfd.readouterr().err
