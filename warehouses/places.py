"""The grammar of places: which warehouse a URI names."""

from __future__ import annotations

import os

from warehouses.errors import QueryError
from warehouses.warehouse import Warehouse

FORMS = "a folder (default ./warehouse), gs://BUCKET/FOLDER, or bigquery://PROJECT/DATASET"
_BIGQUERY = "bigquery://"
_BUCKET = "gs://"


def at(uri: str = "./warehouse") -> Warehouse:
    """The warehouse of a place, where there may be nothing yet. Raises ``QueryError`` for what is no place."""
    if uri.startswith(_BIGQUERY):
        from warehouses.bigquery.warehouse import BigQueryWarehouse  # noqa: PLC0415 - Google's client takes a second

        parts = uri.removeprefix(_BIGQUERY).split("/")
        if len(parts) != 2 or not all(parts):
            raise QueryError(f"{uri} is not of the form bigquery://PROJECT/DATASET")
        return BigQueryWarehouse(uri, *parts)
    from warehouses.folder.warehouse import FolderWarehouse  # noqa: PLC0415

    if uri.startswith(_BUCKET):
        if not uri.removeprefix(_BUCKET).strip("/"):
            raise QueryError(f"{uri} is not of the form gs://BUCKET/FOLDER")
        return FolderWarehouse(uri.rstrip("/"))
    if "://" in uri.removeprefix("file://"):
        raise QueryError(f"{uri} is no place for a warehouse; give {FORMS}")
    return FolderWarehouse(os.path.abspath(os.path.expanduser(uri.removeprefix("file://"))))


def open(uri: str = "./warehouse") -> Warehouse:  # noqa: A001 - read as warehouses.open
    """The warehouse of a place. Raises ``QueryError`` when there is none."""
    found = at(uri)
    _ = found.tables
    return found
