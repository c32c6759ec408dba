"""Which columns of a catalog's file hold what, told from its header: what can be refused before its rows are read is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import astropy.units as u

from alerts.catalogs.catalog import BadCatalog, SourceColumns
from alerts.catalogs.files.angles import is_sexagesimal
from alerts.catalogs.files.own_radii import RadiusColumn, radius_column
from alerts.catalogs.files.position_columns import PositionColumns, find_positions, listed
from alerts.catalogs.files.read_table import Header, Opener, read_header
from alerts.catalogs.spec import check_pairs, jyear

_PARAMETERS = ("ra", "dec", "id", "radius", "pmra", "pmdec", "epoch")
_IDS = ("source_id", "id", "name", "main_id", "objid", "object_id", "designation", "source")


@dataclass(frozen=True)
class FileColumns:
    """The columns of a file."""

    sources: SourceColumns
    positions: PositionColumns
    radius: RadiusColumn | None
    """Where its sources have radii of their own."""


def file_columns(path: str, columns: Mapping[str, str], opener: Opener, *, is_list: bool = False) -> FileColumns:
    """What is where in a file, from its header alone; ``columns`` as in ``open_local``, ``is_list`` too.

    Raises ``BadCatalog`` where ``open_local`` would, as far as a header tells.
    """
    unknown = sorted(set(columns) - set(_PARAMETERS))
    if unknown:
        raise BadCatalog(f"{path} has the parameter {unknown[0]!r}; a file takes {', '.join(_PARAMETERS)}")
    epoch = jyear(path, columns, "epoch")
    check_pairs(path, columns)
    if "pmra" in columns and epoch is None:
        raise BadCatalog(f"{path} has proper motions but no epoch; say when its positions hold: epoch=2016.0")
    header = read_header(path, opener)
    positions = find_positions(path, header.fields, columns.get("ra"), columns.get("dec"))
    for name in (positions.ra, positions.dec):
        _check_position(path, header, name)
    pmra, pmdec = columns.get("pmra"), columns.get("pmdec")
    for motion in (pmra, pmdec):
        if motion is not None:
            _check_motion(path, header, motion)
    if header.empty:
        raise BadCatalog(f"{path} has no rows; a catalog without sources would match nothing, and not say why")
    source_id = _id(path, header, columns.get("id"))
    sources = SourceColumns(positions.ra, positions.dec, source_id, pmra, pmdec, position_epoch_jyear=epoch)
    return FileColumns(sources, positions, radius_column(path, header, columns, usual=is_list))


def _check_position(path: str, header: Header, name: str) -> None:
    """Refuse early what is neither a number nor text that may be an angle."""
    is_text = header.kinds[name] in ("string", "large_string", "string_view")
    sample = header.samples.get(name)
    if name not in header.numbers and not is_text and not (sample is not None and is_sexagesimal(sample)):
        raise BadCatalog(
            f"column {name!r} of {path} holds {header.kinds[name]}; it must hold decimal numbers in deg, or text like 05:34:31.9"
        )


def _check_motion(path: str, header: Header, name: str) -> None:
    unit = u.mas / u.yr
    _check_there(path, header, name)
    if name not in header.numbers:
        raise BadCatalog(f"column {name!r} of {path} holds {header.kinds[name]}; it must hold decimal numbers in {unit}")
    text = next(field.unit for field in header.fields if field.name == name)
    told = u.Unit(text, parse_strict="silent")
    # What astropy cannot read, and what is not said, is taken for right.
    if text and not isinstance(told, u.UnrecognizedUnit) and told != unit:
        raise BadCatalog(f"column {name!r} of {path} is in {text}; it must be in {unit}")


def _check_there(path: str, header: Header, name: str) -> None:
    if name not in header.kinds:
        raise BadCatalog(f"{path} has no column {name!r}; it has {listed(header.kinds)}")


def _id(path: str, header: Header, wanted: str | None) -> str | None:
    if wanted is None:
        return next((name for known in _IDS for name in header.kinds if name.lower() == known and name in header.ids), None)
    _check_there(path, header, wanted)
    if wanted not in header.ids:
        raise BadCatalog(f"column {wanted!r} of {path} holds {header.kinds[wanted]}; ids are integers or text")
    return wanted
