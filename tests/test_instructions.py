"""Decoding takes no more instructions per alert than it did: counted, not timed, so that a busy machine changes nothing."""

from __future__ import annotations

import pytest

from benchmarks import instructions

pytestmark = pytest.mark.cost

CEILINGS_THOUSANDS = {"candidate": 110, "candidate and stamps": 149, "everything": 430}
"""Some 10 % above what was counted; other versions of Python, numpy or pyarrow account for a few."""


@pytest.fixture(scope="module")
def counts() -> instructions.InstructionCounts:
    if missing := instructions.missing_here():
        pytest.skip(missing)
    return instructions.count()


@pytest.mark.parametrize("want", CEILINGS_THOUSANDS)
def test_instructions_per_alert_stay_below_their_ceiling(want: str, counts: instructions.InstructionCounts) -> None:
    assert counts.per_alert[want] / 1000 <= CEILINGS_THOUSANDS[want]


def test_callgrind_has_counted_all_of_it(counts: instructions.InstructionCounts) -> None:
    # fastavro alone takes millions for an alert; were only some thread or module counted, it would be less.
    assert 5e6 < counts.per_alert["fastavro.reader"] < 30e6
    assert counts.per_alert["candidate"] < counts.per_alert["candidate and stamps"] < counts.per_alert["everything"]
