"""Open a warehouse and ask it: SQL, a place on the sky, or an object.

>>> from broker import warehouse
>>> with warehouse.open("./warehouse") as night:
...     night.query("SELECT count(*) FROM ztf_alerts")
...     night.cone(ra_deg=150.1, dec_deg=2.2, radius_arcsec=5)
"""

from __future__ import annotations

from types import TracebackType

import duckdb
import numpy as np
import pyarrow as pa

from alerts.positions import cone_ranges, separation_arcsec
from alerts.surveys import SURVEYS
from pipelines.local_warehouse import connect, tables

_SHOWN = (
    "survey, alert_id, object_id, object_kind, observed_at, night, ra_deg, dec_deg, "
    "schema_version, source, published_at, ingested_at"
)
MAX_RADIUS_ARCSEC = 180 * 3600.0


class QueryError(ValueError):
    """The query cannot be answered; the message says why in one sentence."""


class Warehouse:
    """A local warehouse, read only. The views are the tables' names, and ``{survey}_alerts_unique``."""

    def __init__(self, folder: str) -> None:
        self._connection = connect(folder)
        self.tables = tables(folder)

    def query(self, sql: str) -> pa.Table:
        """The answer to one SELECT in DuckDB's SQL. Raises ``QueryError``."""
        try:
            statements = duckdb.extract_statements(sql)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                raise QueryError("give one SELECT; a warehouse is only read")
            return self._connection.execute(statements[0]).to_arrow_table()
        except duckdb.Error as error:
            raise QueryError(str(error)) from error

    def cone(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> pa.Table:
        """Alerts within a radius of a position (ICRS), one row per alert id, nearest first.

        Has a column ``separation_arcsec`` before those of the envelope. Raises ``QueryError`` for a position off the sky.
        """
        if not (0 <= ra_deg < 360 and -90 <= dec_deg <= 90 and 0 < radius_arcsec <= MAX_RADIUS_ARCSEC):
            raise QueryError(
                f"cone {ra_deg:g},{dec_deg:g},{radius_arcsec:g} is not on the sky: 0 <= RA < 360 deg, -90 <= Dec <= 90 deg, "
                f"0 < radius <= {MAX_RADIUS_ARCSEC:g} arcsec"
            )
        ranges = cone_ranges(ra_deg, dec_deg, radius_arcsec)
        near = " OR ".join(f"healpix29 BETWEEN {first} AND {last}" for first, last in ranges)
        found = self._alerts(near, [])
        ra, dec = (found.column(name).to_numpy(zero_copy_only=False) for name in ("ra_deg", "dec_deg"))
        separations = separation_arcsec(ra, dec, ra_deg, dec_deg)
        order = np.argsort(separations, kind="stable")
        order = order[separations[order] <= radius_arcsec]
        return found.take(order).add_column(0, "separation_arcsec", pa.array(separations[order], pa.float64()))

    def alerts_of(self, object_id: str) -> pa.Table:
        """Alerts of an object, in order of time, one row per alert id."""
        return self._alerts("object_id = ?", [object_id])

    def _alerts(self, condition: str, values: list[object]) -> pa.Table:
        """Envelope columns of the alerts of all surveys that meet a condition."""
        names = [f"{survey}_alerts" for survey in SURVEYS if f"{survey}_alerts" in self.tables]
        if not names:
            raise QueryError("the warehouse holds no alerts")
        # Alerts are picked first: finding the newest of each id over a whole year would read all of it.
        parts = [
            f"SELECT {_SHOWN} FROM {name}_unique "
            f"WHERE alert_id IN (SELECT alert_id FROM {name} WHERE {condition}) AND ({condition})"
            for name in names
        ]
        sql = " UNION ALL ".join(parts) + " ORDER BY observed_at, alert_id"
        return self._connection.execute(sql, values * 2 * len(names)).to_arrow_table()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open(folder: str = "./warehouse") -> Warehouse:  # noqa: A001 - read as warehouse.open
    """The warehouse in a folder. Raises ``QueryError`` when there is none."""
    try:
        return Warehouse(folder)
    except FileNotFoundError as error:
        raise QueryError(str(error)) from error
