"""Cross-match a table of positions in a notebook, against the catalogs that the pipeline knows.

>>> from broker import xmatch as xm
>>> xm.get_alerts_ra_dec(fout="alerts_radec.csv")
>>> xm.get_xmatches(fcat1="alerts_radec.csv", cat2="vizier:II/246/out")
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.table import Column, Table, hstack, vstack

from alerts.catalogs.catalog import BadCatalog, Banned, Candidates, Catalog, CatalogError, Floats, Rejected, Unavailable
from alerts.catalogs.cds.client import MAX_POSITIONS, URL
from alerts.catalogs.cds.gate import Gate
from alerts.catalogs.files.astropy_tables import masked_column, to_astropy
from alerts.catalogs.files.read_table import read_astropy
from alerts.catalogs.files.table_positions import table_positions
from alerts.catalogs.known import KNOWN, unit_of
from alerts.catalogs.matching import Matches, within
from alerts.catalogs.open import catalog_of, check
from alerts.catalogs.spec import parse_spec
from broker import ztf_archive
from transforms.files import open_file

__all__ = ["BadCatalog", "Banned", "CatalogError", "Rejected", "Unavailable", "get_alerts_ra_dec", "get_xmatches"]

XMATCH_URL = "PITT_BROKER_XMATCH_URL"


def get_alerts_ra_dec(
    fout: str | os.PathLike[str] | None = None, max_alerts: int | None = 1000, *, folder: str | os.PathLike[str] | None = None
) -> Table:
    """Ids and positions (ICRS, degrees) of the first ``max_alerts`` alerts of the local ZTF archive; None: of all.

    Columns ``candid`` (int64), ``ra``, ``dec``; written to ``fout`` as CSV where it is given. Raises ``NoLocalData``.
    """
    alerts = ztf_archive.iter_alerts(folder=folder)
    rows = [
        (alert["candid"], alert["candidate"]["ra"], alert["candidate"]["dec"]) for alert in itertools.islice(alerts, max_alerts)
    ]
    found = Table(rows=rows or None, names=["candid", "ra", "dec"], dtype=[np.int64, np.float64, np.float64])
    found["ra"].unit = found["dec"].unit = u.deg
    if fout is not None:
        found.write(fout, format="ascii.csv", overwrite=True)
    return found


def get_xmatches(
    fcat1: str | os.PathLike[str] | Table | Any,
    cat2: str = "vizier:II/246/out",
    radius_arcsec: float = 5,
    *,
    ra: str | None = None,
    dec: str | None = None,
    epoch_jyear: float | None = None,
    url: str | None = None,
    deadline_secs: float = 60,
) -> Table:
    """Every source of a catalog within the radius of the positions of a table: a row per pair, nearest first.

    ``fcat1``: a table of astropy or Arrow (the answer of ``warehouse.query``, Polars, pandas), a ``SkyCoord``, a dict of
    columns, or a file (Parquet or a folder of it, CSV, TSV, FITS, VOTable, ECSV). Its positions
    (ICRS) are found by UCD or the usual names, else ``ra`` and ``dec`` name their columns; units are heeded, text such as
    ``05 34 31.9`` is hours in right ascension.
    ``cat2``: a catalog as ``--crossmatch`` takes it (``vizier:TABLE``, ``simbad``, ``file:PATH``), asked where it is remote by
    the service at ``url``, else ``$PITT_BROKER_XMATCH_URL``, else CDS.
    ``epoch_jyear``: look for stars where they stand then (Julian year), not where their catalog is matched.

    The columns of ``fcat1``, then ``separation_arcsec``, ``source_id``, ``source_ra_deg``, ``source_dec_deg``,
    ``position_epoch_jyear``, and the catalog's own (``_2`` behind a name that ``fcat1`` has too), with units.
    Raises ``BadCatalog``, which is a ``ValueError``, for a table or catalog that cannot be used and for the first row without
    a position on the sky, and ``CatalogError`` when the catalog does not answer, the network among its reasons: an empty
    table means that nothing is there.
    """
    asked, what = _asked(fcat1)
    ra_deg, dec_deg = table_positions(what, asked, ra, dec)
    spec = parse_spec(cat2, radius_arcsec)
    check(spec, open_file)
    catalog = catalog_of(spec, Gate(1), open_file, url=url or os.environ.get(XMATCH_URL) or URL, deadline_secs=deadline_secs)
    parts = []
    for begin in range(0, max(len(asked), 1), MAX_POSITIONS):
        some = slice(begin, begin + MAX_POSITIONS)
        epochs = None if epoch_jyear is None else np.full(len(ra_deg[some]), epoch_jyear)
        found = _searched(catalog, ra_deg[some], dec_deg[some], spec.radius_arcsec, epochs)
        answer = within(
            found, catalog.source_columns, ra_deg[some], dec_deg[some], radius_arcsec=spec.radius_arcsec, epoch_jyear=epochs
        )
        sources = _sources(answer, spec.name)
        for name in set(sources.colnames) & set(asked.colnames):
            sources.rename_column(name, f"{name}_2")
        parts.append(hstack([asked[answer.position + begin], sources]))
    return parts[0] if len(parts) == 1 else vstack(parts, metadata_conflicts="silent")


def _asked(fcat1: str | os.PathLike[str] | Table | Any) -> tuple[Table, str]:
    """The table, and what it is called in a message."""
    if isinstance(fcat1, Table):
        return fcat1, "the table"
    if hasattr(fcat1, "__arrow_c_stream__"):
        return to_astropy(pa.table(fcat1)), "the table"
    if isinstance(fcat1, SkyCoord):
        return Table({"position": fcat1.reshape(-1)}), "the table"
    if isinstance(fcat1, (str, os.PathLike)):
        path = os.path.expanduser(os.fspath(fcat1))
        return read_astropy(path, open_file), path
    try:
        return Table(fcat1), "the table"
    except (TypeError, ValueError) as error:
        raise BadCatalog(
            f"a {type(fcat1).__name__} is no table of positions; give a table of astropy, Arrow, pandas or Polars, a SkyCoord, "
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
