"""The row that filters see: an alert with what is known of it, without the traps of its survey.

NaN and what the survey says for "none" are NULL here, texts that are truth values are BOOL, and beside a distance in another
unit stands one in arcsec. What the numbers stand for is told by ``alerts.surveys.row_facts``.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from alerts.features.definitions import columns as feature_columns
from alerts.light_curve import NoPhotometry
from alerts.surveys import Survey
from schemas import Column
from schemas.tables import CROSSMATCHES

Type = Literal["BOOL", "INT64", "FLOAT64", "STRING", "TIMESTAMP", "DATE", "JSON", "RECORD", "NULL"]

_TYPES: dict[str, Type] = {
    **{"BOOL": "BOOL", "INT64": "INT64", "FLOAT64": "FLOAT64", "STRING": "STRING", "TIMESTAMP": "TIMESTAMP", "DATE": "DATE"},
    **{"JSON": "JSON", "RECORD": "RECORD"},
}
"""Of columns those that a filter can ask about; bytes are none."""
_ENVELOPE = (
    "alert_id",
    "object_id",
    "object_kind",
    "survey",
    "schema_version",
    "observed_at",
    "night",
    "ra_deg",
    "dec_deg",
    "healpix29",
)
"""What is the alert's; where and when it was read is the broker's, and would make verdicts of it."""
_MATCH = ("catalog", "status", "radius_arcsec", "asked_at")
ID_NAMES = frozenset({"alert_id", "object_id", "candid", "diaSourceId", "diaObjectId", "ssObjectId", "parentDiaSourceId"})
"""Numbers beyond 2^53, which no float may stand for."""


@dataclass(frozen=True)
class RowField:
    """A name of the row."""

    name: str
    type: Type
    is_array: bool = False
    fields: tuple[RowField, ...] = ()
    """Of a record."""
    description: str = ""
    missing: frozenset[float | str] = frozenset()
    """Values that stand for "none"."""
    truths: tuple[frozenset[str], frozenset[str]] | None = None
    """Of a BOOL that packets have as text: what means true, and what means false."""
    scale: tuple[str, float] | None = None
    """Of a number that is another field's, in another unit: its name beside this one, and how many of this one's unit it is."""

    @functools.cached_property
    def by_name(self) -> dict[str, RowField]:
        """The fields of a record, by their names in lower case: names of SQL know no capitals."""
        return {inner.name.casefold(): inner for inner in self.fields}


@dataclass(frozen=True)
class Lists:
    """What whoever runs the filters has of his own."""

    watchlists: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    """Of the regions those that are sky maps, which have a level."""
    timed: tuple[str, ...] = ()
    """Of the regions those that know when their event was."""
    scores: tuple[str, ...] = field(default=())


NO_LISTS = Lists()


@functools.cache
def row_of(survey: Survey, lists: Lists = NO_LISTS) -> RowField:
    """The row of a survey's alerts, as a record."""
    return RowField("alerts", "RECORD", fields=tuple(_fields(survey, lists)))


def _fields(survey: Survey, lists: Lists) -> Iterator[RowField]:
    envelope = {column.name: column for column in survey.alerts_table.columns}
    yield from _of_columns((envelope[name] for name in _ENVELOPE), survey, "")
    yield from _of_columns(survey.packet_columns, survey, "")
    with contextlib.suppress(NoPhotometry):
        yield RowField("features", "RECORD", fields=tuple(_of_columns(feature_columns(survey), survey, "features.")))
    yield _matches()
    yield RowField("scores", "RECORD", fields=_floats(lists.scores))
    watched = (RowField(name, "BOOL", description="Within its radius of a place of the list.") for name in lists.watchlists)
    yield RowField("watchlists", "RECORD", fields=tuple(watched))
    yield RowField("regions", "RECORD", fields=tuple(_of_regions(lists)))


def _of_regions(lists: Lists) -> Iterator[RowField]:
    for name in lists.regions:
        yield RowField(name, "BOOL", description="Inside the region.")
        if name in lists.maps:
            what = "Credible level of the place, 0 to 1: the probability of all pixels that are at least as dense."
            yield RowField(f"{name}_level", "FLOAT64", description=what)
        if name in lists.timed:
            yield RowField(f"{name}_days_since", "FLOAT64", description="observed_at - the event's time, days.")
            what = "The first detection that the packet tells of - the event's time, days."
            yield RowField(f"{name}_days_to_first_detection", "FLOAT64", description=what)


def _floats(names: Iterable[str]) -> tuple[RowField, ...]:
    return tuple(RowField(name, "FLOAT64") for name in names)


def _matches() -> RowField:
    own = {column.name: column for column in CROSSMATCHES.columns}
    sources = tuple(_of_table(column) for column in own["matches"].fields)
    told = (*(_of_table(own[name]) for name in _MATCH), RowField("sources", "RECORD", is_array=True, fields=sources))
    return RowField("matches", "RECORD", is_array=True, fields=told)


def _of_table(column: Column) -> RowField:
    return RowField(column.name, _TYPES[column.type], description=column.description)


def _of_columns(columns: Iterable[Column], survey: Survey, prefix: str) -> Iterator[RowField]:
    """The fields of columns that a filter can ask about; ``prefix`` is the path of what they are in."""
    facts = survey.row_facts
    for column in columns:
        if column.type not in _TYPES or (column.type == "JSON" and not prefix):
            continue
        path = f"{prefix}{column.name}"
        made = RowField(
            column.name,
            _TYPES[column.type],
            column.mode == "REPEATED",
            tuple(_of_columns(column.fields, survey, f"{path}.")),
            column.description,
            facts.missing.get(path, frozenset()),
        )
        yield made if path not in facts.truths else replace(made, type="BOOL", truths=facts.truths[path])
        if path in facts.arcsec:
            unit = facts.arcsec[path]
            yield replace(made, name=f"{column.name}_arcsec", description=f"{column.name} in arcsec", scale=(column.name, unit))
