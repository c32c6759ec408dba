"""Ids of runs tell when these began, and have an order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from schemas.run_ids import began_at, new_run_id

BEGAN = datetime(2026, 11, 29, 15, 7, 20, 123456, tzinfo=UTC)


def test_an_id_tells_when_its_run_began() -> None:
    assert began_at(new_run_id(BEGAN)) == BEGAN
    assert began_at(f"{new_run_id(BEGAN)}-behind") == BEGAN
    assert began_at(new_run_id(BEGAN.astimezone(timezone(timedelta(hours=5))))) == BEGAN


def test_ids_of_earlier_versions_tell_the_second() -> None:
    assert began_at("20261129T150720Z-1f0c9ab2") == BEGAN.replace(microsecond=0)


@pytest.mark.parametrize("text", ["", "compact-0123456789ab", "20261129T150720-1f0c9ab2", "20261329T150720Z-1f0c9ab2", "x"])
def test_other_ids_tell_nothing(text: str) -> None:
    assert began_at(text) is None


def test_the_later_of_two_runs_within_a_second_has_the_larger_id() -> None:
    ids = [new_run_id(BEGAN + timedelta(microseconds=number)) for number in range(200)]
    assert ids == sorted(ids)
    # Also after one that an earlier version has made within the second before.
    assert new_run_id(BEGAN) > "20261129T150719Z-ffffffff"
