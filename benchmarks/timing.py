"""CPU time of things that take turns, so that a machine that gets slower meanwhile is slower for all of them."""

from __future__ import annotations

import gc
import resource
import statistics
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

ROUNDS = 5
TURN_SECS = 0.2
"""CPU seconds of a turn of what a run does again and again."""


@dataclass(frozen=True)
class Timing:
    """CPU seconds per alert of a contender, round by round."""

    secs: tuple[float, ...]

    @property
    def micros(self) -> float:
        """Microseconds per alert, median of the rounds."""
        return statistics.median(self.secs) * 1e6

    def times_faster(self, other: Timing) -> float:
        """How many times less CPU than ``other``: median of the rounds' ratios."""
        return statistics.median(theirs / mine for mine, theirs in zip(self.secs, other.secs, strict=True))


def cpu_secs() -> float:
    """What this process, its threads, and the children that it has waited for have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def taking_turns(
    contenders: Mapping[str, Callable[[], int]], rounds: int = ROUNDS, cold: Collection[str] = (), turn_secs: float = 0.0
) -> dict[str, Timing]:
    """Time all contenders ``rounds`` times, one after another in each round, after a first time that does not count.

    Each gives the number of alerts that it has dealt with. Those named in ``cold`` have no first time. A contender works as
    often as it can in ``turn_secs`` of CPU, at least once: what is done in a few milliseconds, and in a run again and again,
    would otherwise be timed while the processor is still fetching its code.
    """
    secs: dict[str, list[float]] = {name: [] for name in contenders}
    for name, contender in contenders.items():
        if name not in cold:
            contender()
    for _ in range(rounds):
        for name, contender in contenders.items():
            gc.collect()
            begin, alerts = cpu_secs(), 0
            while True:
                alerts += contender()
                spent = cpu_secs() - begin
                if spent >= turn_secs:
                    break
            secs[name].append(spent / alerts)
    return {name: Timing(tuple(measured)) for name, measured in secs.items()}
