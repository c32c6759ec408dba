"""``broker publish``: what is told arrived, has."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pipelines import publish as publishing
from pipelines.publish import PublishError, pace, publish
from streams.errors import StreamAway, StreamProblem
from streams.messages import Message
from streams.write_folder import FolderWriter
from streams.writers import Flushed


def test_what_has_arrived_is_counted(tmp_path: Path) -> None:
    writer = FolderWriter(str(tmp_path / "a"))
    writer.check()
    assert publish([b"x", b"yy", b"zzz"], writer) == (3, 6)
    assert sorted(file.read_bytes() for file in (tmp_path / "a").iterdir()) == [b"x", b"yy", b"zzz"]


class Late(FolderWriter):
    """What is sent arrives a moment later, on another thread, or never."""

    refused: bytes = b""
    never: bytes = b"never"

    def send(self, message: Message) -> None:
        self.deliveries.begun(message)
        if message.value != self.never:
            why = StreamProblem(f"refused {message.value!r}") if message.value == self.refused else None
            threading.Timer(0.05, self.deliveries.ended, (message, why)).start()

    def flush(self, secs: float) -> Flushed:
        self.deliveries.wait_for(lambda: not self.deliveries.on_their_way, secs)
        return self.deliveries.flushed()


def test_a_message_is_counted_before_the_end_however_late_it_arrives(tmp_path: Path) -> None:
    assert publish([b"abcde"], Late(str(tmp_path))) == (1, 5)


def test_the_first_failure_is_raised_and_nothing_more_is_sent(tmp_path: Path) -> None:
    writer = Late(str(tmp_path))
    writer.refused = b"2"
    sent = []

    def values():
        for number in range(1_000):
            sent.append(number)
            yield str(number).encode()

    with pytest.raises(StreamProblem, match="refused b'2'"):
        publish(values(), writer, pace("50/s", None))
    assert len(sent) < 1_000


def test_what_does_not_arrive_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "_GIVEN_UP_SECS", 0.2)
    with pytest.raises(StreamAway, match=r"1 messages have not arrived after 0\.2 s"):
        publish([b"a", b"never"], Late(str(tmp_path)))


@pytest.mark.parametrize(
    ("rate", "cadence", "says"),
    [
        ("256/s", "lsst", "not both"),
        (None, "ztf", "--cadence ztf is not known; known is lsst"),
        (None, "0/5s", "--cadence 0/5s is not known"),
        (None, "10/5", "--cadence 10/5 is not known"),
        ("256", None, "--rate 256 is not a number of messages a second, for example 256/s"),
        ("-1/s", None, "is not a number of messages a second"),
        ("0/s", None, "is not a number of messages a second"),
        ("1/h", None, "is not a number of messages a second"),
    ],
)
def test_a_pace_that_cannot_be_is_told(rate: str | None, cadence: str | None, says: str) -> None:
    with pytest.raises(PublishError, match=says):
        pace(rate, cadence)


def test_a_pace_is_even_or_in_bursts() -> None:
    assert pace(None, None) is None
    even, bursts = pace("4/s", None), pace(None, "lsst")
    assert even is not None
    assert bursts is not None
    assert [even.due_secs(number) for number in (0, 1, 8)] == [0, 0.25, 2]
    assert [bursts.due_secs(number) for number in (0, 9_999, 10_000, 20_000)] == [0, 0, 39, 78]
    small = pace(None, "100/2.5s")
    assert small is not None
    assert [small.due_secs(number) for number in (0, 99, 100, 250)] == [0, 0, 2.5, 5]


def test_progress_says_what_has_arrived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(publishing, "_SHOW_EVERY_SECS", -1.0)
    assert publish([b"0" * 10, b"0" * 20], FolderWriter(str(tmp_path)), show=True) == (2, 30)
    assert "2 messages" in capsys.readouterr().err
