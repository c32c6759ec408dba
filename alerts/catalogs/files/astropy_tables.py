"""Tables of astropy and of Arrow, one into the other, and the files that astropy reads: exact ids, nothing under a mask."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from astropy.coordinates import SkyCoord
from astropy.io import fits, votable
from astropy.table import MaskedColumn, Table
from astropy.time import Time

from alerts.catalogs.catalog import BadCatalog


def to_astropy(table: pa.Table | pa.RecordBatch) -> Table:
    """An Arrow table as an astropy table: every column in its own type, null masked."""
    found = Table()
    for name, column in zip(table.schema.names, table.columns, strict=True):
        found[name] = masked_column(name, column)
    return found


def masked_column(name: str, column: pa.Array | pa.ChunkedArray, unit: str | None = None) -> MaskedColumn:
    """An Arrow column for an astropy table. Missing values are masked: NaN and empty are something else.

    Numbers keep their type, so that an id of 19 digits stays what it is; what is neither number, truth nor text comes as
    Python's objects.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    mask = np.asarray(array.is_null().to_numpy(zero_copy_only=False), dtype=np.bool_)
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        filled = pc.fill_null(array, pa.scalar(False if pa.types.is_boolean(kind) else 0, kind))
        return MaskedColumn(filled.to_numpy(zero_copy_only=False), name, mask=mask, unit=unit)
    values = array.to_pylist()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return MaskedColumn(["" if value is None else value for value in values], name, mask=mask, dtype=str, unit=unit)
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return MaskedColumn(objects, name, mask=mask, unit=unit)


def from_astropy(table: Table) -> pa.RecordBatch:
    """An astropy table as Arrow columns; a column of ``SkyCoord`` as two, ``NAME.ra`` and ``NAME.dec`` (ICRS, degrees)."""
    plain = plain_table(table)
    return pa.RecordBatch.from_arrays([arrow_column(plain[name]) for name in plain.colnames], names=plain.colnames)


def plain_table(table: Table) -> Table:
    """A table whose columns of ``SkyCoord`` are two of degrees, and whose times are texts."""
    found = Table()
    for name in table.colnames:
        column = table[name]
        if isinstance(column, SkyCoord):
            icrs = column.icrs
            found[f"{name}.ra"], found[f"{name}.dec"] = (
                MaskedColumn(angle.to_value(u.deg), unit=u.deg) for angle in (icrs.ra, icrs.dec)
            )
        elif isinstance(column, Time):
            found[name] = column.isot
        else:
            found[name] = column
            found[name].info.meta = column.info.meta
    return found


def read_votable(file: BinaryIO) -> Table:
    """The first table of a VOTable; each column's UCD, and the frame that it refers to, in its ``meta``."""
    parsed = votable.parse(io.BytesIO(file.read()), verify="ignore")
    first = parsed.get_first_table()
    systems = {system.ID: f"{system.system} {system.equinox or ''}".strip() for system in parsed.iter_coosys()}
    found = first.to_table(use_names_over_ids=True)
    for told, name in zip(first.fields, found.colnames, strict=True):
        found[name].info.meta = {"ucd": told.ucd or "", "frame": systems.get(told.ref, "")}
    return found


@contextmanager
def fits_table(path: str, file: BinaryIO) -> Iterator[Any]:
    """The first table of a FITS file. Raises ``BadCatalog`` where there is none, or only a part of it."""
    with fits.open(file, memmap=False, lazy_load_hdus=True) as hdus:
        for hdu in hdus:
            if isinstance(hdu, (fits.BinTableHDU, fits.TableHDU)):
                header = hdu.header
                needed = hdu.fileinfo()["datLoc"] + header["NAXIS1"] * header["NAXIS2"] + header.get("PCOUNT", 0)
                if file.seek(0, io.SEEK_END) < needed:
                    raise BadCatalog(f"{path} is cut: it ends before byte {needed} where its table does; copy it again")
                yield hdu
                return
    raise BadCatalog(f"{path} holds no table, only images; name the FITS file of a catalog")


def fits_types(hdu: Any) -> list[pa.DataType]:
    """The types that the columns of a table in FITS have as Arrow columns."""
    if isinstance(hdu, fits.TableHDU):
        ascii_types = {"A": pa.string(), "I": pa.int64()}
        return [ascii_types.get(column.format[0], pa.float64()) for column in hdu.columns]
    return [_dtype(hdu.columns.dtype[at]) for at in range(len(hdu.columns))]


def _dtype(kind: np.dtype[Any]) -> pa.DataType:
    if kind.shape or kind.kind == "O":
        return pa.list_(_dtype(kind.base) if kind.shape else pa.null())
    return pa.string() if kind.kind in "SU" else pa.from_numpy_dtype(kind.newbyteorder("="))


def arrow_column(column: Any) -> pa.Array:
    """A column of an astropy table: big-endian numbers, padded bytes, masked where the file declares a null."""
    mask = np.asarray(getattr(column, "mask", False))
    bare = column.unmasked if hasattr(column, "unmasked") else column
    values = np.ma.getdata(np.ma.asanyarray(bare))
    values = np.asarray(values)
    mask = np.broadcast_to(mask, values.shape)
    if values.dtype.kind == "O":
        return _from_objects(values, mask)
    flat, gone = values.reshape(-1), np.ascontiguousarray(mask.reshape(-1))
    if flat.dtype.kind == "S":
        array = _from_texts(flat)
        array = pc.if_else(pa.array(~gone), array, pa.scalar(None, array.type)) if gone.any() else array
    else:
        array = pa.array(flat.tolist() if flat.dtype.kind == "U" else _native(flat), mask=gone if gone.any() else None)
    return array if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(array, int(np.prod(values.shape[1:])))


def _from_objects(values: np.ndarray[Any, Any], mask: np.ndarray[Any, Any]) -> pa.Array:
    """Texts and arrays of any length."""
    if mask.ndim > 1:
        mask = np.asarray(mask.all(axis=tuple(range(1, mask.ndim))))
    rows = zip(values, mask.tolist(), strict=True)
    return pa.array(
        [
            None if gone or value is None else value if isinstance(value, str) else _native(np.asarray(value))
            for value, gone in rows
        ]
    )


def _native(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(values, values.dtype.newbyteorder("="))


def _from_texts(values: np.ndarray[Any, Any]) -> pa.Array:
    texts = pa.array(values, pa.binary())
    try:
        texts = texts.cast(pa.string())
    except pa.ArrowInvalid:
        # The standard has ASCII only; where a file has more, it mostly is this.
        texts = pa.array(np.char.decode(values, "latin-1"))
    return pc.utf8_rtrim(texts, " ")
