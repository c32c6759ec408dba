"""The grammar of places: which warehouse a URI names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from warehouses.errors import QueryError

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse

FORMS = "a folder (default ./warehouse), gs://BUCKET/FOLDER, or bigquery://PROJECT/DATASET"
MAXIMUM_BYTES_BILLED = 10**12
"""What one query of BigQuery may be billed: 1 TB, some 6 USD. Its estimate does not know what clustering will spare: of one
alert of an LSST night of 10 million the rows of the whole night count (0.13 TB without stamps, by ``deploy.costs``), and 16 bytes
of every other alert there is. A year of ZTF's rows, read whole by mistake, is above it."""
LIMIT = f"what one query of BigQuery may be billed at most, by its own estimate (default {MAXIMUM_BYTES_BILLED:,})"
"""What ``--maximum_bytes_billed`` is."""
_BIGQUERY = "bigquery://"
_LIMITED = "?maximum_bytes_billed="
_BUCKET = "gs://"


def at(uri: str = "./warehouse", maximum_bytes_billed: int | None = None) -> Warehouse:
    """The warehouse of a place, where there may be nothing yet. Raises ``QueryError`` for what is no place.

    What one query of BigQuery may be billed, in bytes, may also stand behind its URI: ``?maximum_bytes_billed=N``.
    """
    uri = limited(uri, maximum_bytes_billed)
    if uri.startswith(_BIGQUERY):
        from warehouses.bigquery.warehouse import BigQueryWarehouse  # noqa: PLC0415 - Google's client takes a second

        place, _, most = uri.partition(_LIMITED)
        parts = place.removeprefix(_BIGQUERY).split("/")
        if len(parts) != 2 or not all(parts) or "?" in place:
            raise QueryError(f"{uri} is not of the form bigquery://PROJECT/DATASET")
        project, dataset = parts
        return BigQueryWarehouse(uri, project, dataset, _bytes(most) if most else MAXIMUM_BYTES_BILLED)
    from warehouses.folder.warehouse import FolderWarehouse  # noqa: PLC0415 - DuckDB and Arrow take a quarter of a second

    if uri.startswith(_BUCKET):
        if not uri.removeprefix(_BUCKET).strip("/"):
            raise QueryError(f"{uri} is not of the form gs://BUCKET/FOLDER")
        return FolderWarehouse(uri.rstrip("/"))
    if "://" in uri.removeprefix("file://"):
        raise QueryError(f"{uri} is no place for a warehouse; give {FORMS}")
    return FolderWarehouse(os.path.abspath(os.path.expanduser(uri.removeprefix("file://"))))


def limited(uri: str, maximum_bytes_billed: int | None) -> str:
    """The URI of a place in BigQuery, with what one query may be billed there. Raises ``QueryError`` for another place."""
    if maximum_bytes_billed is None:
        return uri
    if not uri.startswith(_BIGQUERY):
        raise QueryError(f"{uri} is not in BigQuery, which alone bills queries; leave out --maximum_bytes_billed")
    return f"{uri.partition(_LIMITED)[0]}{_LIMITED}{_bytes(str(maximum_bytes_billed))}"


def _bytes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise QueryError(f"--maximum_bytes_billed is {text}; give a number of bytes, 1 or more")
    return int(text)


def open(  # noqa: A001 - read as warehouses.open
    uri: str = "./warehouse", maximum_bytes_billed: int | None = None
) -> Warehouse:
    """The warehouse of a place. Raises ``QueryError`` when there is none; see ``at``."""
    found = at(uri, maximum_bytes_billed)
    _ = found.tables
    return found
