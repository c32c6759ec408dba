"""Cones, as they are asked of a warehouse: one position with a radius, or a table of positions and one radius for all.

>>> opened.cones(parse_cones("150.1,2.2,5"))
>>> opened.cones(parse_cones("10:00:24,+02:12:00,5"))
>>> opened.cones(parse_cones("targets.csv,2"))

Their text is a question to a warehouse as SQL is, so it is read here, and what is wrong with it is a ``QueryError``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from alerts.catalogs.catalog import BadCatalog, Floats
from alerts.catalogs.files.angles import angle_column, degrees_of
from alerts.catalogs.files.table_names import is_table
from alerts.positions import cones_ranges, separation_arcsec
from alerts.sexagesimal import sexagesimal
from warehouses.errors import QueryError
from warehouses.result import Result
from warehouses.warehouse import MAX_RADIUS_ARCSEC, Warehouse

AT_ONCE = 50
"""Cones asked about in one query: each is some ten ranges of the index, which BigQuery reads twice for every survey, and takes
no more than 1 MB of SQL."""
RESOLVER_SECS = 5.0
"""How long each of the resolver's two hosts is waited for."""
_FILE_NAME = re.compile(r"\.[A-Za-z]\w{1,6}$")
_NAMES = ("name", "id", "objectid", "object_id", "objid", "source_id", "target", "main_id", "designation", "candid")


@dataclass(frozen=True)
class Cones:
    """Positions (ICRS, degrees) and a radius; ``names`` says who they are, where a table of them was given."""

    ra_deg: Floats
    dec_deg: Floats
    radius_arcsec: float
    names: pa.Array | None = None
    file: str | None = None
    """The table that they are of; None for one position."""

    @property
    def is_list(self) -> bool:
        """Whether they are of a table."""
        return self.file is not None

    def __str__(self) -> str:
        if self.is_list:
            return f"{self.radius_arcsec:g} arcsec of any position of {self.file}"
        return f"{self.radius_arcsec:g} arcsec of {sexagesimal(self.ra_deg[0], self.dec_deg[0])}"


def parse_cones(text: str, opener: Callable[[str], BinaryIO] | None = None) -> Cones:
    """The cones of ``RA,DEC,RADIUS_ARCSEC``, ``FILE,RADIUS_ARCSEC`` or ``NAME,RADIUS_ARCSEC``. Raises ``QueryError``.

    RA and Dec are ICRS, decimal degrees or sexagesimal, RA then in hours; files are those of ``docs/crossmatch.md``; where
    a name is, CDS's resolver (Sesame) is asked. ``opener`` opens files that are elsewhere than on this machine.
    """
    place, _, radius = text.rpartition(",")
    found = _radius(text, radius)
    parts = place.split(",")
    try:
        if len(parts) == 2 and not is_table(place):
            return Cones(_angle("ra", parts[0]), _angle("dec", parts[1]), found)
        path = os.path.expanduser(place)
        return _of_table(path, found, opener) if is_table(path) else Cones(*_resolved(text, place), found)
    except BadCatalog as error:
        raise QueryError(str(error)) from error


def _angle(name: str, text: str) -> Floats:
    is_ra = name == "ra"
    return degrees_of("--cone", angle_column("--cone", name, pa.array([text])), is_ra=is_ra, in_hours=is_ra)


def _of_table(path: str, radius_arcsec: float, opener: Callable[[str], BinaryIO] | None) -> Cones:
    from alerts.catalogs.files.astropy_tables import arrow_column  # noqa: PLC0415 - astropy takes half a second
    from alerts.catalogs.files.read_table import read_astropy  # noqa: PLC0415
    from alerts.catalogs.files.table_positions import table_positions  # noqa: PLC0415

    table = read_astropy(path, opener)
    ra, dec = table_positions(path, table)
    if not len(table):
        raise QueryError(f"{path} has no rows, and so no cones")
    name = next((name for known in _NAMES for name in table.colnames if name.lower() == known), None)
    return Cones(ra, dec, radius_arcsec, arrow_column(table[name]) if name else None, file=path)


def _resolved(text: str, name: str) -> tuple[Floats, Floats]:
    """Where a name stands, as Sesame says. Raises ``QueryError`` where it does not know, or is not there."""
    forms = "RA,DEC,RADIUS_ARCSEC, for example --cone 150.1,2.2,5, nor FILE,RADIUS_ARCSEC, for example --cone targets.csv,5"
    if not re.search("[A-Za-z]", name) or "," in name or "/" in name or _FILE_NAME.search(name):
        raise QueryError(f"--cone {text!r} is neither {forms}")
    from astropy.coordinates.name_resolve import NameResolveError, get_icrs_coordinates  # noqa: PLC0415 - only for a name
    from astropy.utils.data import conf as remote  # noqa: PLC0415

    try:
        with remote.set_temp("remote_timeout", RESOLVER_SECS):
            found = get_icrs_coordinates(name.strip())
    except NameResolveError as error:
        why = "does not know it" if "Unable to find" in str(error) else "does not answer; is there a network?"
        raise QueryError(f"--cone {text!r} is neither {forms}; and of a name {name.strip()!r} CDS's resolver {why}") from error
    return np.array([found.ra.deg]), np.array([found.dec.deg])


def _radius(text: str, radius: str) -> float:
    try:
        found = float(radius)
    except ValueError:
        found = math.nan
    if not 0 < found <= MAX_RADIUS_ARCSEC:
        raise QueryError(
            f"--cone {text!r} ends in no radius above 0 and up to {MAX_RADIUS_ARCSEC:g} arcsec; write for example "
            "--cone 150.1,2.2,5 or --cone targets.csv,5"
        )
    return found


def alerts_within(opened: Warehouse, asked: Cones) -> Result:
    """See ``Warehouse.cones``."""
    if not asked.is_list:
        return opened.cone(float(asked.ra_deg[0]), float(asked.dec_deg[0]), asked.radius_arcsec)
    parts = [_some(opened, asked, begin) for begin in range(0, max(len(asked.ra_deg), 1), AT_ONCE)]
    return Result(pa.concat_tables(parts))


def _some(opened: Warehouse, asked: Cones, begin: int) -> pa.Table:
    from alerts.catalogs.files.sky_index import SkyIndex  # noqa: PLC0415 - only for a list: it is compiled

    ra_deg, dec_deg = asked.ra_deg[begin : begin + AT_ONCE], asked.dec_deg[begin : begin + AT_ONCE]
    found = opened.in_ranges(_ranges(ra_deg, dec_deg, asked.radius_arcsec))
    ra, dec = (found.column(name).to_numpy(zero_copy_only=False) for name in ("ra_deg", "dec_deg"))
    position, alert = SkyIndex(ra, dec).pairs(ra_deg, dec_deg, asked.radius_arcsec * (1 + 1e-9) + 1e-3)
    # The same numbers as of one cone decide who is inside.
    separations = separation_arcsec(ra[alert], dec[alert], ra_deg[position], dec_deg[position])
    order = np.lexsort((alert, separations, position))
    order = order[separations[order] <= asked.radius_arcsec]
    rows = position[order] + begin
    answer = found.take(alert[order]).add_column(0, "separation_arcsec", pa.array(separations[order], pa.float64()))
    if asked.names is not None:
        answer = answer.add_column(0, "list_name", asked.names.take(pa.array(rows)))
    return answer.add_column(0, "list_row", pa.array(rows, pa.int64()))


def _ranges(ra_deg: Floats, dec_deg: Floats, radius_arcsec: float) -> list[tuple[int, int]]:
    """Ranges of ``healpix29`` of all cones together, in order, without overlaps."""
    _, firsts, lasts = cones_ranges(ra_deg, dec_deg, np.full(len(ra_deg), radius_arcsec))
    joined: list[tuple[int, int]] = []
    for first, last in sorted(zip(firsts.tolist(), lasts.tolist(), strict=True)):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
