"""A user's table to positions: the one way for ``get_xmatches``, ``file:`` catalogs and lists of cones.

ICRS, degrees. Numbers are of the unit that the table tells, else degrees; text is decimal, or sexagesimal: then right
ascension is in hours unless the table says degrees. A value that is not there, whichever way, is NaN here, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from alerts.catalogs.catalog import BadCatalog, Floats
from alerts.catalogs.files.angles import AngleColumn, angle_column, degrees_of
from alerts.catalogs.files.position_columns import ColumnFacts, PositionColumns, find_positions
from alerts.positions import on_the_sky


def arrow_positions(what: str, table: pa.RecordBatch | pa.Table, columns: PositionColumns) -> tuple[Floats, Floats]:
    """Right ascension and declination (ICRS, degrees) of the rows of an Arrow table; NaN where a row has none.

    RA 360 is RA 0; other values may be off the sky. Raises ``BadCatalog`` for text that is no angle, with its row.
    """
    ra, dec = (angle_column(what, name, table.column(name)) for name in (columns.ra, columns.dec))
    return _degrees(what, ra, columns.ra_unit, is_ra=True), _degrees(what, dec, columns.dec_unit, is_ra=False)


def table_positions(what: str, table: Table | pa.Table, ra: str | None = None, dec: str | None = None) -> tuple[Floats, Floats]:
    """Right ascension and declination (ICRS, degrees) of all rows of a table; ``ra``, ``dec`` name columns.

    Without names a single column of astropy's ``SkyCoord`` is the positions, of whatever frame. Raises ``BadCatalog`` for
    the first row whose position is missing, unreadable or off the sky.
    """
    say = "ra='..', dec='..'"
    if isinstance(table, pa.Table):
        found = find_positions(what, arrow_fields(table.schema), ra, dec, say=say)
        sides = [angle_column(what, name, table.column(name)) for name in (found.ra, found.dec)]
    else:
        coordinates = [name for name in table.colnames if isinstance(table[name], SkyCoord)]
        if len(coordinates) == 1 and ra is None and dec is None:
            icrs = table[coordinates[0]].icrs
            found = PositionColumns(coordinates[0], coordinates[0], u.deg, u.deg)
            sides = [_of_astropy(what, coordinates[0], angle) for angle in (icrs.ra, icrs.dec)]
        else:
            found = find_positions(what, table_fields(table), ra, dec, say=say)
            sides = [_of_astropy(what, name, table[name]) for name in (found.ra, found.dec)]
    angles = _degrees(what, sides[0], found.ra_unit, is_ra=True), _degrees(what, sides[1], found.dec_unit, is_ra=False)
    _refuse_missing(what, sides, angles)
    return angles


def arrow_fields(schema: pa.Schema) -> list[ColumnFacts]:
    """What an Arrow schema says of its columns: in a field's metadata, or where astropy writes it."""
    yaml = (schema.metadata or {}).get(b"table_meta_yaml")
    header: dict[str, Any] = get_header_from_yaml(yaml.decode().splitlines()) if yaml else {}
    units = {column["name"]: column.get("unit") or "" for column in header.get("datatype", [])}
    units |= {name: told.get("unit", "") for name, told in header.get("meta", {}).get("__serialized_columns__", {}).items()}
    told = [(field.name, field.metadata or {}) for field in schema]
    return [ColumnFacts(name, _told(meta, b"unit") or str(units.get(name, "")), _told(meta, b"ucd")) for name, meta in told]


def _told(metadata: Mapping[bytes, bytes], key: bytes) -> str:
    return metadata.get(key, b"").decode("utf-8", "replace")


def table_fields(table: Table) -> list[ColumnFacts]:
    """What an astropy table says of its columns."""
    facts = [(name, table[name].info) for name in table.colnames]
    return [
        ColumnFacts(name, str(info.unit or ""), *(str((info.meta or {}).get(key, "")) for key in ("ucd", "frame")))
        for name, info in facts
    ]


def _of_astropy(what: str, name: str, column: Any) -> AngleColumn:
    """A ``Column``, ``MaskedColumn``, ``Quantity`` or ``Angle``, masked or not. What stands under a mask is no value."""
    mask = np.asarray(getattr(column, "mask", False))
    values = column.unmasked if hasattr(column, "unmasked") else column
    values = values.value if hasattr(values, "value") and isinstance(values, u.Quantity) else values
    bare = np.ma.getdata(np.asarray(values) if not isinstance(values, np.ma.MaskedArray) else values)
    bare = np.asarray(bare)
    if bare.ndim != 1:
        raise BadCatalog(f"column {name!r} of {what} holds arrays of {bare.shape[1:]}; it must hold one number per row")
    mask = np.broadcast_to(mask, bare.shape)
    if bare.dtype.kind in "iuf":
        return AngleColumn(name, np.where(mask, np.nan, bare.astype(np.float64)), column)
    if bare.dtype.kind in "SUO":
        texts = [
            None if gone or value is None else _text(value) for value, gone in zip(bare.tolist(), mask.tolist(), strict=True)
        ]
        return AngleColumn(name, pa.array(texts, pa.string()), column)
    raise BadCatalog(
        f"column {name!r} of {what} holds {bare.dtype}; it must hold decimal numbers in deg, or text such as 05:34:31.9"
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _degrees(what: str, column: AngleColumn, unit: u.UnitBase | None, *, is_ra: bool) -> Floats:
    in_hours = unit == u.hourangle or (unit is None and is_ra)
    return degrees_of(what, column, is_ra=is_ra, in_hours=in_hours, scaled=lambda values: _scaled(values, unit))


def _scaled(values: Floats, unit: u.UnitBase | None) -> Floats:
    return values if unit is None or unit == u.deg else np.asarray(unit.to(u.deg, values), dtype=np.float64)


def _refuse_missing(what: str, sides: list[AngleColumn], angles: tuple[Floats, Floats]) -> None:
    good = on_the_sky(*angles)
    if good.all():
        return
    row = int(np.flatnonzero(~good)[0])
    for side, degrees in zip(sides, angles, strict=True):
        if np.isnan(degrees[row]):
            raise BadCatalog(f"row {row} (from 0) of {what} has no position, {side.name!r} is {_shown(side, row)}; leave it out")
    raise BadCatalog(
        f"row {row} (from 0) of {what} is at {sides[0].name} {_shown(sides[0], row)}, {sides[1].name} {_shown(sides[1], row)}: "
        f"ra {angles[0][row]:.10g} deg, dec {angles[1][row]:.10g} deg is no place on the sky; leave it out"
    )


def _shown(side: AngleColumn, row: int) -> str:
    """A value as it came: what is masked, null, NaN and empty are four different things to whoever looks for it."""
    if isinstance(side.raw, pa.Array):
        value = side.raw[row].as_py()
        return "NULL" if value is None else repr(value)
    if np.broadcast_to(np.asarray(getattr(side.raw, "mask", False)), len(side.raw))[row]:
        return "masked"
    value = side.raw[row]
    return repr(_text(value)) if isinstance(value, (str, bytes)) else str(value)
