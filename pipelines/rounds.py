"""A stream in rounds: again and again the ordinary batch pipeline, over what has come since.

A round writes its rows and, with them, how far it has read. So one that dies leaves nothing, and is done again; the warehouse,
not who sends, says where to go on.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

import warehouses
from alerts.filters.filter_set import FilterSet
from pipelines import ingest, logs, remote, runs_table, sources, summary
from pipelines.catalog_process import CatalogProcess
from pipelines.catalogs import catalog_settings, of_services
from pipelines.ending import ending_event
from pipelines.errors import OptionsError
from pipelines.filters import ReadAgain
from pipelines.job import Job
from pipelines.kafka_source import KafkaStream
from pipelines.options import BrokerOptions, RoundsOptions
from pipelines.outlets import make_topics
from pipelines.pubsub_source import PubsubStream
from pipelines.round_metrics import RoundMetrics, serving
from pipelines.round_source import Round, RoundSource
from pipelines.sender import Sender
from pipelines.status import DONE, FAILED, INTERRUPTED
from pipelines.unrecorded import record
from pipelines.watch_source import WatchedFiles
from streams.errors import StreamAway, StreamProblem, StreamStops
from streams.said import Said
from transforms.metrics import BYTES_READ, totals
from warehouses import InputsTaken, QueryError, StaleRun
from warehouses.reachable import told

_LOG = logging.getLogger(__name__)
_WAIT_SECS = (1.0, 30.0)
"""After what failed: at first, and at most."""
_LOOK_SECS = 5.0
"""Where there is nothing to read, it is looked again after so long, however seldom a round may begin."""
_FAILED_ACCOUNTS = 3
"""Rounds whose account does not balance, one after another, before the stream stops: it would lose or double something.
And of whatever fails, where the stream is to end by itself."""


def run(options: PipelineOptions, argv: Sequence[str], each: Callable[[summary.Summary], None] = lambda counts: None) -> int:
    """Read until somebody ends it; gives the exit status. ``options`` are those of ``argv``; ``each`` hears of every round.

    Raises ``OptionsError`` before anything starts.
    """
    broker, rounds = options.view_as(BrokerOptions), options.view_as(RoundsOptions)
    of_kind = _SOURCES[sources.named(options)]
    job = Job.of_round(options, of_kind.comes_again)
    job.clean_up()
    remote.check(job, options)
    make_topics(job.warehouse.uri, job.addresses)
    every_secs = _every_secs(rounds, job, of_kind.comes_again)
    try:
        stream = of_kind.from_options(options)
    except StreamProblem as error:
        raise OptionsError(str(error)) from error
    with logs.of_run(job.run_id), stream:
        try:
            with (
                job.warehouse.claim(job.run_id, stream.claims),
                ending_event(broker.stop_after_secs) as ending,
                _catalogs(options, stream, argv) as catalogs,
                serving(rounds.metrics_port) as metrics,
                _sender(job) as sender,
            ):
                rounds_of_it = _Rounds(
                    options, job, stream, every_secs, ending, catalogs=catalogs, metrics=metrics, sender=sender
                )
                rounds_of_it.each = each
                return rounds_of_it.run()
        except StaleRun as error:
            logs.failed("broker ingest", str(error))
            return FAILED
        except InputsTaken as error:
            raise OptionsError(f"{stream.flag}: {error}") from error
        except OptionsError:
            raise
        except Exception as error:
            logs.failed("broker ingest", f"the stream failed: {told(error)}", exc_info=True)
            return FAILED
        except KeyboardInterrupt:
            logs.failed("broker ingest", f"interrupted; {job.warehouse.when_interrupted}")
            return INTERRUPTED


_SOURCES: dict[str, type[KafkaStream | PubsubStream | WatchedFiles]] = {
    "kafka": KafkaStream,
    "watch": WatchedFiles,
    "subscription": PubsubStream,
    "topic": PubsubStream,
}
"""By the flag that names what is read."""


def _every_secs(rounds: RoundsOptions, job: Job, comes_again: bool) -> float:
    """How often a round begins: a warehouse takes it whole only so often, one whose rows may show as they come at any time."""
    least = job.warehouse.round_secs[job.sink.method]
    secs: float = max(5.0, least) if rounds.every_secs is None else rounds.every_secs
    if secs <= 0:
        raise OptionsError(f"--every_secs is {secs:g}; give a number of seconds above 0")
    if secs < least and not (comes_again and job.sink.method == "storage_write"):
        raise OptionsError(
            f"--every_secs is {secs:g}, but {job.sink.method} into {job.warehouse.uri} takes a round every {least:g} s at most"
        )
    return secs


def _catalogs(options: PipelineOptions, stream: RoundSource, argv: Sequence[str]) -> CatalogProcess | nullcontext[None]:
    """What asks the services, and the filters that ask what catalogs have answered. Raises ``OptionsError``."""
    broker = options.view_as(BrokerOptions)
    catalogs = catalog_settings(broker, "")
    asked = of_services(catalogs, wanted=True)
    # Filters that ask what catalogs have answered may come while the stream runs.
    return CatalogProcess(stream.name, argv) if asked or (broker.filters and catalogs) else nullcontext()


def _sender(job: Job) -> Sender | nullcontext[None]:
    """What sends the hits."""
    return Sender(job.warehouse.uri, job.addresses) if job.outlets else nullcontext()


class _AccountFailed(Exception):
    """Why the account of a round does not balance."""


class _Rounds:
    """The rounds of one stream, one after another."""

    def __init__(
        self,
        options: PipelineOptions,
        job: Job,
        stream: RoundSource,
        every_secs: float,
        ending: threading.Event,
        *,
        catalogs: CatalogProcess | None,
        metrics: RoundMetrics | None,
        sender: Sender | None,
    ) -> None:
        self._surveys, self._given = job.sink.surveys, job.options
        self._catalogs, self._metrics, self._sender = catalogs, metrics, sender
        self._options, self._stream, self._every_secs, self._ending = options, stream, every_secs, ending
        self._broker, self._how = options.view_as(BrokerOptions), options.view_as(RoundsOptions)
        self._number, self._failed_accounts = 0, 0
        self._began_at = -math.inf
        """Of the newest round."""
        self._found_nothing = False
        self._noted: FilterSet | None = None
        self._filters = ReadAgain(self._broker, job.all_filters, job.want, job.features)
        self._said = Said(_LOG)
        self.each: Callable[[summary.Summary], None] = lambda counts: None

    def run(self) -> int:
        begun = self._until_it_works(self._begin)
        if begun is None:
            return DONE
        while not self._ending.is_set():
            try:
                behind = self._until_it_works(self._round)
            except (_AccountFailed, StreamStops) as error:
                logs.failed("broker ingest", f"the stream stops, since going on would lose something: {error}")
                return FAILED
            if not behind and self._how.once and not self._stream.waits:
                if self._catalogs is not None:
                    self._catalogs.finish(self._ending)
                return DONE
            if self._catalogs is not None:
                self._catalogs.keep_alive()
            if not behind:
                self._ending.wait(self._wait_secs())
        return DONE

    def _wait_secs(self) -> float:
        """How long to wait before looking again: so often may be looked, and only every so many seconds may a round begin."""
        least = min(self._every_secs, _LOOK_SECS) if self._found_nothing else 0.0
        return max(least, self._began_at + self._every_secs - time.monotonic())

    def _begin(self) -> bool:
        """Where the stream goes on."""
        with warehouses.at(self._broker.warehouse) as place:
            place.prepare(self._surveys)
            self._stream.begin(place)
            record(place, self._stream.name, self._stream.unrecorded(place), self._given)
        return True

    def _until_it_works(self, work: Callable[[], Any]) -> Any:
        """What a piece of work gives, tried again until it succeeds; None where the stream is told to end."""
        wait, failures = _WAIT_SECS[0], 0
        while not self._ending.is_set():
            try:
                return work()
            except (_AccountFailed, StaleRun, StreamStops, KeyboardInterrupt):
                raise
            except (StreamAway, QueryError, InputsTaken) as error:
                self._said.say(f"waiting: {error}")
            except Exception as error:
                failures += 1
                if self._how.once and failures == _FAILED_ACCOUNTS:
                    raise
                # A full disk, a service that is away: nothing is lost by waiting, the round is done again.
                self._said.say(f"the round failed and is done again: {told(error)}")
                _LOG.debug("the round failed", exc_info=True)
            if self._metrics is not None:
                self._metrics.failed()
            self._ending.wait(wait)
            wait = min(2 * wait, _WAIT_SECS[1])
        return None

    def _round(self) -> bool:
        """One round, if there is anything to read; gives whether there is more already."""
        with warehouses.at(self._broker.warehouse) as place:
            found = self._stream.next(place, self._how.round_mb * 1e6)
            if self._metrics is not None and self._catalogs is not None:
                self._metrics.look_at_catalogs(place, self._stream.name)
        self._found_nothing = found is None
        if found is None:
            if self._metrics is not None:
                self._metrics.nothing()
            return False
        began = self._began_at = time.monotonic()
        counts, size_bytes = self._ingest(found)
        found.done(size_bytes)
        if self._catalogs is not None and counts.nights:
            self._catalogs.tell(counts.run_id, counts.nights)
        self._number += 1
        secs = time.monotonic() - began
        self._tell(found, counts, secs)
        return found.behind > 0

    def _tell(self, found: Round, counts: summary.Summary, secs: float) -> None:
        """Say what a round has done: to who called, to a person, to who reads logs, to Prometheus."""
        self.each(counts)
        if self._metrics is not None:
            self._metrics.done(found, counts, secs)
        about = {"run_id": counts.run_id, "round": self._number, "behind": found.behind, "seconds": round(secs, 3)}
        about |= {"records": counts.records_read, "alerts": counts.alerts, "dead_letters": counts.letters}
        _LOG.info("round %d is done", self._number, extra=about)
        print(
            f"round {self._number}: {found.size:,} {self._stream.counted}, {counts.alerts:,} alerts, {counts.letters:,} dead "
            f"letters, {secs:.1f} s, {found.behind:,} behind",
            flush=True,
        )

    def _ingest(self, found: Round) -> tuple[summary.Summary, int]:
        """Rows of what a round reads, and that it was read; gives the account and the bytes."""
        job = self._job_of(found)
        job = replace(job, filters_noted=job.all_filters == self._noted)
        try:
            result = ingest.run_to_its_end(job, self._options)
            read = totals(result)
            counts = summary.count(job, read)
            problem = counts.problem(job.max_dead_letters)
            runs_table.write_run(job, counts, failed=problem is not None)
            if problem:
                self._failed_accounts += 1
                if self._failed_accounts >= _FAILED_ACCOUNTS:
                    raise _AccountFailed(problem)
                raise RuntimeError(problem)
            self._failed_accounts, self._noted = 0, job.all_filters
            if self._sender is not None:
                self._sender.tell(job.run_id, job.addresses)
            ingest.tidy(job, in_rounds=True)
            return counts, read.total(BYTES_READ)
        finally:
            job.clean_up()

    def _job_of(self, found: Round) -> Job:
        job = Job.of_round(self._options, self._stream.comes_again, self._filters).reading(found.read, found.inputs, found.units)
        return job.noting(found.beside(job.run_id)) if found.beside else job
