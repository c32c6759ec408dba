"""The process beside a stream that asks catalogs of services: begun with the stream, told of its nights, ended with it."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import date
from types import TracebackType

_LOG = logging.getLogger(__name__)
_END_SECS = 10.0
_LOOK_SECS = 0.2
_AGAIN_SECS = 60.0


class CatalogProcess:
    """A process of ``pipelines.catalog_loop``. Also a context manager."""

    def __init__(self, stream: str, argv: Sequence[str]) -> None:
        self._command = [sys.executable, "-m", "pipelines.catalog_loop", stream, *argv]
        self._process: subprocess.Popen[str] | None = None
        self._begun_at = 0.0

    def __enter__(self) -> CatalogProcess:
        self._begin()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is None:
            return
        # It ends with its input. What it had in hand it does again when the stream goes on.
        try:
            self._process.communicate(timeout=_END_SECS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _begin(self) -> None:
        self._begun_at = time.monotonic()
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, text=True)  # noqa: S603 - ourselves

    def keep_alive(self) -> None:
        """Begin it again where it has died, once a minute at most."""
        if self._process is None or self._process.poll() is None or time.monotonic() - self._begun_at < _AGAIN_SECS:
            return
        _LOG.warning("what asks the catalogs has ended with %s, and begins again", self._process.returncode)
        self._begin()

    def tell(self, run_id: str, nights: Mapping[str, tuple[date, date]]) -> None:
        """A round has written alerts of these nights, by survey from the first to the last."""
        self._say(
            run_id=run_id, nights={survey: [first.isoformat(), last.isoformat()] for survey, (first, last) in nights.items()}
        )

    def finish(self, ending: threading.Event) -> None:
        """Wait until all nights were asked about once more; not longer than until somebody ends the stream."""
        self._say(complete=True)
        while self._process is not None and self._process.poll() is None and not ending.wait(_LOOK_SECS):
            pass

    def _say(self, **what: object) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            # It has died. When it begins again it looks for what has come since.
            self.keep_alive()
