"""What strangers send does no harm to who listens, and nothing that came is taken for missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import cli
from streams.addresses import parse_address
from streams.listening import Heard
from streams.manifests import NoManifest, from_json
from streams.messages import Message
from streams.readers import open_reader
from streams.write_folder import FolderWriter


def sent(place: Path, *messages: Message) -> None:
    with FolderWriter(str(place)) as writer:
        writer.check()
        for message in messages:
            writer.send(message)


def listen(place: Path, *words: str) -> int:
    return cli.main(["listen", f"folder:{place}", "--once", "--quiet_secs", "0.3", *words])


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/escaped", "a" * 400, "nul\0", ""])
def test_no_name_of_a_message_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    sent(tmp_path / "in", Message(b"evil", b"k", (("id", name.encode()),)))
    assert listen(tmp_path / "in", "--save", str(tmp_path / "deep" / "saved")) == 0
    files = {file for file in tmp_path.rglob("*") if file.is_file() and file.parent != tmp_path / "in"}
    assert {file.parent for file in files} == {tmp_path / "deep" / "saved"}
    assert b"evil" in {file.read_bytes() for file in files}


def test_nothing_without_an_id_is_overwritten_the_next_time(tmp_path: Path) -> None:
    for text in (b"first", b"second"):
        sent(tmp_path / text.decode(), Message(text, b"k"))
        assert listen(tmp_path / text.decode(), "--save", str(tmp_path / "saved")) == 0
    assert {b"first", b"second"} <= {file.read_bytes() for file in (tmp_path / "saved").iterdir()}


def test_a_line_is_one_line_and_does_nothing_to_a_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sent(tmp_path / "in", Message(b"x", b"k", (("columns", b"\x1b]0;title\x07\nforged  line"),)))
    assert listen(tmp_path / "in") == 0
    out = capfd.readouterr().out
    assert len(out.splitlines()) == 1
    assert "\x1b" not in out
    assert "forged  line" in out


def test_a_file_that_is_no_message_stops_nobody(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sent(tmp_path / "in", Message(b"x", b"k"))
    for name, text in (("cut", "{"), ("list", "[]"), ("none", "{}"), ("odd", '{"key": 1, "headers": 2}')):
        (tmp_path / "in" / f"{name}.json").write_text(text)
    assert listen(tmp_path / "in") == 0
    assert "1 messages" in capfd.readouterr().err


def test_a_message_whose_bytes_are_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    (tmp_path / "half.json").write_text('{"key": null, "headers": []}')
    reader = open_reader(parse_address(f"folder:{tmp_path}", "ADDRESS"))
    looked = 0
    glob = Path.glob

    def counted(self: Path, pattern: str):
        nonlocal looked
        looked += 1
        return glob(self, pattern)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "glob", counted)
        assert reader.read(0.5) == []
    # It does not turn round and round.
    assert 2 <= looked <= 12
    (tmp_path / "half.avro").write_bytes(b"there")
    assert [message.value for message in reader.read(0.5)] == [b"there"]


def test_packets_without_key_and_headers_are_listened_to(tmp_path: Path) -> None:
    sent(tmp_path / "in", Message(b"packet"), Message(b"hit", b"k"))
    reader = open_reader(parse_address(f"folder:{tmp_path}/in", "ADDRESS"))
    assert [(message.value, message.key) for message in reader.read(0.1)] == [(b"packet", None), (b"hit", b"k")]
    assert reader.read(0.1) == []
    later = open_reader(parse_address(f"folder:{tmp_path}/in", "ADDRESS"), "latest")
    sent(tmp_path / "in", Message(b"more"))
    assert [message.value for message in later.read(0.1)] == [b"more"]


def test_who_verifies_remembers_every_id() -> None:
    messages = [Message(b"", None, (("id", f"{number:032x}".encode()),)) for number in range(100)]
    few, everything = Heard(remembered=10), Heard(remembered=None)
    assert len([*few.take(messages)]) == len([*everything.take(messages)]) == 100
    assert (len(few.ids), len(everything.ids)) == (10, 100)


@pytest.mark.parametrize("ids", ['["zz"]', '"ab"', "[[]]", "[1]", "7"])
def test_a_manifest_of_what_are_no_ids_is_told(ids: str) -> None:
    text = (
        f'{{"kind": "manifest", "topic": "t", "from": "2026-01-01", "to": "2026-01-01", "number": 1, "sha256": "", "ids": {ids}}}'
    )
    with pytest.raises(NoManifest):
        from_json(text.encode())
