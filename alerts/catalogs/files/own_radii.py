"""Radii of their own that the sources of a file have: their column, its unit, and what is no radius.

A source is a match of what is within its own radius. Where a row says none (NULL, NaN, an empty field) the catalog's counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import astropy.units as u
import numpy as np
import pyarrow as pa

from alerts.catalogs.catalog import MAX_FILE_RADIUS_ARCSEC, BadCatalog, Floats, Integers
from alerts.catalogs.files.position_columns import listed, unit_of_angle
from alerts.catalogs.files.read_table import Header
from alerts.catalogs.matching import floats

USUAL = "radius_arcsec"
"""The column that lists have for it, in whatever capitals."""
TIERS_ARCSEC = (5.0, 20.0, 80.0, 320.0, 1280.0)
"""Sources with radii between two of these are looked for together, so that a galaxy's radius does not widen the search for all
stars. Below 15 arcsec, a zone of the index, there is nothing to gain."""

_SIGNS = {"'": u.arcmin, "′": u.arcmin, '"': u.arcsec, "″": u.arcsec}
_IN_NAME = re.compile(r"[^a-z0-9](deg|degrees?|arcmin|arcmins|amin|arcsec|arcsecs|asec|mas|rad|radians?)$")
_NAMED = {"deg": u.deg, "arcmi": u.arcmin, "amin": u.arcmin, "arcse": u.arcsec, "asec": u.arcsec, "mas": u.mas, "rad": u.rad}


@dataclass(frozen=True)
class RadiusColumn:
    """The column of a file that holds its sources' radii."""

    name: str
    unit_arcsec: float
    """How many arcsec its unit is."""


def radius_column(path: str, header: Header, columns: Mapping[str, str], *, usual: bool) -> RadiusColumn | None:
    """The column of radii that ``columns`` names, or else (``usual``) the one that is called so; None where there is none.

    Raises ``BadCatalog`` for one that is missing, holds no numbers, or is in a unit that is none of an angle.
    """
    name = columns.get("radius")
    if name is None:
        found = [given for given in header.kinds if usual and given.casefold() == USUAL]
        if len(found) > 1:
            raise BadCatalog(f"several columns of {path} may hold radii ({', '.join(found)}); say which with radius=..")
        if not found:
            return None
        name = found[0]
    if name not in header.kinds:
        raise BadCatalog(f"{path} has no column {name!r}; it has {listed(header.kinds)}")
    if name not in header.numbers:
        raise BadCatalog(f"column {name!r} of {path} holds {header.kinds[name]}; it must hold radii, decimal numbers in arcsec")
    return RadiusColumn(name, _unit(path, header, name).to(u.arcsec))


def _unit(path: str, header: Header, name: str) -> u.UnitBase:
    """What the file tells, else what the name ends with (``radius_deg``, ``Rad [arcmin]``), else arcsec."""
    field = next(field for field in header.fields if field.name == name)
    told = _SIGNS.get(field.unit.strip()) or unit_of_angle(path, field)
    if told is None and (ending := _IN_NAME.search(name.lower())):
        told = next(unit for begin, unit in _NAMED.items() if ending.group(1).startswith(begin))
    return told or u.arcsec


def radii_arcsec(path: str, sources: pa.RecordBatch, column: RadiusColumn, id_column: str | None) -> Floats:
    """The radius of each source (arcsec), NaN where a row says none. Raises ``BadCatalog`` for the first that is no radius."""
    told = floats(sources, column.name)
    radii = told * column.unit_arcsec
    wrong = np.flatnonzero(~np.isnan(radii) & ~((radii > 0) & (radii <= MAX_FILE_RADIUS_ARCSEC)))
    if len(wrong):
        row = int(wrong[0])
        who = f"row {row} (from 0)" + ("" if id_column is None else f", {sources.column(id_column)[row].as_py()!r},")
        unit = "" if column.unit_arcsec == 1 else f", that is {radii[row]:.10g} arcsec"
        raise BadCatalog(
            f"{who} of {path} has {told[row]:.10g} for {column.name!r}{unit}; a radius must be above 0 and at most "
            f"{MAX_FILE_RADIUS_ARCSEC:g} arcsec, or empty where the list's own is meant"
        )
    return radii


def tiers(radii: Floats) -> Integers:
    """For each source the number of those that it is looked for with; 0 of those without a radius of their own."""
    return np.where(np.isnan(radii), 0, np.searchsorted(TIERS_ARCSEC, radii) + 1)
