"""Runs in processes of their own, which faults strike, and the audit of what they leave."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from broker import audit as audit_command
from tests.emulators import leash as leash_module
from tests.emulators.cloud import Cloud

HANGS_AFTER_SECS = 240
"""No run over these nights takes a fifth of it here: one that does not end by then never will."""


def bigquery_flags(cloud: Cloud, method: str) -> tuple[str, ...]:
    """Flags of an ingest into BigQuery of what 5,000 alerts are there in bearable time: no stamps, no history."""
    loads = f"{cloud.bucket}/loads"
    return ("--survey", "ztf", "--write_method", method, "--temp_location", loads, "--no_cutouts", "--no_history")


class Run:
    """One ``broker`` command in a process group of its own. ``child`` are options of ``tests.faults.child``."""

    def __init__(
        self, log: Path, *words: object, child: tuple[str, ...] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self._log = log
        # Whatever becomes of the tests, no run is left behind.
        leash = [sys.executable, "-S", str(Path(leash_module.__file__)), str(os.getpid())]
        command = [*leash, sys.executable, "-m", "tests.faults.child", *child, "--", *map(str, words)]
        self.begun = time.monotonic()
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                cwd=Path(__file__).parents[2],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def lives(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """What it printed."""
        return self._log.read_text(errors="replace")

    def wait_for(self, sign: Callable[[], object]) -> bool:
        """Wait for a sign, or for the end of the run; whether it lives."""
        while self.lives and not sign():
            assert time.monotonic() - self.begun < HANGS_AFTER_SECS, f"nothing happens:\n{self.said}"
            time.sleep(0.002)
        return self.lives

    def kill(self) -> bool:
        """SIGKILL for all its processes; whether they still lived."""
        if not self.lives:
            return False
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return True

    def end(self) -> int:
        """Wait for its end; gives its exit status. A run that hangs is killed, and an error."""
        try:
            return self.process.wait(HANGS_AFTER_SECS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the run hangs:\n{self.said}") from None

    @property
    def workers(self) -> list[int]:
        """The process ids of Beam's worker processes."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (folder / "cmdline").read_bytes().split(b"\0")
                if (
                    os.getpgid(int(folder.name)) == self.process.pid
                    and words[0].endswith(b"python")
                    and any(b"sdk_worker" in word for word in words)
                ):
                    found.append(int(folder.name))
        return sorted(found)


@dataclass(frozen=True)
class Verdict:
    """What ``broker audit`` says."""

    status: int
    records: int
    """Packets of the truth, each copy counted."""
    faults: dict[str, int]
    """By kind, those that there are."""
    information: Counter[str]

    @property
    def lost(self) -> int:
        """Packets that are neither a row as it was sent nor a dead letter that says why."""
        return sum(self.faults.get(kind, 0) for kind in ("missing", "altered", "dead_lettered", "missing_letters"))

    @property
    def doubled(self) -> int:
        return self.faults.get("doubled", 0)

    def must_be_whole(self) -> None:
        """Nothing lost, nothing doubled, no fault of another kind, and the command says so by its exit status."""
        assert (self.status, self.faults) == (0, {})


def audit(*words: object) -> Verdict:
    """``broker audit`` with these words, in this process."""
    parser = argparse.ArgumentParser()
    audit_command.add_arguments(parser)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = audit_command.main(parser.parse_args([*map(str, words), "--format", "json"]))
    counts = json.loads(said.getvalue())["counts"]
    faults = {kind: number for kind, number in counts["faults"].items() if number}
    return Verdict(status, counts["records"], faults, Counter(counts["information"]))
