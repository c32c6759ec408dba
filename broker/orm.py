"""A warehouse as SQLAlchemy models: one code for a folder and for BigQuery, read only.

>>> from sqlalchemy import select
>>> from broker.orm import Session, ZTFAlert
>>> with Session("./warehouse") as s:
...     for alert in s.scalars(select(ZTFAlert).where(ZTFAlert.candidate["magpsf"] < 18)):
...         print(alert.alert_id, alert.candidate["magpsf"], len(alert.prv_candidates))

Each table of ``schemas.tables`` has a model; ``__all__`` lists them, and the docstring of each lists its columns.
``docs/orm.md`` says which rows a model shows and what makes two rows the same object.
"""

from warehouses.orm import models
from warehouses.orm.models import *  # noqa: F403 - a model of each table of each survey: models.__all__ lists them

__all__ = models.__all__
