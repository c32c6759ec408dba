"""A service that fails now and then while a run works."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.emulators.faults import Fault, FaultyProxy
from tests.emulators.rpc_faults import FaultyRpcProxy, RpcFault

Proxy = FaultyProxy | FaultyRpcProxy
Strike = Callable[[Any], Fault | RpcFault]
"""Puts a fault in the way of a proxy."""
_BETWEEN = 3


@dataclass
class Storm:
    """Faults put in place one after another; each strikes the next request that it is meant for."""

    faults: list[Fault | RpcFault] = field(default_factory=list)

    @property
    def struck(self) -> int:
        return sum(fault.met for fault in self.faults)


@contextlib.contextmanager
def storm(proxy: Proxy, *strikes: Strike, every_secs: float, seed: int = 1) -> Iterator[Storm]:
    """One of ``strikes`` by chance, every so many seconds while the body runs, with some requests between them that pass.

    Else all would meet the same request, which is an outage: clients wait longer each time, and give up.
    """
    chance, done, made = random.Random(seed), threading.Event(), Storm()

    def blow() -> None:
        seen = 0
        while not done.wait(every_secs * chance.uniform(0.5, 1.5)):
            if not made.faults or (made.faults[-1].met and len(proxy.exchanges) >= seen + _BETWEEN):
                made.faults.append(chance.choice(strikes)(proxy))
            if not made.faults[-1].met:
                seen = len(proxy.exchanges)

    thread = threading.Thread(target=blow, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        done.set()
        thread.join()
        proxy.heal()
