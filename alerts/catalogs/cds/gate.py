"""Who may call a service, and when: a limit on calls in flight, rest for what fails, and a full stop after a ban.

One gate per run and worker process. That calls stay within the limit on all workers together is the work of
``transforms.crossmatch``, which deals positions to as many keys as there may be calls.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from alerts.catalogs.catalog import Banned, Unavailable

FAILURES_TO_OPEN = 3
FIRST_REST_SECS = 30.0
LONGEST_REST_SECS = 600.0
FIRST_PAUSE_SECS = 2.0


class LeftAlone(Unavailable):
    """Nobody was called: the service has failed too often just now."""


@dataclass
class _Breaker:
    failures: int = 0
    rest_secs: float = FIRST_REST_SECS
    closed_again_at: float = 0.0
    probing: bool = False
    last: str = ""


def _never() -> bool:
    return False


def _nobody() -> None:
    pass


class Gate:
    """Lets calls through one by one. Shared by the threads of a process."""

    def __init__(
        self,
        concurrency: int,
        rest_secs: float = FIRST_REST_SECS,
        stopped_elsewhere: Callable[[], bool] = _never,
        tell_others: Callable[[], None] = _nobody,
    ) -> None:
        """``stopped_elsewhere`` and ``tell_others`` share a ban with the other processes of a run."""
        self._slots = threading.BoundedSemaphore(concurrency)
        self._rest_secs = rest_secs
        self._stopped_elsewhere, self._tell_others = stopped_elsewhere, tell_others
        self._banned = ""
        self._breakers: dict[str, _Breaker] = {}
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def call(self, catalog: str) -> Iterator[None]:
        """Hold a place among the calls in flight for the body, and learn from how the body ends.

        Raises ``Banned`` and ``LeftAlone`` where there must be no call now.
        """
        with self._slots:
            # Asked when the place is free, not before: a ban may have come while we waited for it.
            self._check(catalog)
            try:
                yield
            except Banned as error:
                self._ban(str(error))
                raise
            except Exception as error:
                # A question that is refused counts too: the service says 400 when something of its own went wrong.
                self._failed(catalog, str(error))
                raise
            self._worked(catalog)

    def _check(self, catalog: str) -> None:
        if not self._banned and self._stopped_elsewhere():
            self._banned = "the service has shut out another worker of this run (403)"
        if self._banned:
            raise Banned(f"{catalog} was not asked: {self._banned}; find out why, then run broker rematch")
        with self._lock:
            breaker = self._breakers.setdefault(catalog, _Breaker(rest_secs=self._rest_secs))
            if breaker.failures < FAILURES_TO_OPEN:
                return
            if breaker.probing or time.monotonic() < breaker.closed_again_at:
                raise LeftAlone(f"{catalog} was not asked: it failed {breaker.failures} times in a row, last: {breaker.last}")
            breaker.probing = True

    def _failed(self, catalog: str, why: str) -> None:
        with self._lock:
            breaker = self._breakers[catalog]
            breaker.failures += 1
            breaker.last = why
            if breaker.failures >= FAILURES_TO_OPEN:
                breaker.closed_again_at = time.monotonic() + breaker.rest_secs
                if breaker.probing:
                    breaker.rest_secs = min(breaker.rest_secs * 2, LONGEST_REST_SECS)
            breaker.probing = False

    def _worked(self, catalog: str) -> None:
        with self._lock:
            self._breakers[catalog] = _Breaker(rest_secs=self._rest_secs)

    def _ban(self, why: str) -> None:
        self._banned = why
        self._tell_others()


def pause_secs(attempt: int, longest_secs: float, asked_for_secs: float | None) -> float:
    """How long to wait before another try: full jitter, or what the service asked for if that is not longer than ours.

    Raises nothing; a wish beyond ``longest_secs`` is cut, the breaker keeps us away for longer.
    """
    if asked_for_secs is not None:
        return min(max(asked_for_secs, 0.0), longest_secs)
    return random.uniform(0, min(longest_secs, FIRST_PAUSE_SECS * 2.0 ** (attempt - 1)))
