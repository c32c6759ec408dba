"""Cross-match a table of positions in a notebook, against the catalogs that the pipeline knows.

>>> from broker import xmatch as xm
>>> xm.get_alerts_ra_dec(fout="alerts_radec.csv")
>>> xm.get_xmatches(fcat1="alerts_radec.csv", cat2="vizier:II/246/out")
"""

from __future__ import annotations

import os
from typing import Any

from astropy.table import Table

from alerts.catalogs.catalog import BadCatalog, Banned, CatalogError, Rejected, Unavailable
from alerts.catalogs.defaults import CROSSMATCH_URL
from alerts.catalogs.table_matches import match_table
from broker.archive.positions import get_alerts_ra_dec
from transforms.files import open_file

__all__ = ["BadCatalog", "Banned", "CatalogError", "Rejected", "Unavailable", "get_alerts_ra_dec", "get_xmatches"]

XMATCH_URL = "PITT_BROKER_XMATCH_URL"


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
    return match_table(
        fcat1,
        cat2,
        radius_arcsec,
        ra=ra,
        dec=dec,
        epoch_jyear=epoch_jyear,
        url=url or os.environ.get(XMATCH_URL) or CROSSMATCH_URL,
        deadline_secs=deadline_secs,
        opener=open_file,
    )
