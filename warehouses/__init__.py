"""Where tables live: a folder, a bucket, BigQuery, asked the same questions and written in the same words.

>>> import warehouses
>>> with warehouses.open("./warehouse") as opened:
...     opened.query("SELECT count(*) FROM ztf_alerts")

Nobody outside this room asks which kind a warehouse is. What they all are, ``warehouses.warehouse.Warehouse``, loads Arrow:
it is not named here, where commands look for what to say in their help.
"""

from __future__ import annotations

from warehouses.errors import QueryError
from warehouses.folder.taken import InputsTaken, StaleRun
from warehouses.places import at, open  # noqa: A004 - read as warehouses.open

__all__ = ["InputsTaken", "QueryError", "StaleRun", "at", "open"]
