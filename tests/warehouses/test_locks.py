"""Locks: one holder at a time, whoever waits gets it next, and where there are none nobody waits for ever."""

from __future__ import annotations

import os
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


def test_a_lock_of_many_holds_off_whoever_wants_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "version"
    assert locks.shared(str(place)) is None
    with locks.unheld(str(place)) as free:
        assert free, "what is not there nobody holds"
    place.touch()
    assert not locks.is_held(place)
    first, second = locks.shared(str(place)), locks.shared(str(place))
    assert first is not None
    assert second is not None
    for held in (first, second):
        with locks.unheld(str(place)) as free:
            assert free is False
        held.close()
        held.close()
    with locks.unheld(str(place)) as free:
        assert free is True
        assert locks.is_held(place)
    # Whoever has opened it while it was taken away under its lock does not hold it.
    descriptor = os.open

    def opened_and_gone(path: str, flags: int) -> int:
        found = descriptor(path, flags)
        place.unlink()
        return found

    with monkeypatch.context() as patched:
        patched.setattr(locks.os, "open", opened_and_gone)
        assert locks.shared(str(place)) is None


def test_where_nobody_can_tell_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "version"
    place.touch()
    with monkeypatch.context() as patched:
        patched.setattr(locks, "fcntl", None)
        with locks.unheld(str(place)) as free:
            assert free is None
        assert locks.is_held(place)
        assert not locks.is_held(tmp_path / "none")

    def refused(*given: object) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr("builtins.open", refused)
    with locks.unheld(str(place)) as free:
        assert free is None
