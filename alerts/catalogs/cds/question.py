"""The question to CDS X-Match in the words of astroquery, which knows the service's form."""

from __future__ import annotations

import contextlib
import io
import threading
from importlib import metadata
from typing import Any

import numpy as np

from alerts.catalogs.catalog import Floats
from alerts.catalogs.cds.answers import INDEX

_RA, _DEC = "broker_ra", "broker_dec"


def upload(ra_deg: Floats, dec_deg: Floats) -> str:
    """The positions as CSV under names that no catalog has; an index of the batch, never an id."""
    rounded = np.round(ra_deg, 7) % 360
    lines = [f"{i},{ra:.7f},{dec:.7f}" for i, (ra, dec) in enumerate(zip(rounded.tolist(), dec_deg.tolist(), strict=True))]
    return "\n".join([f"{INDEX},{_RA},{_DEC}", *lines, ""])


def request(
    cat2: str, positions: str, radius_arcsec: float, *, answer_format: str, columns: list[str], max_rows: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The form and the files of a request, as astroquery makes them: ``positions`` as ``upload`` writes them."""
    import astropy.units as u  # noqa: PLC0415 - astropy takes half a second

    wanted = {"cols2": ",".join(columns)} if columns else {}
    payload, sent = _xmatch_class()().query(
        cat1=io.StringIO(positions),
        cat2=cat2,
        max_distance=radius_arcsec * u.arcsec,
        colRA1=_RA,
        colDec1=_DEC,
        get_query_payload=True,
        RESPONSEFORMAT=answer_format,
        selection="all",
        cols1=INDEX,
        MAXREC=max_rows,
        **wanted,
    )
    return payload, sent["files"]


_IMPORT_LOCK = threading.Lock()
_XMATCH: list[Any] = []


def _xmatch_class() -> Any:
    """The client class of astroquery, made so that wording a request calls nobody: its own check of names has no timeout."""
    with _IMPORT_LOCK:
        if not _XMATCH:
            # Here, not at the top: it costs a second, and prints where the package regions is missing.
            with contextlib.redirect_stdout(io.StringIO()):
                from astroquery.xmatch import XMatchClass  # noqa: PLC0415

            class Quiet(XMatchClass):
                def is_table_available(self, table_id: Any) -> bool:
                    return isinstance(table_id, str)

            _XMATCH.append(Quiet)
        return _XMATCH[0]


def user_agent() -> str:
    """Who we are, as the service sees it."""
    return f"pitt-broker/{metadata.version('pitt-broker')} astroquery/{metadata.version('astroquery')}"
