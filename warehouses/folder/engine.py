"""SQLAlchemy's engine for a warehouse in a folder."""

from __future__ import annotations

import sqlalchemy as sa
from duckdb_sqlalchemy import ConnectionWrapper
from sqlalchemy.dialects import registry
from sqlalchemy.pool import StaticPool

from warehouses.errors import QueryError
from warehouses.folder.views import connect

# duckdb-engine, where it is installed too, goes by the same name.
registry.register("duckdb", "duckdb_sqlalchemy", "Dialect")


def engine_of(folder: str) -> sa.Engine:
    """An engine whose one connection has the folder's tables as views. Raises ``QueryError`` where there is none."""
    engine = sa.create_engine("duckdb:///:memory:", creator=lambda: ConnectionWrapper(connect(folder)), poolclass=StaticPool)
    try:
        engine.connect().close()
    except FileNotFoundError as error:
        raise QueryError(str(error)) from error
    return engine
