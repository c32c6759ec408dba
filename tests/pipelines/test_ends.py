"""How runs end, and what they say while they last: interrupted, left with small files, out of step with others."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from pipelines import account, ingest, progress
from pipelines.errors import OptionsError
from pipelines.from_warehouse import run_planned
from pipelines.job import Job
from pipelines.options import parse
from pipelines.status import INTERRUPTED
from pipelines.summary import Summary
from transforms.progress import Progress
from warehouses import InputsTaken


def job_of(folder: Path, *flags: str) -> Job:
    """A run over one file that is no alert."""
    packet = folder / "a.avro"
    packet.write_bytes(b"Obj")
    return Job.from_options(parse(["--input", str(packet), "--warehouse", str(folder / "w"), *flags]))


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.0 s"), (-59.94, "-59.9 s"), (60, "1.0 min"), (5400, "1.5 h"), (-129_600, "-1.5 days")]
)
def test_durations_are_told_in_their_own_unit(seconds: float, words: str) -> None:
    assert account._duration(seconds) == words


def test_rows_of_others_over_the_same_inputs_are_a_problem() -> None:
    now = datetime(2026, 9, 17, tzinfo=timezone.utc)
    counts = Summary("mine", now, now, records_read=0, inputs_skipped=0, surveys={}, dead_letters={})
    assert counts.problem(1.0) is None
    said = replace(counts, others=("theirs",)).problem(1.0)
    assert said == "run theirs has written rows of the same inputs at the same time; run the same command again, alone"


def test_an_interrupted_rematch_says_that_what_is_there_is_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = job_of(tmp_path)

    def interrupt() -> int:
        raise KeyboardInterrupt

    assert run_planned("broker rematch", lambda: (job, interrupt)) == INTERRUPTED
    said = "interrupted; what is in the warehouse is whole: run the same command again for the rest"
    assert [record.getMessage() for record in caplog.records][-1] == said
    assert job.progress_folder is not None
    assert not Path(job.progress_folder).exists()


def test_a_run_whose_small_files_cannot_be_put_together_is_done_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = job_of(tmp_path)

    def taken(_: object, run_id: str, in_rounds: bool) -> None:
        raise InputsTaken("another run compacts this night")

    monkeypatch.setattr(type(job.warehouse), "tidy", taken)
    ingest.tidy(job)
    [said] = [record.getMessage() for record in caplog.records if "small files" in record.getMessage()]
    assert said == "the warehouse's small files stay as they are: another run compacts this night"
    job.clean_up()


class Terminal(io.StringIO):
    """A stream that people look at."""

    def isatty(self) -> bool:
        return True


class Looks:
    """Of the event that ends a progress line: so many looks before it."""

    def __init__(self, number: int) -> None:
        self.left = number

    def wait(self, _: float) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize(
    ("form", "stream", "shown"),
    [
        ("text", Terminal(), ["\r5 alerts of 1 input, ", "\r5 alerts of 1 input, ", "\r" + " " * 70 + "\r"]),
        ("text", io.StringIO(), ["5 alerts of 1 input, ", "5 alerts of 1 input, "]),
        ("json", Terminal(), []),
    ],
)
def test_how_far_a_run_has_come_is_told_as_its_reader_wants_it(
    form: str, stream: Any, shown: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, progress.__name__)
    job = job_of(tmp_path, "--log_format", form)
    counted = Progress(job.progress_folder)
    counted.add(5)
    progress._show(job, stream, Looks(2))
    text = stream.getvalue()
    for piece in shown:
        assert piece in text
        text = text[text.index(piece) + len(piece) :]
    assert bool(stream.getvalue()) == bool(shown)
    logged = [record.alerts for record in caplog.records if record.name == progress.__name__]
    assert logged == ([] if shown else [5, 5])
    job.clean_up()


def test_a_stream_has_no_number_of_alerts() -> None:
    words = ["--subscription", "projects/p/subscriptions/s", "--warehouse", "bigquery://p/d", "--max_alerts", "5"]
    with pytest.raises(OptionsError, match="--max_alerts is for files; a stream is ended by --stop_after_secs"):
        Job.from_options(parse(words))
