"""What a request asks, with the service's own checks and words where they are known.

Known (astroquery issues 1376, 3115, 3191): the messages about a missing parameter, a column that is not there, and an
unknown catalog, and that one bad position refuses the whole upload. The other messages are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.positions import Degrees, on_the_sky, separation_arcsec
from simulation.catalog_server.catalog import ServedCatalog, ServedColumn
from simulation.catalog_server.form import Form, Refused
from simulation.catalog_server.texts import datatype, read_csv

FORMATS = ("votable", "csv", "tsv", "json")
MAX_RADIUS_ARCSEC = 180.0
_REQUIRED = ("request", "cat1", "cat2", "distMaxArcsec", "RESPONSEFORMAT")


@dataclass(frozen=True)
class Asked:
    """The first catalog: positions (ICRS), and columns that come back beside each match, as text."""

    ra_deg: Degrees
    dec_deg: Degrees
    columns: tuple[ServedColumn, ...]
    cells: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return len(self.ra_deg)


@dataclass(frozen=True)
class XMatchRequest:
    """A request that the service takes."""

    catalog: ServedCatalog
    asked: Asked
    radius_arcsec: float
    answer_format: str
    best: bool
    """Only the nearest source of each position."""
    max_rows: int
    columns1: tuple[str, ...]
    columns2: tuple[str, ...]


def catalog_name(form: Form) -> str:
    """The catalog that a request is about, without ``vizier:``; empty where it names none."""
    named = form.get("cat2", "")
    return named.removeprefix("vizier:") if isinstance(named, str) else ""


def read_question(form: Form, catalogs: Mapping[str, ServedCatalog], max_rows: int) -> XMatchRequest:
    """What a request asks; ``max_rows`` is the most that an answer may have. Raises ``Refused``."""
    for name in _REQUIRED:
        if not form.get(name.lower()):
            raise Refused(f'Missing parameter "{name}".')
    if _text(form, "request").lower() != "xmatch":
        raise Refused(f'Unknown REQUEST "{_text(form, "request")}": must be xmatch.')
    answer_format = _one_of(form, "RESPONSEFORMAT", FORMATS)
    radius_arcsec = _number(form, "distMaxArcsec")
    if not 0 < radius_arcsec <= MAX_RADIUS_ARCSEC:
        raise Refused(f"distMaxArcsec must be above 0 and at most {MAX_RADIUS_ARCSEC:g}: {radius_arcsec:g}.")
    best = _one_of(form, "selection", ("all", "best")) == "best"
    rows = min(_whole_number(form, "MAXREC"), max_rows) if form.get("maxrec") else max_rows
    catalog = find_catalog(catalogs, _text(form, "cat2"))
    asked = _in_area(form, _read_cat1(form, catalogs))
    columns1 = _chosen(form, "cols1", [column.name for column in asked.columns])
    columns2 = _chosen(form, "cols2", list(catalog.columns))
    return XMatchRequest(catalog, asked, radius_arcsec, answer_format, best, rows, columns1, columns2)


def find_catalog(catalogs: Mapping[str, ServedCatalog], name: str) -> ServedCatalog:
    """A catalog by the name a client gives it, with ``vizier:`` or without. Raises ``Refused``."""
    found = catalogs.get(name.removeprefix("vizier:"))
    if found is None:
        raise Refused("Catalogue must be a URL or simbad or vizier:tabName")
    return found


def _read_cat1(form: Form, catalogs: Mapping[str, ServedCatalog]) -> Asked:
    given = form["cat1"]
    if isinstance(given, bytes):
        return _read_upload(form, given)
    catalog = find_catalog(catalogs, given)
    rows = np.arange(len(catalog))
    cells = {name: catalog.cells(name, rows) for name in catalog.columns}
    return Asked(catalog.ra_deg, catalog.dec_deg, tuple(catalog.columns.values()), cells)


def _read_upload(form: Form, body: bytes) -> Asked:
    if body.lstrip().startswith(b"<"):
        raise Refused("This stand-in reads uploads in CSV; it is the real service that also reads VOTable.")
    try:
        table = read_csv(body)
    except ValueError as error:
        raise Refused(f"The uploaded table is no CSV: {error}") from error
    ra, dec = _position(form, table, "colRA1"), _position(form, table, "colDec1")
    bad = np.flatnonzero(~on_the_sky(ra, dec))
    if len(bad):
        row = int(bad[0])
        raise Refused(f"Row {row + 1} of the uploaded table is not on the sky: ra={ra[row]}, dec={dec[row]}.")
    columns = tuple(ServedColumn(name, datatype(table.column(name))) for name in table.column_names)
    return Asked(ra, dec, columns, {name: table.column(name).combine_chunks() for name in table.column_names})


def _position(form: Form, table: pa.Table, parameter: str) -> Degrees:
    name = form.get(parameter.lower())
    if not name:
        raise Refused(f'Missing parameter "{parameter}".')
    if name not in table.column_names:
        raise Refused(f'Column name "{_text(form, parameter)}" not found in table metadata')
    try:
        cast: Degrees = pc.cast(table.column(name), pa.float64()).to_numpy()
    except pa.ArrowInvalid as error:
        raise Refused(f'The column "{_text(form, parameter)}" of the uploaded table holds what is no number: {error}') from error
    return cast


def _in_area(form: Form, asked: Asked) -> Asked:
    """The positions of ``area``: it limits the first catalog only."""
    area = _one_of(form, "area", ("allsky", "cone", "zone", "hpx"))
    if area == "allsky":
        return asked
    if area != "cone":
        raise Refused(f"This stand-in knows the areas allsky and cone; {area} is for the real service.")
    center = [_number(form, name) for name in ("coneRA", "coneDec")]
    inside = separation_arcsec(asked.ra_deg, asked.dec_deg, *center) <= _number(form, "coneRadiusDeg") * 3600
    cells = {name: column.filter(pa.array(inside)) for name, column in asked.cells.items()}
    return Asked(asked.ra_deg[inside], asked.dec_deg[inside], asked.columns, cells)


def _chosen(form: Form, parameter: str, names: list[str]) -> tuple[str, ...]:
    wanted = [name.strip() for name in _text(form, parameter).split(",") if name.strip()]
    for name in wanted:
        if name not in names:
            raise Refused(f'Column name "{name}" not found in table metadata')
    return tuple(wanted or names)


def _text(form: Form, parameter: str) -> str:
    value = form.get(parameter.lower(), "")
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _one_of(form: Form, parameter: str, known: tuple[str, ...]) -> str:
    value = _text(form, parameter).lower() or known[0]
    if value not in known:
        raise Refused(f'Unknown {parameter} "{value}": must be one of {", ".join(known)}.')
    return value


def _number(form: Form, parameter: str) -> float:
    try:
        value = float(_text(form, parameter))
    except ValueError as error:
        raise Refused(f'{parameter} is no number: "{_text(form, parameter)}".') from error
    if not math.isfinite(value):
        raise Refused(f"{parameter} is not finite: {value}.")
    return value


def _whole_number(form: Form, parameter: str) -> int:
    text = _text(form, parameter)
    if not text.isdecimal() or int(text) == 0:
        raise Refused(f'{parameter} is no number of rows: "{text}".')
    return int(text)
