"""Catalogs from files: any table with positions, and what the real service once answered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import astropy.units as u
import pyarrow as pa
import pyarrow.parquet as pq

from alerts.catalogs.files.position_columns import find_positions
from alerts.catalogs.files.table_positions import arrow_fields
from simulation.catalog_server.catalog import Declared, ServedCatalog
from simulation.catalog_server.texts import datatype, read_csv

_CHOICES = ("ra", "dec", "pmra", "pmdec", "epoch", "match_epoch")


def from_file(path: str | Path, chosen: Mapping[str, str] | None = None) -> ServedCatalog:
    """A catalog of a Parquet or CSV file, with all of its columns; what stands in a CSV file is served as it stands there.

    ``chosen`` names the columns ra and dec (degrees, ICRS) where they have no usual name, pmra and pmdec (mas/yr), and gives
    epoch and match_epoch (Julian years). Raises ``ValueError`` when these are wrong, ``OSError`` when there is no such file.
    """
    given = dict(chosen or {})
    if unknown := set(given) - set(_CHOICES):
        raise ValueError(f"{path}: {', '.join(sorted(unknown))} cannot be chosen; {', '.join(_CHOICES)} can")
    try:
        file = Path(path)
        if file.suffix not in (".parquet", ".csv"):
            raise ValueError("this is neither Parquet (.parquet) nor CSV (.csv)")
        table = pq.read_table(file) if file.suffix == ".parquet" else read_csv(file.read_bytes())
        found = find_positions("it", arrow_fields(table.schema), given.get("ra"), given.get("dec"))
        if told := next((unit for unit in (found.ra_unit, found.dec_unit) if unit not in (None, u.deg)), None):
            raise ValueError(f"its positions are in {told}; what is served is served as it is, so write them in degrees")
        epoch, match_epoch = (_jyear(name, given.get(name, "2000")) for name in ("epoch", "match_epoch"))
        declared = Declared(found.ra, found.dec, given.get("pmra"), given.get("pmdec"), epoch, match_epoch)
        return ServedCatalog(table, declared) if file.suffix == ".parquet" else _of_texts(table, declared)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def from_answer(path: str | Path, first_column: str, declared: Declared) -> ServedCatalog:
    """A catalog of the sources that an answer of the service (CSV) holds, each once, every value in the text it came in.

    The answer's columns from ``first_column`` on are the catalog's; those before are the separation and the upload's.
    """
    answer = read_csv(Path(path).read_bytes())
    sources = answer.select(answer.column_names[answer.column_names.index(first_column) :])
    return _of_texts(sources.group_by(sources.column_names, use_threads=False).aggregate([]), declared)


def _of_texts(table: pa.Table, declared: Declared) -> ServedCatalog:
    return ServedCatalog(table, declared, datatypes={name: datatype(table.column(name)) for name in table.column_names})


def _jyear(key: str, text: str) -> float:
    if not re.fullmatch(r"\d{4}(\.\d+)?", text):
        raise ValueError(f"{key}={text} is no Julian year, for example 2016.0")
    return float(text)
