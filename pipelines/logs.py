"""What a run says on stderr: lines for a person, or JSON by the line, whose fields Cloud Logging knows. Never a credential.

https://cloud.google.com/logging/docs/structured-logging: ``severity``, ``message`` and ``time`` (RFC 3339) are the entry's own,
other fields become its ``jsonPayload``: ``run_id``, and where they are known ``stage``, ``survey``, ``source``, ``catalog``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from alerts.secrets import redact, redacted

TEXT, JSON = "text", "json"
FORMATS = (TEXT, JSON)
_OURS = ("alerts", "audit", "broker", "pipelines", "simulation", "streams", "transforms", "warehouses")
_run_id = ""


class _Stderr(logging.StreamHandler):
    """Writes to what is stderr when it writes; skips what a person reads in the account on stdout."""

    form = TEXT

    @property
    def stream(self) -> Any:
        return sys.stderr

    @stream.setter
    def stream(self, value: Any) -> None:
        pass

    def filter(self, record: logging.LogRecord) -> bool:
        if self.form == TEXT and getattr(record, "in_account", False):
            return False
        return bool(super().filter(record))


class _TextLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        if hasattr(record, "command"):
            # The program speaks: one sentence.
            return redact(f"{record.command}: {record.getMessage()}")
        return redact(super().format(record))


class _JsonLines(JsonFormatter):
    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        if _run_id:
            log_data.setdefault("run_id", _run_id)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in redacted(log_data).items() if value is not None and name != "in_account"}


def _formatter(form: str) -> logging.Formatter:
    if form == TEXT:
        return _TextLines("%(levelname)s %(name)s: %(message)s")
    renamed = {"levelname": "severity", "name": "logger", "exc_info": "stack_trace"}
    return _JsonLines("%(levelname)s%(message)s%(name)s", rename_fields=renamed, timestamp="time", json_ensure_ascii=False)


def form_of(argv: Sequence[str]) -> str:
    """The ``--log_format`` of a command line, before anything is known of its other words."""
    given = [after for word, after in itertools.pairwise(argv) if word == "--log_format"]
    given += [word.partition("=")[2] for word in argv if word.startswith("--log_format=")]
    return JSON if JSON in given[-1:] else TEXT


@contextlib.contextmanager
def to_stderr(form: str, verbose: bool = False) -> Iterator[None]:
    """Log to stderr in this form while the body works; ``verbose``: what Beam tells of its progress, too.

    Within another such context the form changes, and nothing is said twice.
    """
    root = logging.getLogger()
    mine = next((handler for handler in root.handlers if isinstance(handler, _Stderr)), None)
    handler = mine or _Stderr()
    before = handler.form, handler.formatter, handler.level
    handler.form = form
    handler.setFormatter(_formatter(form))
    level = logging.INFO if verbose or form == JSON else logging.WARNING
    handler.setLevel(level if mine is None else min(level, handler.level))
    # Where others listen too (a notebook, whoever called logging.basicConfig), they hear no more than we show.
    loud = [*(_OURS if level == logging.INFO else ()), *([None] if verbose else [])]
    levels = {name: logging.getLogger(name).level for name in loud}
    for name in loud:
        logging.getLogger(name).setLevel(logging.INFO)
    if mine is None:
        root.addHandler(handler)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        if mine is None:
            root.removeHandler(handler)
        handler.form, handler.formatter = before[:2]
        handler.setLevel(before[2])


@contextlib.contextmanager
def of_run(run_id: str) -> Iterator[None]:
    """Let every line that is logged here meanwhile have the run's id."""
    global _run_id  # noqa: PLW0603 - a run has many threads, Beam's among them
    before, _run_id = _run_id, run_id
    try:
        yield
    finally:
        _run_id = before


def failed(command: str, message: str, *, exc_info: bool = False) -> None:
    """Say why a command has failed, in one sentence; JSON lines have the traceback of the error that is being handled, too."""
    logging.getLogger(__name__).error("%s", message, exc_info=exc_info, extra={"command": command})


def warn(command: str, message: str, **about: str) -> None:
    """Say what a person should know, in one sentence, while the command goes on."""
    logging.getLogger(__name__).warning("%s", message, extra={"command": command, **about})
