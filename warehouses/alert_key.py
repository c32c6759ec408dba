"""Which alert is meant: by its id, a row of an answer, or an object of the ORM, whatever is at hand."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from warehouses.errors import QueryError


class AlertKey(NamedTuple):
    """An alert of a warehouse."""

    alert_id: int
    survey: str | None = None
    """None where it was not told."""
    packet_digest: bytes | None = None
    """Which of several packets of this id; None: the one that ``{survey}_alerts_unique`` shows."""
    warehouse: str | None = None
    """Where it was read from, where that is known."""


def is_stored(what: Any) -> bool:
    """Whether this is an alert of a warehouse (an id, a row, an object of the ORM), and no packet as it was sent."""
    what = _row(what)
    if isinstance(what, Mapping):
        # A row has our columns; a packet has its own.
        return "alert_id" in what
    return hasattr(what, "alert_id") or isinstance(what, str) or hasattr(what, "__index__")


def alert_key(what: Any) -> AlertKey:
    """The key of an alert. Raises ``QueryError`` for what names none: a float, too, which has rounded the id."""
    what = _row(what)
    if not isinstance(what, Mapping) and not hasattr(what, "alert_id"):
        return AlertKey(_whole(what))
    alert_id, survey, digest = (
        what.get(name) if isinstance(what, Mapping) else getattr(what, name, None)
        for name in ("alert_id", "survey", "packet_digest")
    )
    return AlertKey(_whole(alert_id), None if survey is None else str(survey), digest, _warehouse_of(what))


def _row(what: Any) -> Any:
    """Rows of astropy and answers of one row as the mappings that they stand for; all else as it is."""
    if hasattr(what, "colnames") and hasattr(what, "index"):
        return {name: None if value is np.ma.masked else value for name, value in zip(what.colnames, what, strict=True)}
    if hasattr(what, "to_pylist") and hasattr(what, "num_rows"):
        rows = what.to_pylist() if what.num_rows == 1 else []
        if not rows:
            raise QueryError(f"an answer of {what.num_rows:,} rows names no alert; take one of them: answer.to_pylist()[0]")
        return rows[0]
    return what


def _whole(named: Any) -> int:
    text = named.strip() if isinstance(named, str) else ""
    if text.lstrip("-").isdecimal():
        return int(text)
    try:
        return operator.index(named)
    except TypeError:
        raise QueryError(
            f"alert id {named!r} is no integer; give the id, a row with alert_id, or an alert of broker.orm "
            "(ids exceed 2^53, which a float rounds)"
        ) from None


def _warehouse_of(what: Any) -> str | None:
    """The warehouse of an ORM object's session."""
    if not hasattr(what, "_sa_instance_state"):
        return None
    from sqlalchemy.orm import object_session  # noqa: PLC0415 - whoever has such an object has it

    return getattr(object_session(what), "warehouse", None)
