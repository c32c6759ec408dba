"""Locks: one holder at a time, whoever waits gets it next, and where there are none nobody waits for ever."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from warehouses.folder import locks
from warehouses.folder.locks import locked


def test_of_two_one_holds_it(tmp_path: Path) -> None:
    place = tmp_path / "_locks" / "commit"
    with locked(place) as first:
        assert first is not None
        with locked(place) as second:
            assert second is None
    with locked(place) as again:
        assert again is not None


def test_whoever_waits_gets_it_when_it_is_free(tmp_path: Path) -> None:
    order: list[str] = []
    waits = threading.Event()

    def wait() -> None:
        waits.set()
        with locked(tmp_path / "lock", wait=True):
            order.append("the other has it")

    with locked(tmp_path / "lock"):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(60)
        thread.join(0.2)
        order.append("about to let go")
    thread.join(60)
    assert order == ["about to let go", "the other has it"]


def test_an_error_lets_go_of_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock"):
        raise ZeroDivisionError
    with locked(tmp_path / "lock") as file:
        assert file is not None


def test_without_locks_whoever_waits_goes_on_and_others_find_it_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with locked(tmp_path / "lock", wait=True) as file:
        assert file is not None
    with locked(tmp_path / "lock") as file:
        assert file is None
