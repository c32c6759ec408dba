"""Catalogs asked again about alerts that are in the warehouse: what failed, or a new catalog about old nights.

    broker rematch --warehouse ./warehouse
    broker rematch --warehouse ./warehouse --crossmatch vizier:B/vsx/vsx --night 2026-11-01..2026-11-30

Doing it again changes nothing: what has an answer is not asked, and the newest row of an alert and catalog counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from alerts.catalogs.catalog import BadCatalog
from alerts.catalogs.defaults import CATALOG_EPOCH
from alerts.catalogs.known import KNOWN
from alerts.catalogs.open import looked_for_arcsec
from alerts.catalogs.spec import CatalogSpec, watchlist_name
from alerts.lists.watchlists import parse_watchlist
from pipelines import account, ingest, logs, remote, runs_table, summary
from pipelines.catalogs import as_given, catalog_settings
from pipelines.errors import OptionsError
from pipelines.from_warehouse import check_warehouse, run_planned
from pipelines.help import help_text
from pipelines.job import Job
from pipelines.nights import nights
from pipelines.options import AgainOptions, BrokerOptions, parse
from pipelines.status import DONE
from transforms.crossmatch import CrossMatch
from transforms.files import open_file
from transforms.metrics import totals
from transforms.read_positions import ReadPositions
from transforms.write_tables import WriteTables
from warehouses.unmatched import ALL, FAILED_ONES, UNANSWERED, Unmatched, Wanted

_NOTHING = "there is nothing to ask: every alert has its answers"


def run(argv: Sequence[str]) -> int:
    """Run one rematch with these command-line arguments; gives the exit status."""
    if "--help" in argv or "-h" in argv:
        print(help_text("broker rematch"))
        return DONE
    with logs.to_stderr(logs.form_of(argv)):
        return _from_argv(argv)


def _from_argv(argv: Sequence[str]) -> int:
    def planned() -> tuple[Job, Callable[[], int]]:
        options = parse(argv, "broker rematch")
        job, questions = plan(options)
        return job, lambda: _run(job, questions, options)

    return run_planned("broker rematch", planned)


@dataclass(frozen=True)
class Questions:
    """Catalogs to ask together, and the alerts to ask each about."""

    crossmatch: CrossMatch
    wanted: list[Wanted]


def plan(options: PipelineOptions) -> tuple[Job, list[Questions]]:
    """The job, and what it asks. Raises ``OptionsError``."""
    rematch, broker = options.view_as(AgainOptions), options.view_as(BrokerOptions)
    first, last = nights(rematch.night)
    if rematch.again and not (broker.crossmatch or broker.watchlist):
        raise OptionsError("--again is given without --crossmatch or --watchlist; say which catalogs to ask again")
    check_warehouse(broker.warehouse, "alerts", lambda warehouse: warehouse.holds_tables() and bool(warehouse.surveys))
    job = Job.to_rematch(options)
    if job.progress_folder is None:
        raise OptionsError("--runner is given, but a rematch runs on this machine, which reads the warehouse; leave it out")
    remote.check(job, options)
    unmatched = Unmatched(job.sink.warehouse)
    if job.crossmatch is not None:
        which = ALL if rematch.again else UNANSWERED
        wanted = unmatched.wanted(_as_in_rows(job.crossmatch.settings.specs), first, last, which, job.survey)
        return job, [Questions(job.crossmatch, wanted)]
    failed = [_as_asked(unmatched, name, radius) for name, radius in unmatched.failed_catalogs(first, last, job.survey)]
    made = []
    for asked in _together(failed):
        crossmatch = _crossmatch(job, broker, asked)
        wanted = unmatched.wanted(crossmatch.settings.specs, first, last, FAILED_ONES, job.survey)
        made.append(Questions(crossmatch, wanted))
    return job, made


def _as_in_rows(specs: Sequence[CatalogSpec]) -> list[CatalogSpec]:
    """Catalogs with the radius that their rows have: where sources have their own, the largest. Raises ``OptionsError``."""
    try:
        return [replace(spec, radius_arcsec=looked_for_arcsec(spec, open_file)) for spec in specs]
    except BadCatalog as error:
        raise OptionsError(str(error)) from error


@dataclass(frozen=True)
class _Asked:
    """How a catalog was asked that has failed."""

    catalog: str
    spec: str
    """As ``--crossmatch`` takes it, or ``--watchlist``, with all parameters."""
    epoch: str
    """As ``--crossmatch_epoch`` takes it."""


def _together(failed: Sequence[_Asked]) -> list[list[_Asked]]:
    """Those that can be asked together: at one epoch, and each catalog with one radius."""
    questions: list[list[_Asked]] = []
    for row in failed:
        for others in questions:
            if others[0].epoch == row.epoch and all(other.catalog != row.catalog for other in others):
                others.append(row)
                break
        else:
            questions.append([row])
    return questions


def _as_asked(unmatched: Unmatched, name: str, radius_arcsec: float) -> _Asked:
    """A catalog that has failed, with the parameters, radius and epoch that it was asked with. Raises ``OptionsError``."""
    before = unmatched.options_of(name)
    # A run's options have what differs from the defaults.
    epoch = before.get("crossmatch_epoch", CATALOG_EPOCH)
    if list_name := watchlist_name(name):
        said = next((text for text in before.get("watchlist") or [] if text.partition("=")[0] == list_name), None)
        if said is None:
            raise OptionsError(f"no run says which file {name} is; give it: --watchlist {list_name}=FILE")
        return _Asked(name, replace(parse_watchlist(said, radius_arcsec), radius_arcsec=radius_arcsec).text, epoch)
    full = next((spec for spec in before.get("crossmatch") or [] if spec.partition("?")[0] == name), None)
    if full is None and name.startswith("vizier:") and name not in KNOWN:
        raise OptionsError(f"{name} is not in our list, and no run says how it was asked; give it: --crossmatch '{name}?...'")
    parameters = [
        parameter
        for parameter in (full or "").partition("?")[2].split("&")
        if parameter and not parameter.startswith("radius_arcsec=")
    ]
    spec = f"{name}?{'&'.join([*parameters, f'radius_arcsec={radius_arcsec!r}'])}"
    return _Asked(name, spec, epoch)


def _crossmatch(job: Job, broker: BrokerOptions, asked: Sequence[_Asked]) -> CrossMatch:
    """The question to catalogs that are asked at one epoch."""
    broker.crossmatch_epoch = asked[0].epoch
    broker.crossmatch = [request.spec for request in asked if not watchlist_name(request.catalog)]
    broker.watchlist = [request.spec for request in asked if watchlist_name(request.catalog)]
    settings = catalog_settings(broker, job.run_id)
    broker.crossmatch = broker.watchlist = None
    if settings is None:
        raise OptionsError("nothing has failed")
    return CrossMatch(replace(settings, stop_file=f"{job.progress_folder}/stop-calls"))


def _run(job: Job, questions: list[Questions], options: PipelineOptions) -> int:
    said = False
    for number, some in enumerate(questions):
        # Each is counted by itself, and opens its own catalogs.
        run_id = f"{job.run_id}-{number + 1}" if number else job.run_id
        last = Unmatched(job.sink.warehouse).last_asked_at(some.wanted)
        crossmatch = replace(some.crossmatch, settings=replace(some.crossmatch.settings, run_id=run_id, newer_than=last))
        with logs.of_run(run_id):
            said = _ask(job, crossmatch, some.wanted, options) or said
    if not said:
        print(_NOTHING)
    return DONE


def _ask(job: Job, crossmatch: CrossMatch, wanted: list[Wanted], options: PipelineOptions) -> bool:
    """Whether there was anything to ask; what became of it is printed."""
    if not wanted:
        return False

    def build(pipeline: beam.Pipeline, job: Job) -> None:
        positions = pipeline | "Read" >> ReadPositions(wanted, Unmatched(job.sink.warehouse))
        matches = positions | "CrossMatch" >> crossmatch
        _ = {"matches": matches} | "WriteMatches" >> WriteTables(job.write_matches, job.run_id)

    settings = crossmatch.settings
    asked = {**job.options, **as_given(settings.specs), "crossmatch_epoch": settings.epoch}
    result = ingest.run_to_its_end(job, options, build)
    job = replace(job, run_id=settings.run_id, options=asked)
    counts = summary.count(job, totals(result))
    if not counts.catalogs:
        return False
    runs_table.write_run(job, counts, failed=False)
    print("\n".join([f"run {job.run_id}", *account.crossmatch_lines(counts)]))
    for warning in account.warnings(counts):
        print(f"  warning: {warning.text}")
    account.log(counts)
    return True
