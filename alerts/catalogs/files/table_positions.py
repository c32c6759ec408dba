"""A user's table to positions: the one way for ``get_xmatches``, ``file:`` catalogs and lists of cones.

ICRS, degrees. Numbers are of the unit that the table tells, else degrees; text is decimal, or sexagesimal: then right
ascension is in hours unless the table says degrees. A value that is not there, whichever way, is NaN here, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml

from alerts.catalogs.catalog import BadCatalog, Floats
from alerts.catalogs.files.position_columns import ColumnFacts, PositionColumns, find_positions
from alerts.positions import on_the_sky, wrapped

_MISSING = r"^(?i:nan|null|none|--|n/a)?$"
_BETWEEN = r"(?P<mark>\s*[hd°:]\s*|\s+)"
_SEXAGESIMAL = (
    rf"^(?P<sign>[+-]?)\s*(?P<whole>\d{{1,3}}){_BETWEEN}(?P<minutes>\d{{1,2}}(?:\.\d*)?)"
    r"(?:(?:\s*[m'′:]\s*|\s+)(?P<seconds>\d{1,2}(?:\.\d*)?)\s*(?:s|\"|″|'')?|\s*[m'′]?)$"
)
"""Hours or degrees, minutes, and seconds if there are any: ``05 34 31.9``, ``5:34:31.9``, ``05h34m31.9s``, ``+22d00.9m``."""
_Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class _Column:
    """One column: numbers, NaN where there are none, or texts, null where there are none; and its values as they came."""

    name: str
    values: Floats | pa.Array
    raw: Any


def arrow_positions(what: str, table: pa.RecordBatch | pa.Table, columns: PositionColumns) -> tuple[Floats, Floats]:
    """Right ascension and declination (ICRS, degrees) of the rows of an Arrow table; NaN where a row has none.

    RA 360 is RA 0; other values may be off the sky. Raises ``BadCatalog`` for text that is no angle, with its row.
    """
    ra, dec = (_of_arrow(what, name, table.column(name)) for name in (columns.ra, columns.dec))
    return _degrees(what, ra, columns.ra_unit, is_ra=True), _degrees(what, dec, columns.dec_unit, is_ra=False)


def table_positions(what: str, table: Table | pa.Table, ra: str | None = None, dec: str | None = None) -> tuple[Floats, Floats]:
    """Right ascension and declination (ICRS, degrees) of all rows of a table; ``ra``, ``dec`` name columns.

    Without names a single column of astropy's ``SkyCoord`` is the positions, of whatever frame. Raises ``BadCatalog`` for
    the first row whose position is missing, unreadable or off the sky.
    """
    say = "ra='..', dec='..'"
    if isinstance(table, pa.Table):
        found = find_positions(what, arrow_fields(table.schema), ra, dec, say=say)
        sides = [_of_arrow(what, name, table.column(name)) for name in (found.ra, found.dec)]
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


def is_sexagesimal(text: str) -> bool:
    """Whether a text is written as hours or degrees, minutes and seconds."""
    return pc.match_substring_regex(pa.scalar(_bare(pa.array([text]))[0].as_py(), pa.string()), _SEXAGESIMAL).as_py() is True


def _of_arrow(what: str, name: str, column: Any) -> _Column:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.fill_null(pc.cast(array, pa.float64(), safe=False), float("nan"))
        return _Column(name, values.to_numpy(zero_copy_only=False), array)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return _Column(name, array.cast(pa.string()), array)
    raise BadCatalog(f"column {name!r} of {what} holds {kind}; it must hold decimal numbers in deg, or text like 05:34:31.9")


def _of_astropy(what: str, name: str, column: Any) -> _Column:
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
        return _Column(name, np.where(mask, np.nan, bare.astype(np.float64)), column)
    if bare.dtype.kind in "SUO":
        texts = [
            None if gone or value is None else _text(value) for value, gone in zip(bare.tolist(), mask.tolist(), strict=True)
        ]
        return _Column(name, pa.array(texts, pa.string()), column)
    raise BadCatalog(
        f"column {name!r} of {what} holds {bare.dtype}; it must hold decimal numbers in deg, or text such as 05:34:31.9"
    )


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _degrees(what: str, column: _Column, unit: u.UnitBase | None, *, is_ra: bool) -> Floats:
    if isinstance(column.values, np.ndarray):
        degrees = _scaled(column.values, unit)
    else:
        degrees = _of_texts(what, column.name, column.values, unit, is_ra)
    # 360 is the same meridian as 0, and writers round to it.
    return wrapped(degrees) if is_ra and (degrees == 360).any() else degrees


def _scaled(values: Floats, unit: u.UnitBase | None) -> Floats:
    return values if unit is None or unit == u.deg else np.asarray(unit.to(u.deg, values), dtype=np.float64)


def _of_texts(what: str, name: str, texts: pa.Array, unit: u.UnitBase | None, is_ra: bool) -> Floats:
    bare = _bare(texts)
    is_number = pc.match_substring_regex(bare, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$")
    if pc.all(is_number, min_count=0).as_py():
        return _scaled(_numbers(bare), unit)
    parts = pc.extract_regex(bare, _SEXAGESIMAL)
    whole, minutes, seconds = (_numbers(parts.field(part)) for part in ("whole", "minutes", "seconds"))
    # A match without seconds gives an empty text, that is 0.
    seconds = np.where(np.isnan(seconds), 0.0, seconds)
    in_hours = unit == u.hourangle or (unit is None and is_ra)
    mark = parts.field("mark")
    hours = np.where(_has(mark, "h"), True, np.where(_has(mark, "d") | _has(mark, "°"), False, in_hours))
    given = np.asarray(bare.is_valid())
    fraction = np.asarray(pc.fill_null(pc.match_substring(parts.field("minutes"), "."), False))
    wrong = np.isnan(whole) | (minutes >= 60) | (seconds > 60) | (hours & (whole > 24)) | (hours & (not is_ra))
    wrong |= fraction & np.asarray(pc.fill_null(pc.not_equal(parts.field("seconds"), ""), False))
    # Numbers among sexagesimal texts, or the other way round: whichever is rarer is what a person looks for.
    sexagesimal = ~wrong & given
    number = np.asarray(is_number.fill_null(False))
    if (wrong & given & ~number).any():
        wrong &= ~number
    elif 0 < np.count_nonzero(sexagesimal) < np.count_nonzero(number):
        wrong = sexagesimal
    if len(rows := np.flatnonzero(wrong & given)):
        units = "hours" if in_hours else "degrees"
        raise BadCatalog(
            f"row {rows[0]} (from 0) of {what} has {texts[int(rows[0])].as_py()!r} for {name!r}; "
            f"write all of the column as decimal degrees, or all as {units}, minutes and seconds such as 05:34:31.9"
        )
    sign = np.where(_has(parts.field("sign"), "-"), -1.0, 1.0)
    return sign * (whole + minutes / 60 + seconds / 3600) * np.where(hours, 15.0, 1.0)


def _bare(texts: pa.Array) -> pa.Array:
    """Texts without blanks and quotes around them, null where they say that nothing is there."""
    bare = pc.replace_substring(pc.utf8_trim(texts, ' \t\r\n"\u00a0'), "\u2212", "-")
    return pc.if_else(pc.match_substring_regex(bare, _MISSING), pa.scalar(None, pa.string()), bare)


def _numbers(texts: pa.Array) -> Floats:
    """Texts as floats: NaN for null and for nothing."""
    values = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts).cast(pa.float64())
    return np.asarray(pc.fill_null(values, float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)


def _has(texts: pa.Array, letter: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray(pc.fill_null(pc.match_substring(texts, letter), False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _refuse_missing(what: str, sides: list[_Column], angles: tuple[Floats, Floats]) -> None:
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


def _shown(side: _Column, row: int) -> str:
    """A value as it came: what is masked, null, NaN and empty are four different things to whoever looks for it."""
    if isinstance(side.raw, pa.Array):
        value = side.raw[row].as_py()
        return "NULL" if value is None else repr(value)
    if np.broadcast_to(np.asarray(getattr(side.raw, "mask", False)), len(side.raw))[row]:
        return "masked"
    value = side.raw[row]
    return repr(_text(value)) if isinstance(value, (str, bytes)) else str(value)
