"""Open a warehouse and ask it: SQL, a place on the sky, or an object.

>>> from broker import warehouse
>>> with warehouse.open("./warehouse") as night:
...     night.query("SELECT count(*) FROM ztf_alerts")
...     night.cone(ra_deg=150.1, dec_deg=2.2, radius_arcsec=5)
"""

from warehouses import QueryError, open  # noqa: A004 - read as warehouse.open
from warehouses.sought import ranges_sql
from warehouses.warehouse import MAX_RADIUS_ARCSEC, Warehouse

__all__ = ["MAX_RADIUS_ARCSEC", "QueryError", "Warehouse", "open", "ranges_sql"]
