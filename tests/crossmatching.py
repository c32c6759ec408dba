"""The simulator's stars behind X-Match, for the tests of whole pipelines."""

from __future__ import annotations

import pyarrow as pa

from alerts.catalogs.known import KNOWN
from simulation.catalog_server.catalog import Declared, ServedCatalog

ALLWISE = "vizier:II/328/allwise"
"""A catalog that we know: in these tests the service has the simulator's stars under its name and in its columns."""


def as_allwise(catalog: pa.Table) -> ServedCatalog:
    """The simulator's catalog (``catalog.parquet``) and AllWISE's canary, in the columns of AllWISE."""
    known = KNOWN[ALLWISE]
    assert known.canary is not None
    canary = pa.table({"source_id": ["canary"], "ra_deg": [known.canary[0]], "dec_deg": [known.canary[1]]})
    ids = pa.array([str(one) for one in catalog.column("source_id").to_pylist()])
    stars = pa.concat_tables([catalog.select(["source_id", "ra_deg", "dec_deg"]).set_column(0, "source_id", ids), canary])
    own = {"AllWISE": "source_id", "RAJ2000": "ra_deg", "DEJ2000": "dec_deg"}
    columns = {
        name: stars.column(own[name]) if name in own else pa.nulls(stars.num_rows, kind) for name, kind in known.columns.items()
    }
    return ServedCatalog(pa.table(columns), Declared("RAJ2000", "DEJ2000"))
