"""The catalogs of a run, opened once per worker process and shared by its threads."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO

from alerts.catalogs.asking import Asker, delta_arcsec
from alerts.catalogs.cache import AnchorCache
from alerts.catalogs.catalog import Candidates, Catalog, Floats, SourceColumns
from alerts.catalogs.cds.client import CdsCatalog, Service, declared
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.defaults import CATALOG_EPOCH, CROSSMATCH_URL, DEADLINE_SECS, OBSERVED_EPOCH
from alerts.catalogs.spec import CatalogSpec

if TYPE_CHECKING:
    from alerts.catalogs.files.local import LocalCatalog

Opener = Callable[[str], BinaryIO]

_LOG = logging.getLogger(__name__)
_RUNS_AT_ONCE = 4
_OPEN: OrderedDict[str, Askers] = OrderedDict()
_LOCK = threading.Lock()


@dataclass(frozen=True)
class CatalogSettings:
    """What a run asks, and how."""

    run_id: str
    specs: tuple[CatalogSpec, ...]
    epoch: str = CATALOG_EPOCH
    url: str = CROSSMATCH_URL
    concurrency: int = 2
    """Calls of services in flight at once, on all workers together."""
    deadline_secs: float = DEADLINE_SECS
    cache_arcsec: float = 1.0
    """How far from where it was asked an answer is used again; 0: nowhere else."""
    stop_file: str | None = None
    """Written when a service shuts us out, for the other workers of the run to see."""
    newer_than: datetime | None = None
    """The rows' ``asked_at`` is later: a clock that was put back must not make a new answer the older one."""


@dataclass(frozen=True)
class Askers:
    """The catalogs of a run: in files, and behind services."""

    files: tuple[Asker, ...]
    services: tuple[Asker, ...]


def check(spec: CatalogSpec, opener: Opener) -> None:
    """Refuse a catalog that cannot be asked, before anything starts; calls no service. Raises ``BadCatalog``.

    Of a file that is seen in its header; watchlists, and files in which one radius may be wrong, are read.
    """
    if spec.remote:
        declared(spec)
    elif spec.is_list or "radius" in spec.columns:
        opened_file(spec, opener, anew=spec.is_list)
    else:
        from alerts.catalogs.files.local import check_local  # noqa: PLC0415 - reads astropy's tables: half a second

        check_local(spec.target, spec.columns, opener)


def opened_file(spec: CatalogSpec, opener: Opener, *, anew: bool = False) -> LocalCatalog:
    """A catalog in a file, read once for all of this process, and again when it has changed. Raises ``BadCatalog``.

    ``anew``: of a bucket's file, too, of which nobody is asked whether it has.
    """
    from alerts.catalogs.files.shared import shared_local  # noqa: PLC0415 - reads astropy's tables: half a second

    return shared_local(spec.target, spec.columns, opener, is_list=spec.is_list, anew=anew)


def looked_for_arcsec(spec: CatalogSpec, opener: Opener) -> float:
    """The radius that rows of this catalog have: where its sources have their own, the largest. Raises ``BadCatalog``."""
    if spec.remote or not (spec.is_list or "radius" in spec.columns):
        return spec.radius_arcsec
    return opened_file(spec, opener).looked_for_arcsec(spec.radius_arcsec)


def open_askers(
    settings: CatalogSettings,
    *,
    opener: Opener,
    count: Callable[[str, str, int], None],
    stopped_elsewhere: Callable[[], bool],
    tell_others: Callable[[], None],
) -> Askers:
    """The catalogs of the run ``settings.run_id``; the same ones for everybody who asks in this process.

    ``count`` is told catalog, name and number. Raises ``BadCatalog``.
    """
    with _LOCK:
        found = _OPEN.get(settings.run_id)
        if found is None:
            gate = Gate(settings.concurrency, stopped_elsewhere=stopped_elsewhere, tell_others=tell_others)
            found = _OPEN[settings.run_id] = Askers(
                tuple(_file(spec, settings, opener) for spec in settings.specs if not spec.remote),
                tuple(_service(spec, settings, gate, count) for spec in settings.specs if spec.remote),
            )
        _OPEN.move_to_end(settings.run_id)
        while len(_OPEN) > _RUNS_AT_ONCE:
            _OPEN.popitem(last=False)
        return found


def catalog_of(
    spec: CatalogSpec, gate: Gate, opener: Opener, *, url: str = CROSSMATCH_URL, deadline_secs: float = DEADLINE_SECS
) -> Catalog:
    """One catalog by itself, as a notebook asks it. Raises ``BadCatalog``."""
    if spec.remote:
        return CdsCatalog(spec, Service(gate, url, deadline_secs))
    return _File(spec, opener)


class _File:
    """A catalog file, read when it is first asked: what is wrong with it costs answers, not the run."""

    def __init__(self, spec: CatalogSpec, opener: Opener) -> None:
        self._spec, self._opener = spec, opener
        self._warned = False

    @property
    def source_columns(self) -> SourceColumns:
        return self._open().source_columns

    def search(self, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, epoch_jyear: Floats | None) -> Candidates:
        return self._open().search(ra_deg, dec_deg, radius_arcsec, epoch_jyear)

    def _open(self) -> LocalCatalog:
        catalog = opened_file(self._spec, self._opener)
        if catalog.left_out and not self._warned:
            self._warned = True
            text = "%s: %d sources have a position that is no place on the sky, and are left out"
            _LOG.warning(text, self._spec.name, catalog.left_out)
        return catalog


def _file(spec: CatalogSpec, settings: CatalogSettings, opener: Opener) -> Asker:
    epoch = OBSERVED_EPOCH if spec.is_list else settings.epoch
    return Asker(spec, _File(spec, opener), epoch, newer_than=settings.newer_than)


def _service(spec: CatalogSpec, settings: CatalogSettings, gate: Gate, count: Callable[[str, str, int], None]) -> Asker:
    def told(name: str, number: int) -> None:
        count(spec.name, name, number)

    catalog = CdsCatalog(spec, Service(gate, settings.url, settings.deadline_secs, count=told))
    delta = delta_arcsec(spec, catalog, settings.cache_arcsec)
    known = declared(spec)
    cache = AnchorCache(delta, known.keep_secs)
    return Asker(spec, catalog, settings.epoch, cache, unproven=known.canary is None, newer_than=settings.newer_than)
