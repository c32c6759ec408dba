"""Attacks run where they can do no harm: in a process of its own, with so much memory and so much time.

>>> within(64 * 2**20, 10, function, argument)   # what function(argument) gives
"""

from __future__ import annotations

import multiprocessing
import resource
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
# Imported once, and compiled, in a process without threads (Beam begins some, and a copy of such a process may wait for ever).
CONTEXT.set_forkserver_preload(["tests.alerts.attacks_ready"])


_BEGUN = "begun"
_BEGIN_SECS = 250
_END_SECS = 5


class TooMuch(AssertionError):
    """The process died, or took more than it was given."""


def within(memory_bytes: int, secs: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module gives, called in a process that may take so much more memory than it has, and so long.

    Raises ``TooMuch`` when the process is killed, by itself too, or raises; the limit is on addresses, not on pages in use.
    """
    here, there = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_run, args=(there, memory_bytes, function, arguments))
    process.start()
    there.close()
    try:
        # The first one of all waits for the process that is copied, which is to compile and import meanwhile.
        assert here.poll(_BEGIN_SECS), f"no process for {function.__name__} within {_BEGIN_SECS} s"
        assert here.recv() == _BEGUN
        if not here.poll(secs):
            raise TooMuch(f"{function.__name__} took longer than {secs:g} s")
        raised, value = here.recv()
        # Which lines it ran (make coverage) is written down as it ends.
        process.join(_END_SECS)
    except EOFError:
        process.join(10)
        raise TooMuch(f"{function.__name__} ended the process, exit code {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        here.close()
    if raised:
        raise TooMuch(f"{function.__name__} raised {raised}")
    return value


def _run(connection: Connection, memory_bytes: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    with open("/proc/self/statm", encoding="ascii") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (held + memory_bytes, most))
    connection.send(_BEGUN)
    try:
        answer = None, function(*arguments)
    except BaseException:
        answer = traceback.format_exc(), None
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    connection.send(answer)
    connection.close()
