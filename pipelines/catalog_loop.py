"""Catalogs of services, asked behind the rounds of a stream: from the warehouse, by a process of its own.

A round must not wait for a service. So its alerts are asked about when they are there, night by night, some at a time, until each
has its answer; nights that are not through are kept in the warehouse, and go on after a restart. What a service cannot answer now
is not written: it is asked again.

python -m pipelines.catalog_loop STREAM FLAGS.., which reads from its standard input the nights that rounds have written, a line
of JSON each, and ends with it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TextIO

import apache_beam as beam
import pyarrow.compute as pc
from apache_beam.options.pipeline_options import PipelineOptions

import warehouses
from alerts.catalogs.open import CatalogSettings
from pipelines import ingest, logs, runs_table, summary
from pipelines.behind import ask_runs, runs_since
from pipelines.catalogs import as_given, catalog_settings, of_services
from pipelines.filters import ReadAgain
from pipelines.job import Job
from pipelines.options import BrokerOptions, parse
from schemas.tables import FAILED
from transforms.crossmatch import CrossMatch
from transforms.elements import MatchBatch
from transforms.metrics import totals
from transforms.read_positions import ReadPositions
from transforms.write_tables import WriteTables
from warehouses.reachable import told
from warehouses.unmatched import UNANSWERED, Unmatched, Wanted
from warehouses.warehouse import Warehouse

_LOG = logging.getLogger(__name__)
_MOST_ALERTS = 20_000
"""Of one night that are asked about in one turn."""
_REST_SECS = 10.0
"""Between turns over nights that may have new alerts."""
_WAIT_SECS = (5.0, 600.0)
"""After a turn in which nothing was answered: at first, and at most."""
_SAY_EVERY_SECS = 60.0
_MOST_JUDGED = 60
"""Nights of which it is kept how far filters were asked."""

Night = tuple[str, date]
"""A survey, and a night of its alerts."""


@dataclass
class OpenNights:
    """Nights that may have alerts without an answer; kept in the warehouse, so that a restart forgets none."""

    stream: str
    nights: dict[Night, int] = field(default_factory=dict)
    """By night, how often it was named: one that is named while it is asked about is asked about again."""
    judged: dict[Night, str] = field(default_factory=dict)
    """By night, the newest run about whose alerts the filters were asked that ask what catalogs have answered."""
    newest_run: str = ""
    """Of the rounds whose nights were named; runs' names begin with their time."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    complete: threading.Event = field(default_factory=threading.Event)
    """No more nights will be named."""

    @classmethod
    def kept(cls, place: Warehouse, stream: str, surveys: Sequence[str]) -> OpenNights:
        """As it was kept, and the nights of rounds that have come since: whoever was killed could not name them."""
        found = cls(f"catalogs of {stream}")
        text = place.kept_plan(found.stream)
        if text is not None:
            plan = json.loads(text)
            found.newest_run = plan["newest_run"]
            found.nights = {(survey, date.fromisoformat(night)): 1 for survey, night in plan["nights"]}
            found.judged = {(survey, date.fromisoformat(night)): run_id for survey, night, run_id in plan.get("judged", ())}
        for survey in surveys if place.holds_tables() else ():
            if f"{survey}_alerts" in place.tables:
                sql = f"SELECT DISTINCT night FROM {survey}_alerts WHERE run_id > {{newest_run}}"
                for night in place.ask(sql, {"newest_run": found.newest_run}).read().column("night").to_pylist():
                    found.nights[survey, night] = 1
        return found

    def keep(self, place: Warehouse) -> None:
        """Write down what is left."""
        with self.lock:
            nights = [(survey, night.isoformat()) for survey, night in sorted(self.nights)]
            # Of an older night all alerts are asked about once more, should any come: what was said is said again.
            newest = sorted(self.judged.items(), key=lambda item: item[0][1])[-_MOST_JUDGED:]
            judged = [(survey, night.isoformat(), run_id) for (survey, night), run_id in newest]
            text = json.dumps({"newest_run": self.newest_run, "nights": nights, "judged": judged})
        place.keep_plan(self.stream, text)

    def named(self, line: str) -> None:
        """A round has written alerts of these nights."""
        said = json.loads(line)
        if said.get("complete"):
            self.complete.set()
            return
        with self.lock:
            self.newest_run = max(self.newest_run, said["run_id"])
            for survey, (first, last) in said["nights"].items():
                day = date.fromisoformat(first)
                while day <= date.fromisoformat(last):
                    self.nights[survey, day] = self.nights.get((survey, day), 0) + 1
                    day += timedelta(1)

    def newest_first(self) -> list[tuple[Night, int]]:
        """The nights, and how often each was named until now."""
        with self.lock:
            return sorted(self.nights.items(), key=lambda item: (item[0][1], item[0][0]), reverse=True)

    def through(self, night: Night, named: int) -> None:
        """Everything of a night has its answer that was there when it had been named so often."""
        with self.lock:
            if self.nights.get(night) == named:
                del self.nights[night]


@dataclass(frozen=True)
class Turn:
    """What became of the alerts of one night that were asked about."""

    asked: int
    """Questions: of alerts, and of catalogs."""
    answered: int
    full: bool
    """Whether there may be more than were asked about."""


def run(stream: str, argv: Sequence[str], lines: TextIO) -> None:
    """Ask, until there are no more lines to come; who has started this has ended then, however it has."""
    options = parse(argv)
    settings = of_services(catalog_settings(options.view_as(BrokerOptions), ""), wanted=True)
    job = Job.of_round(options)
    job.clean_up()
    surveys = job.sink.surveys
    filters = ReadAgain(options.view_as(BrokerOptions), job.all_filters, job.want, job.features)
    uri = options.view_as(BrokerOptions).warehouse
    patience = _Patience()
    backlog = _kept(uri, stream, surveys, patience)
    threading.Thread(target=_listen, args=(lines, backlog), daemon=True).start()
    # Far apart, so that each begins elsewhere.
    turns = itertools.count(step=1_009)
    while True:
        last = backlog.complete.is_set()
        for night, named in backlog.newest_first():
            if not (last or patience.due(night)):
                continue
            try:
                # Before: about what comes meanwhile nobody may have been asked.
                runs = runs_since(night, backlog.judged.get(night, ""), uri)
                turn = ask_night(night, settings, options, next(turns)) if settings else Turn(0, 0, full=False)
                if turn.asked == turn.answered and not turn.full and runs:
                    ask_runs(night, runs, options, filters)
                    backlog.judged[night] = runs[-1]
            except Exception as error:  # the warehouse, or whatever else may be away: nothing is lost by waiting
                turn = Turn(1, 0, full=False)
                patience.say(f"catalogs are asked again later: {told(error)}")
            if turn.asked == turn.answered and not turn.full:
                backlog.through(night, named)
            if patience.after(night, turn):
                patience.say(f"no catalog answers about alerts of {night[0]} of {night[1]}; they are asked again")
        with contextlib.suppress(Exception), warehouses.at(uri) as place:  # then after the next turn
            backlog.keep(place)
        if last:
            return
        backlog.complete.wait(_REST_SECS)


def _kept(uri: str, stream: str, surveys: Sequence[str], patience: _Patience) -> OpenNights:
    """The backlog, as soon as the warehouse tells it."""
    while True:
        try:
            with warehouses.at(uri) as place:
                return OpenNights.kept(place, stream, surveys)
        except Exception as error:  # what the service's client raises
            patience.say(f"catalogs are asked later: {told(error)}")
            time.sleep(_WAIT_SECS[0])


@dataclass
class _Patience:
    """When a night is asked about again of which nothing was answered; and what is wrong, said once a minute."""

    waits: dict[Night, tuple[float, float]] = field(default_factory=dict)
    """By night, until when, and how long that was."""
    said_at: float = -_SAY_EVERY_SECS

    def due(self, night: Night) -> bool:
        return time.monotonic() >= self.waits.get(night, (0.0, 0.0))[0]

    def after(self, night: Night, turn: Turn) -> bool:
        """Whether it must wait."""
        if turn.answered or not turn.asked:
            self.waits.pop(night, None)
            return False
        secs = min(2 * self.waits.get(night, (0.0, _WAIT_SECS[0] / 2))[1], _WAIT_SECS[1])
        self.waits[night] = (time.monotonic() + secs, secs)
        return True

    def say(self, text: str) -> None:
        if time.monotonic() - self.said_at >= _SAY_EVERY_SECS:
            self.said_at = time.monotonic()
            _LOG.warning("%s", text)


def ask_night(night: Night, settings: CatalogSettings, options: PipelineOptions, turn: int) -> Turn:
    """Ask about alerts of a night that have no answer; what is answered is written."""
    survey, day = night
    job = Job.of_round(options, comes_again=True)
    # As a stream writes, however its rounds do: turns come as they like.
    job = replace(job, sink=replace(job.sink, method=job.warehouse.write_methods[-1]))
    try:
        wanted = [Wanted(survey, day, spec.name, spec.radius_arcsec, UNANSWERED, _MOST_ALERTS, turn) for spec in settings.specs]
        unmatched = Unmatched(job.sink.warehouse)
        settings = replace(
            settings, run_id=job.run_id, newer_than=unmatched.last_asked_at(wanted), stop_file=f"{job.progress_folder}/stop-calls"
        )

        def build(pipeline: beam.Pipeline, job: Job) -> None:
            positions = pipeline | "Read" >> ReadPositions(wanted, unmatched)
            matches = positions | "CrossMatch" >> CrossMatch(settings) | "Answered" >> beam.FlatMap(answered)
            _ = {"matches": matches} | "WriteMatches" >> WriteTables(job.write_matches, job.run_id)

        with logs.of_run(job.run_id):
            counts = summary.count(job, totals(ingest.run_to_its_end(job, options, build)))
            found = [(each.matched + each.no_match, each.failed) for each in counts.catalogs.values()]
            if any(good for good, _ in found):
                asked = {**job.options, **as_given(settings.specs)}
                runs_table.write_run(replace(job, options=asked), counts, failed=False)
                ingest.tidy(job, in_rounds=True)
        good, bad = sum(each[0] for each in found), sum(each[1] for each in found)
        return Turn(good + bad, good, full=any(sum(each) >= _MOST_ALERTS for each in found))
    finally:
        job.clean_up()


def answered(batch: MatchBatch) -> Iterator[MatchBatch]:
    """Without the alerts about which the service could not be asked: they are asked about again."""
    rows = batch.rows.filter(pc.not_equal(batch.rows.column("status"), FAILED))
    if rows.num_rows:
        yield MatchBatch(rows)


def _listen(lines: TextIO, backlog: OpenNights) -> None:
    for line in lines:
        backlog.named(line)
    # In the middle of whatever it is: what a killed run leaves is whole.
    os._exit(0)


def main() -> None:
    """Entry point of ``python -m pipelines.catalog_loop``."""
    # Ctrl-C is for the stream, by whose end this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(0))
    stream, *argv = sys.argv[1:]
    with logs.to_stderr(logs.form_of(argv)):
        run(stream, argv, sys.stdin)


if __name__ == "__main__":
    # By its name, not as __main__, which workers could not import.
    from pipelines.catalog_loop import main as named_main

    named_main()
