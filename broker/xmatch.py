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
from astropy.table import Column, MaskedColumn, Table, hstack, vstack

from alerts.catalogs.cds import MAX_POSITIONS, URL
from alerts.catalogs.gate import Gate
from alerts.catalogs.known import KNOWN, unit_of
from alerts.catalogs.matching import Answer, within
from alerts.catalogs.open import catalog_of, check
from alerts.catalogs.spec import parse_spec
from alerts.positions import on_the_sky
from broker import ztf_archive
from transforms.files import open_file

XMATCH_URL = "PITT_BROKER_XMATCH_URL"
_RA, _DEC = ("ra", "ra_deg", "RAJ2000", "_RAJ2000"), ("dec", "dec_deg", "DEJ2000", "_DEJ2000")


def get_alerts_ra_dec(
    fout: str | os.PathLike[str] | None = None, max_alerts: int | None = 1000, *, folder: str | os.PathLike[str] | None = None
) -> Table:
    """Ids and positions (ICRS, degrees) of the first ``max_alerts`` alerts of the local ZTF archive; None: of all.

    Columns ``candid`` (int64), ``ra``, ``dec``; written to ``fout`` as CSV where it is given. Raises ``NoLocalData``.
    """
    alerts = ztf_archive.iter_alerts(folder=folder)
    rows = [(one["candid"], one["candidate"]["ra"], one["candidate"]["dec"]) for one in itertools.islice(alerts, max_alerts)]
    found = Table(rows=rows or None, names=["candid", "ra", "dec"], dtype=[np.int64, np.float64, np.float64])
    found["ra"].unit = found["dec"].unit = u.deg
    if fout is not None:
        found.write(fout, format="ascii.csv", overwrite=True)
    return found


def get_xmatches(
    fcat1: str | os.PathLike[str] | Table,
    cat2: str = "vizier:II/246/out",
    radius_arcsec: float = 5,
    *,
    epoch_jyear: float | None = None,
    url: str | None = None,
    deadline_secs: float = 60,
) -> Table:
    """Every source of a catalog within the radius of the positions of a table: a row per pair, nearest first.

    ``fcat1``: a table, or a file that astropy reads, with ``ra`` and ``dec`` (ICRS, degrees). ``cat2``: a catalog as
    ``--crossmatch`` takes it (``vizier:TABLE``, ``simbad``, ``file:PATH``), asked by the service at ``url``, else
    ``$PITT_BROKER_XMATCH_URL``, else CDS, where it is remote.
    ``epoch_jyear``: look for stars where they stand then (Julian year), not where their catalog is matched.

    The columns of ``fcat1``, then ``separation_arcsec``, ``source_id``, ``source_ra_deg``, ``source_dec_deg``,
    ``position_epoch_jyear``, and the catalog's own (``_2`` behind a name that ``fcat1`` has too), with units.
    Raises ``BadCatalog``, ``ValueError`` for positions off the sky, and ``CatalogError`` when the catalog does not answer:
    an empty table means that nothing is there.
    """
    asked = fcat1 if isinstance(fcat1, Table) else Table.read(fcat1)
    ra, dec = (_degrees(asked, names) for names in (_RA, _DEC))
    if not (good := on_the_sky(ra, dec)).all():
        row = int(np.flatnonzero(~good)[0])
        raise ValueError(f"row {row} is at ra {ra[row]:g} deg, dec {dec[row]:g} deg, which is no place on the sky; leave it out")
    spec = parse_spec(cat2, radius_arcsec)
    check(spec, open_file)
    catalog = catalog_of(spec, Gate(1), open_file, url=url or os.environ.get(XMATCH_URL) or URL, deadline_secs=deadline_secs)
    parts = []
    for begin in range(0, max(len(asked), 1), MAX_POSITIONS):
        some = slice(begin, begin + MAX_POSITIONS)
        epochs = None if epoch_jyear is None else np.full(len(ra[some]), epoch_jyear)
        found = catalog.search(ra[some], dec[some], spec.radius_arcsec, epochs)
        answer = within(found, catalog.layout, ra[some], dec[some], radius_arcsec=spec.radius_arcsec, epoch_jyear=epochs)
        sources = _sources(answer, spec.name)
        for name in set(sources.colnames) & set(asked.colnames):
            sources.rename_column(name, f"{name}_2")
        parts.append(hstack([asked[answer.position + begin], sources]))
    return parts[0] if len(parts) == 1 else vstack(parts, metadata_conflicts="silent")


def _degrees(table: Table, names: tuple[str, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
    name = next((one for one in names if one in table.colnames), None)
    if name is None:
        raise ValueError(f"the table has no column {names[0]}; it has {', '.join(table.colnames)}")
    column = table[name]
    if column.unit is not None:
        column = column.quantity.to(u.deg) if hasattr(column, "quantity") else column.to(u.deg)
    return np.asarray(np.ma.filled(np.ma.asarray(np.asarray(column, dtype=np.float64)), np.nan))


def _sources(answer: Answer, catalog: str) -> Table:
    found = Table()
    found["separation_arcsec"] = Column(answer.separation_arcsec, unit=u.arcsec)
    found["source_id"] = _column("source_id", answer.source_id.to_pylist(), str, None)
    found["source_ra_deg"] = Column(answer.ra_deg, unit=u.deg)
    found["source_dec_deg"] = Column(answer.dec_deg, unit=u.deg)
    found["position_epoch_jyear"] = Column(answer.epoch_jyear, unit=u.yr)
    known = KNOWN.get(catalog)
    for name, column in zip(answer.sources.schema.names, answer.sources.columns, strict=True):
        kinds = {"int64": np.int64, "double": np.float64, "float": np.float32, "int32": np.int32}
        found[name] = _column(name, column.to_pylist(), kinds.get(str(column.type), str), unit_of(name) if known else None)
    return found


def _column(name: str, values: list[Any], kind: type, unit: str | None) -> MaskedColumn:
    """Missing values are masked: NaN and empty are something else."""
    missing = [value is None for value in values]
    filler = "" if kind is str else kind(0)
    return MaskedColumn([filler if value is None else kind(value) for value in values], name, mask=missing, dtype=kind, unit=unit)
