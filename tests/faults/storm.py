"""A service that fails again and again while a run works."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.emulators.faults import Fault, FaultyProxy

Strike = Callable[[FaultyProxy], Fault]


@dataclass
class Storm:
    """Faults put in place one after another; each strikes the next request that it is meant for."""

    faults: list[Fault] = field(default_factory=list)

    @property
    def struck(self) -> int:
        return sum(fault.met for fault in self.faults)


@contextlib.contextmanager
def storm(proxy: FaultyProxy, *strikes: Strike, every_secs: float, seed: int = 1) -> Iterator[Storm]:
    """One of ``strikes`` by chance, every so many seconds, as long as the body runs; then the service is well again."""
    chance, done, made = random.Random(seed), threading.Event(), Storm()

    def blow() -> None:
        while not done.wait(every_secs * chance.uniform(0.5, 1.5)):
            made.faults.append(chance.choice(strikes)(proxy))

    thread = threading.Thread(target=blow, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        done.set()
        thread.join()
        proxy.heal()
