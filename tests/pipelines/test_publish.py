"""``broker publish``: what is told arrived, has."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pipelines.publish import _Progress


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
