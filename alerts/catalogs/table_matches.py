"""A whole table of positions against one catalog: a row for each pair."""

from __future__ import annotations

import os
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table, hstack, vstack

from alerts.catalogs.catalog import BadCatalog, Banned, Candidates, Catalog, CatalogError, Floats, Rejected, Unavailable
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.defaults import CROSSMATCH_URL, DEADLINE_SECS, MAX_POSITIONS
from alerts.catalogs.files.astropy_tables import masked_column, to_astropy
from alerts.catalogs.files.read_table import Opener, open_local_file, read_astropy
from alerts.catalogs.files.table_positions import table_positions
from alerts.catalogs.known import KNOWN, unit_of
from alerts.catalogs.matching import Matches, within
from alerts.catalogs.open import catalog_of, check
from alerts.catalogs.spec import parse_spec


def match_table(
    table: str | os.PathLike[str] | Table | Any,
    catalog: str,
    radius_arcsec: float,
    *,
    ra: str | None = None,
    dec: str | None = None,
    epoch_jyear: float | None = None,
    url: str = CROSSMATCH_URL,
    deadline_secs: float = DEADLINE_SECS,
    opener: Opener = open_local_file,
) -> Table:
    """Every source of a catalog within the radius of the positions of a table: a row per pair, nearest first.

    ``table``: one of astropy or Arrow, a ``SkyCoord``, a dict of columns, or a file, which ``opener`` opens where it is not on
    this machine. ``ra`` and ``dec`` name its columns (ICRS) where UCDs and usual names do not tell. ``catalog`` is named as
    ``parse_spec`` reads it, and asked at ``url`` where it is remote; ``epoch_jyear`` (Julian year) is when its stars are sought.

    Raises ``BadCatalog`` for a table or catalog that cannot be used, ``CatalogError`` where the catalog does not answer.
    """
    asked, what = _asked(table, opener)
    ra_deg, dec_deg = table_positions(what, asked, ra, dec)
    spec = parse_spec(catalog, radius_arcsec)
    check(spec, opener)
    opened = catalog_of(spec, Gate(1), opener, url=url, deadline_secs=deadline_secs)
    parts = []
    for begin in range(0, max(len(asked), 1), MAX_POSITIONS):
        some = slice(begin, begin + MAX_POSITIONS)
        epochs = None if epoch_jyear is None else np.full(len(ra_deg[some]), epoch_jyear)
        found = _searched(opened, ra_deg[some], dec_deg[some], spec.radius_arcsec, epochs)
        answer = within(
            found, opened.source_columns, ra_deg[some], dec_deg[some], radius_arcsec=spec.radius_arcsec, epoch_jyear=epochs
        )
        sources = _sources(answer, spec.name)
        for name in set(sources.colnames) & set(asked.colnames):
            sources.rename_column(name, f"{name}_2")
        parts.append(hstack([asked[answer.position + begin], sources]))
    return parts[0] if len(parts) == 1 else vstack(parts, metadata_conflicts="silent")


def _asked(table: str | os.PathLike[str] | Table | Any, opener: Opener) -> tuple[Table, str]:
    """The table, and what it is called in a message."""
    if isinstance(table, Table):
        return table, "the table"
    if hasattr(table, "__arrow_c_stream__"):
        return to_astropy(pa.table(table)), "the table"
    if isinstance(table, SkyCoord):
        return Table({"position": table.reshape(-1)}), "the table"
    if isinstance(table, (str, os.PathLike)):
        path = os.path.expanduser(os.fspath(table))
        return read_astropy(path, opener), path
    try:
        return Table(table), "the table"
    except (TypeError, ValueError) as error:
        raise BadCatalog(
            f"a {type(table).__name__} is no table of positions; give a table of astropy, Arrow, pandas or Polars, a SkyCoord, "
            "a dict of columns, or the name of a file"
        ) from error


def _searched(catalog: Catalog, ra_deg: Floats, dec_deg: Floats, radius_arcsec: float, epochs: Floats | None) -> Candidates:
    """What a catalog finds; where it does not answer, one exception that a person can catch, without what libraries said."""
    try:
        return catalog.search(ra_deg, dec_deg, radius_arcsec, epochs)
    except CatalogError as error:
        public = next(kind for kind in (Banned, Rejected, Unavailable, CatalogError) if isinstance(error, kind))
        raise public(str(error)) from None


def _sources(answer: Matches, catalog: str) -> Table:
    found = Table()
    found["separation_arcsec"] = Column(answer.separation_arcsec, unit=u.arcsec)
    found["source_id"] = masked_column("source_id", answer.source_id)
    found["source_ra_deg"] = Column(answer.ra_deg, unit=u.deg)
    found["source_dec_deg"] = Column(answer.dec_deg, unit=u.deg)
    found["position_epoch_jyear"] = Column(answer.epoch_jyear, unit=u.yr)
    known = KNOWN.get(catalog)
    for name, column in zip(answer.sources.schema.names, answer.sources.columns, strict=True):
        found[name] = masked_column(name, column, unit_of(name) if known else None)
    return found
