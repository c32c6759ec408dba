"""Who listens knows how far behind they are, whether a silent stream lives, and what messages say, one by one or as a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.errors import UndecodablePacket
from broker import streams
from streams.addresses import parse_address
from streams.errors import StreamAway, StreamProblem
from streams.heartbeats import Heartbeat, heartbeat_of, send_heartbeats
from streams.hits import Hit, PassedAlert
from streams.manifests import from_json, manifest_address
from streams.messages import Message
from streams.open_writers import OpenWriters
from streams.readers import LATEST, Reader, open_reader
from streams.write_folder import FolderWriter

NOW = datetime(2026, 11, 29, 5, 0, tzinfo=UTC)


def hit(number: int, columns: str = '{"fade": 0.5}', name: str = "fast", payload: bytes | None = None) -> Message:
    alert = PassedAlert("ztf", 2**60 + number, f"ZTF26aaa{number}", "object", 5, NOW, None)
    told = Hit(alert, name, "v1", columns, NOW)
    return told.message(told.as_json(None) if payload is None else payload)


def sent(place: Path, *messages: Message) -> str:
    with FolderWriter(str(place)) as writer:
        writer.check()
        for message in messages:
            writer.send(message)
    return f"folder:{place}"


def test_messages_say_who_they_are(tmp_path: Path) -> None:
    address = sent(tmp_path / "hits", hit(1), hit(1), hit(2, "{}"))
    with streams.listen(address, once=True, quiet_secs=0.2) as listener:
        assert listener.behind == 3
        first, second = listener
        assert (listener.behind, listener.heard.copies) == (0, 1)
    assert (first.alert_id, first.object_id, first.filter, first.columns) == (2**60 + 1, "ZTF26aaa1", "fast", {"fade": 0.5})
    assert (first.observed_at, first.published_at, second.columns) == (NOW, None, {})
    assert first.alert()["alert_id"] == str(2**60 + 1)
    with pytest.raises(AttributeError):
        _ = first.magpsf


def test_columns_that_are_too_long_for_a_header_are_in_what_json_carries(tmp_path: Path) -> None:
    text = json.dumps({"what": "x" * 2000})
    (found,) = streams.listen(sent(tmp_path / "hits", hit(1, text)), once=True, quiet_secs=0.2)
    assert found.headers["columns_truncated"] == "true"
    assert found.columns == {"what": "x" * 2000}


def test_what_is_no_alert_is_told(tmp_path: Path) -> None:
    (found,) = streams.listen(sent(tmp_path / "hits", Message(b"\x00rubbish", b"k")), once=True, quiet_secs=0.2)
    assert (found.id, found.alert_id, found.columns) == (None, None, {})
    with pytest.raises(UndecodablePacket, match="is neither an Avro container nor JSON"):
        found.alert()


def test_a_table_of_hits_keeps_ids_exact_and_columns_under_their_names(tmp_path: Path) -> None:
    messages = hit(1), hit(2, '{"n": 3, "survey": "x"}', "other"), hit(3, '{"fade": "text"}')
    address = sent(tmp_path / "hits", *messages)
    table = streams.table_of(streams.listen(address, once=True, quiet_secs=0.2))
    assert table.column("alert_id").to_pylist() == [2**60 + 1, 2**60 + 2, 2**60 + 3]
    assert table.column("observed_at").to_pylist() == [NOW] * 3
    assert table.column("n").to_pylist() == [None, 3, None]
    # Two kinds of values under one name, and a name that a header has.
    assert table.column("columns.fade").to_pylist() == ["0.5", None, '"text"']
    assert (table.column("survey").to_pylist(), table.column("columns.survey").to_pylist()) == (["ztf"] * 3, [None, '"x"', None])


def test_nothing_that_came_is_a_table_too(tmp_path: Path) -> None:
    table = streams.table_of(streams.listen(sent(tmp_path / "hits"), once=True, quiet_secs=0.1))
    assert (table.num_rows, table.column_names[:2]) == (0, ["id", "alert_id"])


def test_who_leaves_in_the_midst_has_not_taken_the_rest(tmp_path: Path) -> None:
    with streams.listen(sent(tmp_path / "hits", hit(1), hit(2)), once=True) as listener:
        assert next(iter(listener)).alert_id == 2**60 + 1
    assert listener._done is False


def test_a_heartbeat_is_one_file_of_a_folder_and_no_manifest(tmp_path: Path) -> None:
    address = parse_address(sent(tmp_path / "hits"), "address")
    with OpenWriters() as writers:
        send_heartbeats([(address, Heartbeat(str(address), NOW))], writers)
        reader = open_reader(manifest_address(address))
        (first,) = reader.read(0.1)
        assert reader.read(0.1) == []
        send_heartbeats([(address, Heartbeat(str(address), NOW + timedelta(minutes=1)))], writers)
    (second,) = reader.read(1.0)
    assert [heartbeat_of(each.value or b"") for each in (first, second)] == [
        Heartbeat(str(address), NOW),
        Heartbeat(str(address), NOW + timedelta(minutes=1)),
    ]
    assert from_json(first.value or b"") is None
    assert len([file for file in (tmp_path / "hits" / "_manifest").iterdir() if file.suffix == ".avro"]) == 1
    assert open_reader(manifest_address(address), LATEST).read(0.1) == []


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"kind": "heartbeat"}', b'{"kind": "heartbeat", "topic": 1, "at": 2}', b"\xff"]
)
def test_what_is_no_heartbeat_is_none(data: bytes) -> None:
    assert heartbeat_of(data) is None


@pytest.mark.parametrize(
    ("age", "told"),
    [
        (None, "nor any heartbeat since this listens: perhaps nobody sends there now"),
        (timedelta(seconds=20), "its sender lives, and had sent all there was 20 s ago"),
        (timedelta(hours=1), "the last heartbeat is 60 min old: its sender is away, or waits"),
    ],
    ids=["none", "new", "old"],
)
def test_a_silent_stream_says_whether_it_lives(
    age: timedelta | None, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streams import listener as module  # noqa: PLC0415

    monkeypatch.setattr(module, "_SILENT_SECS", 0.3 if age is None else 100.0)
    address = sent(tmp_path / "hits")
    (tmp_path / "hits" / "_manifest").mkdir()
    said = list[str]()
    with streams.listen(address, stop_after_secs=4) as listener:
        listener.say = said.append
        listener._said_at -= 1000.0
        if age is not None:
            with OpenWriters() as writers:
                at = parse_address(address, "address")
                send_heartbeats([(at, Heartbeat(address, datetime.now(UTC) - age))], writers)
            monkeypatch.setattr(module, "_POLL_SECS", 0.1)
            listener._tell_silence(200)
        else:
            assert [*listener] == []
    assert said
    assert said[0].endswith(told) or told.replace("20 s", "21 s") in said[0]


class Faulty:
    """A reader for which something goes wrong, as with a broker that is away for a moment."""

    def __init__(self, reader: Reader, **wrong: Exception | BaseException) -> None:
        self._reader, self._wrong = reader, wrong
        self.done: bool | None = None

    def read(self, secs: float) -> list[Message]:
        found = self._reader.read(secs)
        if found and "read" in self._wrong:
            raise self._wrong.pop("read")
        return found

    def behind(self) -> int | None:
        if "behind" in self._wrong:
            raise self._wrong["behind"]
        return self._reader.behind()

    def close(self, *, done: bool = True) -> None:
        self.done = done


def test_who_listens_goes_on_where_it_cannot_be_told_how_far_behind(tmp_path: Path) -> None:
    with streams.listen(sent(tmp_path / "hits", hit(1)), once=True, quiet_secs=0.2) as listener:
        listener.reader = Faulty(listener.reader, behind=StreamAway("away"))
        assert [found.alert_id for found in listener] == [2**60 + 1]


def test_who_is_interrupted_while_it_reads_has_not_taken_what_it_read(tmp_path: Path) -> None:
    with streams.listen(sent(tmp_path / "hits", hit(1)), once=True) as listener:
        faulty = listener.reader = Faulty(listener.reader, read=KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            next(iter(listener))
    assert faulty.done is False


def test_who_listens_goes_on_where_nobody_can_tell_whether_the_sender_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from streams import listener as module  # noqa: PLC0415

    monkeypatch.setattr(module, "_SILENT_SECS", 0.0)
    (tmp_path / "hits" / "_manifest").mkdir(parents=True)
    said = list[str]()
    with streams.listen(sent(tmp_path / "hits"), stop_after_secs=1.5) as listener:
        listener.say = said.append
        assert listener.beside is not None
        gone = StreamProblem("there is no such subscription")
        monkeypatch.setattr(listener.beside, "read", lambda secs: (_ for _ in ()).throw(gone))
        assert [*listener] == []
    assert said[0].endswith("whether its sender lives cannot be read: there is no such subscription")


@pytest.mark.parametrize(
    ("name", "value"),
    [("columns", b"{no json"), ("columns", b"[" * 100_000), ("alert_id", b"9" * 5000), ("alert_id", str(2**63).encode())],
    ids=["no json", "deep", "long", "no 64 bits"],
)
def test_what_others_have_sent_is_a_row_too(tmp_path: Path, name: str, value: bytes) -> None:
    address = sent(tmp_path / "hits", Message(b"{}", b"k", ((name, value),)), hit(1))
    table = streams.table_of(streams.listen(address, once=True, quiet_secs=0.2))
    assert table.column("alert_id").to_pylist() == [None, 2**60 + 1]
