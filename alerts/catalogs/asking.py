"""One catalog of a run, as one worker process asks it: search, cache, cut, and a row for every alert whatever happens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime

import numpy as np
import pyarrow as pa

from alerts.catalogs.cache import AnchorCache
from alerts.catalogs.catalog import MAX_RADIUS_ARCSEC, BadCatalog, Candidates, Catalog, CatalogError, Floats
from alerts.catalogs.defaults import CATALOG_EPOCH, OBSERVED_EPOCH
from alerts.catalogs.matching import within
from alerts.catalogs.rows import CatalogQuery, answered, epochs_jyear, failed
from alerts.catalogs.spec import PROPER_MOTION_REACH_ARCSEC, CatalogSpec
from alerts.times import now_after
from schemas.tables import NO_MATCH

_LOG = logging.getLogger(__name__)
Count = Callable[[str, int], None]


def _nobody(name: str, number: int) -> None:
    pass


class Asker:
    """Asks one catalog. Used by several threads at once."""

    def __init__(
        self,
        spec: CatalogSpec,
        catalog: Catalog,
        epoch: str = CATALOG_EPOCH,
        cache: AnchorCache | None = None,
        *,
        unproven: bool = False,
        newer_than: datetime | None = None,
    ) -> None:
        """``cache``: for catalogs behind a service; ``unproven``: nothing shows that an answer without matches is one.

        ``newer_than`` (UTC): see ``CatalogSettings``.
        """
        self.spec, self._unproven, self._newer_than = spec, unproven, newer_than
        self._catalog, self._observed, self._cache = catalog, epoch == OBSERVED_EPOCH, cache

    def rows(self, positions: pa.RecordBatch, count: Count = _nobody) -> pa.RecordBatch:
        """Rows of ``crossmatches``, one per position (``rows.positions_of``): an error makes them ``failed``.

        ``count`` is told of the alerts by status, and of the cache's hits.
        """
        spec = self.spec
        question = CatalogQuery(spec.name, spec.radius_arcsec, now_after(self._newer_than))
        ra, dec = (positions.column(name).to_numpy(zero_copy_only=False) for name in ("ra_deg", "dec_deg"))
        epoch = epochs_jyear(positions) if self._observed else None
        try:
            found = self._candidates(positions, ra, dec, epoch, count)
            answer = within(found, self._catalog.source_columns, ra, dec, radius_arcsec=spec.radius_arcsec, epoch_jyear=epoch)
            looked_for = spec.radius_arcsec if found.looked_for_arcsec is None else found.looked_for_arcsec
            rows = answered(positions, replace(question, radius_arcsec=looked_for), answer)
        except (CatalogError, BadCatalog) as error:
            rows = failed(positions, question, str(error))
        except Exception as error:  # no catalog, whatever it answers, may cost an alert its row
            _LOG.exception("%s: unexpected", spec.name)
            rows = failed(positions, question, f"{spec.name}: unexpected {type(error).__name__}: {error}")
        for status in rows.column("status").value_counts().to_pylist():
            count(str(status["values"]), status["counts"])
            if self._unproven and status["values"] == NO_MATCH:
                count("unproven", status["counts"])
        return rows

    def _candidates(
        self, positions: pa.RecordBatch, ra_deg: Floats, dec_deg: Floats, epoch_jyear: Floats | None, count: Count
    ) -> Candidates:
        radius, cache = self.spec.radius_arcsec, self._cache
        if cache is None:
            return self._catalog.search(ra_deg, dec_deg, radius, epoch_jyear)
        objects = [
            None if name is None else (survey, name)
            for survey, name in zip(
                positions.column("survey").to_pylist(), positions.column("object_id").to_pylist(), strict=True
            )
        ]

        def ask(ra: Floats, dec: Floats) -> Candidates:
            # The service widens by as much as a star can have moved; which epoch it is does not matter to it.
            epochs = None if epoch_jyear is None else np.full(len(ra), epoch_jyear[0])
            return self._catalog.search(ra, dec, radius + cache.delta_arcsec, epochs)

        found, hits, _ = cache.candidates(objects, ra_deg, dec_deg, ask)
        count("cache_hits", hits)
        return found


def delta_arcsec(spec: CatalogSpec, catalog: Catalog, wanted_arcsec: float) -> float:
    """How far from where it was asked an answer may be used again.

    Not at all where the catalog's columns do not tell us where its sources stand; and no question is beyond what a
    service takes.
    """
    if catalog.source_columns.ra is None:
        return 0.0
    room = MAX_RADIUS_ARCSEC - spec.radius_arcsec - (PROPER_MOTION_REACH_ARCSEC if catalog.source_columns.moves else 0.0) - 1.0
    return max(0.0, min(wanted_arcsec, room))


def in_calls(batches: Iterator[pa.RecordBatch], held: int, at_once: int) -> Iterator[pa.RecordBatch]:
    """Positions gathered (``held`` at a time), sorted by place on the sky, in batches of up to ``at_once``: one call each."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= held:
            yield from _sorted(waiting, at_once)
            waiting, rows = [], 0
    if rows:
        yield from _sorted(waiting, at_once)


def _sorted(batches: list[pa.RecordBatch], at_once: int) -> Iterator[pa.RecordBatch]:
    together = pa.Table.from_batches(batches)
    together = together.sort_by([("healpix29", "ascending"), ("alert_id", "ascending")]).combine_chunks()
    for begin in range(0, together.num_rows, at_once):
        yield together.slice(begin, at_once).combine_chunks().to_batches()[0]
