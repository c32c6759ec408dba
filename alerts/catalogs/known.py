"""Catalogs that CDS X-Match serves and we know: which of their columns we ask for, of which types, and what they mean.

Column names: those of II/246 and II/328 stand in recorded answers, those of I/311 and I/355 in the catalogs' own
descriptions at CDS, B/vsx and II/349 have been read in VizieR and in other people's requests. The tests marked ``remote``
ask the service itself. Canaries are the positions of catalog entries as the service matches them, ICRS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from alerts.catalogs.catalog import SourceColumns

DAY_SECS = 86400.0


@dataclass(frozen=True)
class Known:
    """What we know of a catalog before we ask."""

    source_columns: SourceColumns
    columns: Mapping[str, pa.DataType]
    """The columns asked for (``cols2``), and their types."""
    canary: tuple[float, float] | None = None
    """Where a source is that must come back with every answer: right ascension and declination, degrees.

    None only of catalogs that nobody has listed.
    """
    keep_secs: float = 7 * DAY_SECS
    """For how long an answer may be used again."""


def unit_of(column: str) -> str | None:
    """The unit of a column of the catalogs below, as VizieR spells it; None where it has none."""
    if column in ("ra", "dec", "errPosAng") or column.lstrip("_") in ("RAJ2000", "DEJ2000", "RAdeg", "DEdeg", "RArad", "DErad"):
        return "deg"
    if column in ("Plx", "e_Plx"):
        return "mas"
    if column in ("pmRA", "pmDE"):
        return "mas/yr"
    if column.startswith("errHalf"):
        return "arcsec"
    if column in ("MeasureJD", "Period"):
        return "d"
    return "mag" if column.endswith("mag") or column in ("max", "min", "B-V") else None


def _columns(floats: str = "", texts: str = "", integers: str = "") -> dict[str, pa.DataType]:
    named = {name: pa.float64() for name in floats.split()}
    named |= {name: pa.string() for name in texts.split()}
    return named | {name: pa.int64() for name in integers.split()}


KNOWN: dict[str, Known] = {
    "vizier:II/246/out": Known(
        SourceColumns(ra="RAJ2000", dec="DEJ2000", source_id="2MASS"),
        _columns(
            "RAJ2000 DEJ2000 errHalfMaj errHalfMin Jmag Hmag Kmag e_Jmag e_Hmag e_Kmag MeasureJD", "2MASS Qfl Rfl", "errPosAng X"
        ),
        canary=(274.839773, -25.427162),
    ),
    "vizier:II/328/allwise": Known(
        SourceColumns(ra="RAJ2000", dec="DEJ2000", source_id="AllWISE"),
        _columns(
            "RAJ2000 DEJ2000 W1mag W2mag W3mag W4mag Jmag Hmag Kmag e_W1mag e_W2mag e_W3mag e_W4mag e_Jmag e_Hmag e_Kmag",
            "AllWISE",
        ),
        canary=(190.3811089, 26.0426682),
    ),
    "vizier:I/355/gaiadr3": Known(
        SourceColumns("RAdeg", "DEdeg", "Source", "pmRA", "pmDE", position_epoch_jyear=2016.0, match_epoch_jyear=2000.0),
        _columns("RAdeg DEdeg Plx e_Plx pmRA pmDE Gmag BPmag RPmag", integers="Source"),
        # It moves by 0.3 mas a year.
        canary=(104.28949220869518, -8.541966381622395),
    ),
    "vizier:I/311/hip2": Known(
        SourceColumns("RArad", "DErad", "HIP", "pmRA", "pmDE", position_epoch_jyear=1991.25, match_epoch_jyear=2000.0),
        _columns("RArad DErad Plx pmRA pmDE Hpmag B-V", integers="HIP"),
        # Vega, SIMBAD's ICRS position at epoch 2000.
        canary=(279.23473479, 38.78368896),
    ),
    "vizier:B/vsx/vsx": Known(
        SourceColumns(ra="_RAJ2000", dec="_DEJ2000", source_id="OID"),
        _columns("_RAJ2000 _DEJ2000 max min Period", "Name Type", "OID V"),
        # Mira: omicron Ceti, 02h19m20.79s -02d58m39.5s (GCVS, VSX).
        canary=(34.83662, -2.97763),
        keep_secs=DAY_SECS,
    ),
    # A shared service that changes daily: these four columns, and others would be another service.
    "simbad": Known(
        SourceColumns("ra", "dec", "main_id", position_epoch_jyear=2000.0, match_epoch_jyear=2000.0),
        _columns("ra dec", "main_id otype"),
        canary=(279.23473479, 38.78368896),
        keep_secs=DAY_SECS,
    ),
}
