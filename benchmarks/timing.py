"""CPU time of things that take turns, so that a machine that gets slower meanwhile is slower for all of them."""

from __future__ import annotations

import gc
import resource
import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass

ROUNDS = 5
TURN_SECS = 0.2
"""CPU seconds of a turn of what a run does again and again."""


@dataclass(frozen=True)
class Timing:
    """CPU seconds per alert of a contender, round by round."""

    secs: tuple[float, ...]
    kernel_secs: tuple[float, ...] = ()
    """What of that the kernel took: for files, and for memory that was not there yet."""

    @property
    def micros(self) -> float:
        """Microseconds per alert, median of the rounds."""
        return statistics.median(self.secs) * 1e6

    def times_faster(self, other: Timing) -> float:
        """How many times less CPU than ``other``: median of the rounds' ratios."""
        return statistics.median(theirs / mine for mine, theirs in zip(self.secs, other.secs, strict=True))


def cpu_secs() -> tuple[float, float]:
    """What this process, its threads, and the children that it has waited for have used, and what of that in the kernel."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    kernel = sum(usage.ru_stime for usage in used)
    return kernel + sum(usage.ru_utime for usage in used), kernel


def taking_turns(
    contenders: dict[str, Callable[[], int]], rounds: int = ROUNDS, cold: Collection[str] = (), turn_secs: float = 0.0
) -> dict[str, Timing]:
    """Time all contenders ``rounds`` times, one after another in each round, after a first time that does not count.

    Each gives the number of alerts that it has dealt with. Those named in ``cold`` have no first time. A contender works as
    often as it can in ``turn_secs`` of CPU, at least once: what is done in a few milliseconds, and in a run again and again,
    would otherwise be timed while the processor is still fetching its code. Every other round goes backwards: who comes
    after another finds memory that the other has just given back, and on a virtual machine that is much cheaper than memory
    that its host must find first.
    """
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for name, contender in contenders.items():
        if name not in cold:
            contender()
    for number in range(rounds):
        for name in reversed(contenders) if number % 2 else contenders:
            spent[name].append(_turn(contenders[name], turn_secs))
    return {name: Timing(*zip(*measured, strict=True)) for name, measured in spent.items()}


def _turn(contender: Callable[[], int], turn_secs: float) -> tuple[float, float]:
    """CPU seconds per alert, and those in the kernel."""
    gc.collect()
    (begin, begin_kernel), alerts = cpu_secs(), 0
    while True:
        alerts += contender()
        end, kernel = cpu_secs()
        if end - begin >= turn_secs:
            return (end - begin) / alerts, (kernel - begin_kernel) / alerts
