"""Messages as files: complete when they are there, with key and headers beside them, one file however often one is sent."""

from __future__ import annotations

import base64
import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from streams.errors import StreamAway, StreamProblem
from streams.kafka_messages import KafkaMessage, LostRange
from streams.kafka_ranges import OffsetRange
from streams.messages import Message
from streams.relayed import relayed
from streams.write_folder import FolderWriter


def test_a_message_is_a_file_and_what_stands_beside_it_another(tmp_path: Path) -> None:
    with FolderWriter(str(tmp_path / "a" / "b")) as writer:
        writer.check()
        writer.send(Message(b"Obj1"))
        writer.send(Message(b"Obj2", b"\xff", (("a", b"1"), ("a", None))))
        writer.send(Message(None, b"k"))
        assert writer.flush(1).on_their_way == 0
    names = sorted(file.name for file in (tmp_path / "a" / "b").iterdir())
    assert [name[-5:] for name in names] == [".avro", ".avro", ".json", ".json"]
    first, second, beside, without = ((tmp_path / "a" / "b" / name).read_bytes() for name in names)
    assert (first, second) == (b"Obj1", b"Obj2")
    assert json.loads(beside) == {
        "key": base64.b64encode(b"\xff").decode(),
        "headers": [["a", "MQ=="], ["a", None]],
        "has_value": True,
    }
    assert json.loads(without)["has_value"] is False


def test_what_is_sent_on_again_is_the_same_file(tmp_path: Path) -> None:
    sent = KafkaMessage("ztf.1", 3, 17, b"Obj", datetime(2026, 11, 29, tzinfo=timezone.utc))
    for _ in range(2):
        writer = FolderWriter(str(tmp_path))
        writer.send(relayed(sent, "c"))
        writer.send(relayed(LostRange(OffsetRange("ztf.1", 3, 5, 9)), "c"))
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "ztf.1-3-000000000005..000000000008.json",
        "ztf.1-3-000000000017.avro",
        "ztf.1-3-000000000017.json",
    ]


def test_a_reader_never_sees_a_part_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    honest = os.fsync

    def look(descriptor: int) -> None:
        seen.append(sorted(file.name for file in tmp_path.iterdir() if not file.name.startswith(".")))
        honest(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    FolderWriter(str(tmp_path)).send(Message(b"Obj", b"key"))
    assert [len(names) for names in seen] == [0, 1]
    assert seen[1][0].endswith(".json")


def test_a_place_that_is_no_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamProblem, match="file cannot be made"):
        FolderWriter(str(tmp_path / "file")).check()
    writer = FolderWriter(str(tmp_path / "none"))
    writer.send(Message(b"Obj"))
    (tmp_path / "none").mkdir()
    (failure,) = writer.flush(1).undelivered
    assert isinstance(failure.why, StreamAway)
    assert failure.message == Message(b"Obj")
