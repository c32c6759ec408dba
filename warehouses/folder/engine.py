"""SQLAlchemy's engine for a warehouse in a folder."""

from __future__ import annotations

import duckdb
import sqlalchemy as sa
from duckdb_engine import ConnectionWrapper, CursorWrapper
from sqlalchemy.pool import StaticPool

from warehouses.errors import QueryError
from warehouses.folder.views import connect


class _Connection(ConnectionWrapper):
    """A connection whose cursors read independently.

    duckdb-engine's cursors share one result: a query run while another's rows are read replaces those that are left.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        super().__init__(connection)
        self._connection = connection

    def cursor(self) -> CursorWrapper:
        return CursorWrapper(self._connection.cursor(), self)


def engine_of(folder: str) -> sa.Engine:
    """An engine whose one connection has the folder's tables as views. Raises ``QueryError`` where there is none."""
    engine = sa.create_engine("duckdb:///:memory:", creator=lambda: _Connection(connect(folder)), poolclass=StaticPool)
    try:
        engine.connect().close()
    except FileNotFoundError as error:
        raise QueryError(str(error)) from error
    return engine
