"""Columns of angles in Arrow as degrees: numbers, or text that is decimal or sexagesimal. It loads Arrow and no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from alerts.catalogs.catalog import BadCatalog, Floats
from alerts.positions import wrapped

_MISSING = r"^(?i:nan|null|none|--|n/a)?$"
_BETWEEN = r"(?P<mark>\s*[hd°:]\s*|\s+)"
_SEXAGESIMAL = (
    rf"^(?P<sign>[+-]?)\s*(?P<whole>\d{{1,3}}){_BETWEEN}(?P<minutes>\d{{1,2}}(?:\.\d*)?)"
    r"(?:(?:\s*[m'′:]\s*|\s+)(?P<seconds>\d{1,2}(?:\.\d*)?)\s*(?:s|\"|″|'')?|\s*[m'′]?)$"
)
"""Hours or degrees, minutes, and seconds if there are any: ``05 34 31.9``, ``5:34:31.9``, ``05h34m31.9s``, ``+22d00.9m``."""


@dataclass(frozen=True)
class AngleColumn:
    """One column: numbers, NaN where there are none, or texts, null where there are none; and its values as they came."""

    name: str
    values: Floats | pa.Array
    raw: Any


def degrees_of(
    what: str,
    column: AngleColumn,
    *,
    is_ra: bool,
    in_hours: bool,
    scaled: Callable[[Floats], Floats] = lambda values: values,
) -> Floats:
    """The angles of a column of a table called ``what``, in degrees; NaN where a row has none. RA 360 is RA 0.

    ``scaled`` makes decimal numbers degrees; ``in_hours``: whether sexagesimal text that does not say so is. Raises
    ``BadCatalog`` for text that is no angle, with its row.
    """
    if isinstance(column.values, np.ndarray):
        degrees = scaled(column.values)
    else:
        degrees = _of_texts(what, column.name, column.values, scaled, is_ra=is_ra, in_hours=in_hours)
    # 360 is the same meridian as 0, and writers round to it.
    return wrapped(degrees) if is_ra and (degrees == 360).any() else degrees


def is_sexagesimal(text: str) -> bool:
    """Whether a text is written as hours or degrees, minutes and seconds."""
    return pc.match_substring_regex(pa.scalar(_bare(pa.array([text]))[0].as_py(), pa.string()), _SEXAGESIMAL).as_py() is True


def angle_column(what: str, name: str, column: Any) -> AngleColumn:
    """A column of numbers or of texts. Raises ``BadCatalog`` for any other."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = pc.fill_null(pc.cast(array, pa.float64(), safe=False), float("nan"))
        return AngleColumn(name, values.to_numpy(zero_copy_only=False), array)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return AngleColumn(name, array.cast(pa.string()), array)
    raise BadCatalog(f"column {name!r} of {what} holds {kind}; it must hold decimal numbers in deg, or text like 05:34:31.9")


def _of_texts(
    what: str, name: str, texts: pa.Array, scaled: Callable[[Floats], Floats], *, is_ra: bool, in_hours: bool
) -> Floats:
    bare = _bare(texts)
    is_number = pc.match_substring_regex(bare, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|^[+-]?(?i:inf|infinity)$")
    if pc.all(is_number, min_count=0).as_py():
        return scaled(_numbers(bare))
    parts = pc.extract_regex(bare, _SEXAGESIMAL)
    whole, minutes, seconds = (_numbers(parts.field(part)) for part in ("whole", "minutes", "seconds"))
    # A match without seconds gives an empty text, that is 0.
    seconds = np.where(np.isnan(seconds), 0.0, seconds)
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
