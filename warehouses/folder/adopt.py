"""A warehouse folder from before there was a manifest, or whose manifest is lost: what is there makes up the tables.

Migrations of a folder's format stand here: ``warehouses.folder.manifest.FORMAT_VERSION`` says of which it is.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq

from warehouses.files import StoredFile, files_below, open_file
from warehouses.folder import unit_inputs
from warehouses.folder.manifest import Manifest
from warehouses.folder.manifest_rows import rows_of
from warehouses.folder.parquet_files import INPUTS, described
from warehouses.units import Unit, WrittenFile, printable

_AT_ONCE = 8


def adopted(warehouse: str, version: int = 0, without: Collection[str] = ()) -> Manifest:
    """A manifest of all Parquet files in the tables' folders but some, from their footers. Raises ``OSError`` for one without."""
    below = ((file.uri.removeprefix(f"{warehouse}/"), file) for file in files_below(warehouse))
    found = [file for path, file in below if _is_of_a_table(path) and path not in without]
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        files = list(threads.map(_described, found))
    kept = [file.uri.rsplit("/", 1)[-1].removesuffix(".json") for file in files_below(f"{warehouse}/{INPUTS}")]
    keys = {file.unit for file in files}
    units: dict[str, Unit] = {key: unit_inputs.read_inputs(warehouse, key) for key in kept if key in keys}
    return Manifest(version, rows_of(warehouse, files, units))


def _is_of_a_table(path: str) -> bool:
    if path.encode("utf-8", "replace").decode() != path and path.endswith(".parquet") and not path.startswith("_"):
        raise OSError(f"{printable(path)} has a name that is no UTF-8, which no manifest can hold; rename it")
    return path.endswith(".parquet") and "/" in path and not path.startswith("_")


def _described(file: StoredFile) -> WrittenFile:
    with open_file(file.uri) as opened:
        try:
            parquet = pq.ParquetFile(opened)
        except ValueError as error:
            raise OSError(f"{file.uri} is no whole Parquet file ({error}); move it away") from error
        place = WrittenFile(unit_inputs.unit_of(file.uri), "", file.uri, 0, file.size_bytes)
        return described(place, parquet.metadata, parquet.schema_arrow)
