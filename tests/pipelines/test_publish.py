"""``broker publish``: what is told arrived, has."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pipelines import publish as publishing
from pipelines.publish import PublishError, _Progress, pace


def test_a_message_is_counted_before_the_end_however_late_its_arrival_is_told() -> None:
    """A future wakes those who wait for it before it tells those who asked to be told."""
    arrival: Future[str] = Future()
    late = threading.Event()
    arrival.add_done_callback(lambda _: late.wait(60))
    progress = _Progress(show=False)
    progress.sent(arrival, 5)
    with ThreadPoolExecutor(2) as threads:
        threads.submit(arrival.set_result, "id")
        assert arrival.result(timeout=60) == "id"
        told = threads.submit(progress.finish)
        threading.Timer(0.2, late.set).start()
        assert told.result(timeout=60) == (1, 5)


def test_the_first_failure_is_raised_at_the_end() -> None:
    progress = _Progress(show=False)
    futures: list[Future[str]] = [Future() for _ in range(3)]
    for one in futures:
        progress.sent(one, 1)
    futures[0].set_result("id")
    futures[1].set_exception(ValueError("no such topic"))
    futures[2].set_exception(ValueError("another"))
    with pytest.raises(ValueError, match="no such topic"):
        progress.finish()


@pytest.mark.parametrize(
    ("rate", "cadence", "says"),
    [
        ("256/s", "lsst", "not both"),
        (None, "ztf", "--cadence ztf is not known; known is lsst"),
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


def test_progress_counts_what_has_arrived_and_tells_of_the_first_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr(publishing, "_SHOW_EVERY_SECS", -1.0)
    progress = publishing._Progress(show=True)
    for size in (10, 20):
        future: Future[str] = Future()
        progress.sent(future, size)
        future.set_result("id")
    assert progress.finish() == (2, 30)
    assert "2 messages" in capsys.readouterr().err
    failed: Future[str] = Future()
    progress.sent(failed, 1)
    failed.set_exception(ConnectionError("gone"))
    with pytest.raises(ConnectionError, match="gone"):
        progress.sent(Future(), 1)
    with pytest.raises(ConnectionError, match="gone"):
        progress.finish()
