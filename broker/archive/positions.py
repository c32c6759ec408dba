"""Where on the sky the alerts on this machine are."""

from __future__ import annotations

import itertools
import os

import astropy.units as u
import numpy as np
from astropy.table import Table

from broker.archive.nights import iter_alerts


def get_alerts_ra_dec(
    fout: str | os.PathLike[str] | None = None, max_alerts: int | None = 1000, *, folder: str | os.PathLike[str] | None = None
) -> Table:
    """Ids and positions (ICRS, degrees) of the first ``max_alerts`` alerts of the local ZTF archive; None: of all.

    Columns ``candid`` (int64), ``ra``, ``dec``; written to ``fout`` as CSV where it is given. Raises ``NoLocalData``.
    """
    alerts = iter_alerts(folder=folder)
    rows = [
        (alert["candid"], alert["candidate"]["ra"], alert["candidate"]["dec"]) for alert in itertools.islice(alerts, max_alerts)
    ]
    found = Table(rows=rows or None, names=["candid", "ra", "dec"], dtype=[np.int64, np.float64, np.float64])
    found["ra"].unit = found["dec"].unit = u.deg
    if fout is not None:
        found.write(fout, format="ascii.csv", overwrite=True)
    return found
