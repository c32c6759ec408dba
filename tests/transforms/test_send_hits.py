"""Hits sent by workers, when their rows are there: what arrives is closed and told by a manifest, all else stays open."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that

from schemas.outbox import OUTBOX
from streams.addresses import parse_address
from streams.delivering import Delivered, OpenMessage
from streams.errors import MessageRefused
from streams.manifests import from_json
from streams.readers import open_reader
from streams.writers import Writer
from tests.pipelines.test_sending import hit, ids
from transforms import send_hits
from transforms.elements import TableBatch
from transforms.send_hits import SendHits
from warehouses.units import STREAM

Check = Callable[[list[dict[str, Any]]], None]


def batch(*rows: Mapping[str, Any]) -> TableBatch:
    made = [{**row, "run_id": "r"} for row in rows]
    return TableBatch(OUTBOX.name, STREAM, pa.RecordBatch.from_pylist(made, schema=OUTBOX.arrow_schema))


def sent(batches: list[TableBatch], topics: list[str], check: Check, away_secs: float = 1.0) -> None:
    def rows(found: list[TableBatch]) -> None:
        check([row for each in found for row in each.rows.to_pylist()])

    addresses = {topic: parse_address(topic, "test") for topic in topics}
    with test_pipeline.TestPipeline() as pipeline:
        send = SendHits("20261129T050000-000000", addresses, away_secs)
        closed = pipeline | beam.Create(batches, reshuffle=False) | send
        assert_that(closed["outbox"], rows, label="rows")
        assert_that(closed["publish"], _none, label="letters")


def _none(found: list[Any]) -> None:
    assert found == []


def test_what_arrives_is_closed_and_told_by_a_manifest(tmp_path: Path) -> None:
    topic, other = f"folder:{tmp_path}/hits", f"folder:{tmp_path}/others"
    for name in ("hits", "hits/_manifest"):
        (tmp_path / name).mkdir()
    verdicts = TableBatch("verdicts", STREAM, pa.RecordBatch.from_pylist([{"id": "x"}]))

    def check(rows: list[dict[str, Any]]) -> None:
        closed = {(row["id"], row["topic"]) for row in rows if row["sent_at"] is not None}
        hits = {(f"{number:032x}", topic) for number in (1, 2)}
        (manifest,) = [row for row in rows if row["payload"] is not None]
        assert closed == hits | {(manifest["id"], f"{topic}/_manifest")}
        told = from_json(manifest["payload"])
        assert told is not None
        assert set(told.ids) == {name for name, _ in hits}
        # Nothing is closed before a manifest tells of it.
        assert rows.index(manifest) == 0

    sent([verdicts, batch(hit(topic, 2, written_secs=5), hit(topic, 1), hit(other, 3))], [topic], check)
    assert [int(name, 16) for name in ids(tmp_path / "hits")] == [1, 2]
    (manifest,) = open_reader(parse_address(f"{topic}/_manifest", "test")).read(1.0)
    assert json.loads(manifest.value or b"")["number"] == 2
    assert not (tmp_path / "others").exists()


def test_what_does_not_arrive_stays_open_and_holds_up_no_other(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file, and no folder")
    good, away = f"folder:{tmp_path}/hits", f"folder:{tmp_path}/taken"
    for name in ("hits", "hits/_manifest"):
        (tmp_path / name).mkdir()

    def check(rows: list[dict[str, Any]]) -> None:
        assert {row["topic"] for row in rows} == {good, f"{good}/_manifest"}

    sent([batch(hit(away, 1), hit(good, 2))], [good, away], check)
    assert [int(name, 16) for name in ids(tmp_path / "hits")] == [2]


@pytest.mark.timeout(60)
def test_a_receiver_that_never_answers_ends_no_bundle_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    sent([batch(hit("pubsub:projects/my-project/topics/hits", 1))], ["pubsub:projects/my-project/topics/hits"], _none)


def test_who_has_taken_nothing_is_not_waited_for_by_every_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that wait for a receiver's side write no alerts."""
    taken, topic = tmp_path / "taken", f"folder:{tmp_path}/taken"
    taken.write_text("a file, and no folder")
    send = send_hits._Send(SendHits("20261129T050000-000000", {topic: parse_address(topic, "test")}, away_secs=1.0))
    send.setup()
    assert [*send.process(batch(hit(topic, 1)))] == []
    taken.unlink()
    (taken / "_manifest").mkdir(parents=True)
    assert [*send.process(batch(hit(topic, 2)))] == []
    assert ids(taken) == []
    later = time.monotonic() + 2 * send_hits._AGAIN_SECS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert len([*send.process(batch(hit(topic, 3)))]) == 1
    assert [int(name, 16) for name in ids(taken)] == [3]
    send.teardown()


def test_all_that_are_away_together_end_no_bundle_too_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[float]()
    deliver = send_hits.deliver

    def noted(writer: Writer, topic: str, rows: Sequence[OpenMessage], secs: float) -> Delivered:
        waited.append(secs)
        return deliver(writer, topic, rows, secs)

    monkeypatch.setattr(send_hits, "deliver", noted)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    topics = [f"pubsub:projects/my-project/topics/hits{number}" for number in range(4)]
    sent([batch(*(hit(topic, 1) for topic in topics))], topics, _none, away_secs=3.0)
    assert len(waited) == 4
    assert waited[0] > 2.0
    assert max(waited[1:]) < 1.5


def test_a_manifest_that_is_refused_is_a_dead_letter_as_any_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    topic = f"folder:{tmp_path}/hits"
    (tmp_path / "hits").mkdir()
    deliver = send_hits.deliver

    def refusing(writer: Writer, topic: str, rows: Sequence[OpenMessage], secs: float) -> Delivered:
        if topic.endswith("_manifest"):
            return Delivered((), [(row, MessageRefused("too large")) for row in rows], None)
        return deliver(writer, topic, rows, secs)

    monkeypatch.setattr(send_hits, "deliver", refusing)
    send = send_hits._Send(SendHits("20261129T050000-000000", {topic: parse_address(topic, "test")}, away_secs=1.0))
    send.setup()
    rows, letter = send.process(batch(hit(topic, 1)))
    (refused,) = [row for row in rows.rows.to_pylist() if row["error"] is not None]
    assert letter.value.letter.source == f"outbox:{topic}/_manifest#{refused['id']}"
    send.teardown()
