"""The column ``regions`` of a relation, for engines: what a filter asks of regions, as look-ups of ``healpix29``.

A region is a function of that index with steps: out, inside, or near a polygon's side, where the place itself is held to the
sides; of a sky map, a level. It stands in the statement as constants, in order, and so there is a bound on how long it may be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from alerts.filters.engines.writer import Relation
from alerts.filters.errors import FilterError
from alerts.filters.inputs import used_fields
from alerts.filters.tree import Query
from alerts.lists.regions.polygon import Polygon
from alerts.lists.regions.ranges import Ranges
from alerts.lists.regions.region import Region
from alerts.lists.regions.times import event_us
from alerts.positions import Indices
from alerts.surveys import Survey

MOST_CHARACTERS = 900_000
"""Of a statement, for regions: BigQuery takes statements of 1 MB, and a filter has 10,000 characters."""
_CHARACTERS_OF_STEP, _CHARACTERS_OF_SIDE = 50, 420
OUTSIDE, INSIDE, NEAR = 0, 1, 2
DAY_US = 86_400_000_000
_LEVEL, _SINCE, _FIRST = "_level", "_days_since", "_days_to_first_detection"


@dataclass(frozen=True)
class SkySteps:
    """A function of ``healpix29``: from where on it has which value. The first step begins at 0."""

    begins: Sequence[int]
    values: Sequence[int] | Sequence[float]


@dataclass
class RegionColumns(ABC):
    """Writes the fields of ``regions`` that filters read, over one relation of a survey's alerts."""

    relation: Relation
    survey: Survey
    length: int = field(default=0, init=False)
    """Characters that the regions take so far, about."""

    def added(self, query: Query, regions: Mapping[str, Region]) -> Relation:
        """The relation with a column ``regions`` that has what the filter reads of them, by their names.

        What is not there is NULL, and where the relation has such a column it stays as it is. Raises ``FilterError`` for what
        cannot be written.
        """
        used = {} if self._has("regions") else used_fields([query])
        asked = used["regions"].fields if "regions" in used else {}
        made: list[tuple[str, str, pa.DataType]] = []
        for name, region in regions.items():
            made += self._fields(name, region, [ending for ending in ("", _LEVEL, _SINCE, _FIRST) if name + ending in asked])
        if not made:
            return self.relation
        schema = self.relation.schema.append(pa.field("regions", pa.struct([(name, kind) for name, _, kind in made])))
        return Relation(self.select([(name, text) for name, text, _ in made]), schema)

    def _fields(self, name: str, region: Region, endings: Sequence[str]) -> list[tuple[str, str, pa.DataType]]:
        found = []
        if _LEVEL in endings and region.is_map and self._has("healpix29"):
            level = self._look_up(region, _steps_of_levels(region, self._check_length))
            found.append((name + _LEVEL, level, pa.float64()))
            if "" in endings:
                self._check_length(len(level))
                found.append((name, f"({level} <= {self.float_of(region.asked_level)})", pa.bool_()))
        elif "" in endings and self._has("healpix29"):
            found.append((name, self._inside(region), pa.bool_()))
        if region.event_time is not None and self._has("observed_at"):
            since = self.days_since(event_us(region.event_time))
            if _SINCE in endings:
                found.append((name + _SINCE, since, pa.float64()))
            if _FIRST in endings and self._has("features", "n_bands"):
                found.append((name + _FIRST, f"({since} - {self._age()})", pa.float64()))
        return found

    def _has(self, name: str, *inner: str) -> bool:
        place = self.relation.schema.get_field_index(name)
        kind = None if place < 0 else self.relation.schema.field(place).type
        return kind is not None and all(kind.get_field_index(each) >= 0 for each in inner)

    def _inside(self, region: Region) -> str:
        steps = steps_of(region.ranges, region.edges, self._check_length)
        found = self._look_up(region, steps)
        if not len(region.edges):
            return f"({found} = {INSIDE})"
        sides = sum(len(polygon.corners) for polygon in region.polygons)
        self._check_length(sides * _CHARACTERS_OF_SIDE)
        if not self._has("ra_deg") or not self._has("dec_deg"):
            raise FilterError(f"the region {region.spec.name} has polygons, and the table no ra_deg and dec_deg to hold to them")
        exact = " OR ".join(self.contains(polygon) for polygon in region.polygons)
        return f"CASE {found} WHEN {NEAR} THEN ({exact}) WHEN {INSIDE} THEN TRUE WHEN {OUTSIDE} THEN FALSE END"

    def _look_up(self, region: Region, steps: SkySteps) -> str:
        if region.levels is not None and region.levels.is_galactic:
            raise FilterError(
                f"the region {region.spec.name} is a map in galactic coordinates, whose pixels have no borders in healpix29: "
                "turn it to ICRS (COORDSYS 'C') for a database; the pipeline and broker refilter take it as it is"
            )
        return self.look_up(steps)

    def _check_length(self, characters: int) -> None:
        self.length += characters
        if self.length > MOST_CHARACTERS:
            raise FilterError(
                f"the filter's regions would take {self.length:,} characters of SQL, and {MOST_CHARACTERS:,} are the most: ask "
                "for regions.NAME and not its level, or give a coarser map; the pipeline and broker refilter take any"
            )

    def _age(self) -> str:
        """The age of the first detection, days; NULL where an alert has no features."""
        first_found = self.survey.photometry.first_found if self.survey.photometry else ""
        names = [name for name in ("age_history_days", f"age_{first_found}_days") if self._has("features", name)]
        ages = [f"COALESCE({self.feature(name)}, {self.float_of(0.0)})" for name in names]
        return f"CASE WHEN {self.feature('n_bands')} IS NOT NULL THEN GREATEST({', '.join([self.float_of(0.0), *ages])}) END"

    @abstractmethod
    def select(self, fields: Sequence[tuple[str, str]]) -> str:
        """The relation with its columns and a record of those fields."""

    @abstractmethod
    def look_up(self, steps: SkySteps) -> str:
        """The value of a function with steps at the alert's ``healpix29``; NULL of NULL."""

    @abstractmethod
    def contains(self, polygon: Polygon) -> str:
        """Whether the alert's place is in a polygon or on a side of it, as ``Polygon.contains`` tells it."""

    @abstractmethod
    def days_since(self, time_us: int) -> str:
        """``observed_at`` minus a time, days."""

    @abstractmethod
    def feature(self, name: str) -> str:
        """A number of ``features``."""

    @abstractmethod
    def float_of(self, value: float) -> str:
        """A constant FLOAT64, to its last bit."""


def steps_of(ranges: Ranges, edges: Ranges, check_length: Callable[[int], None]) -> SkySteps:
    """Ranges inside and ranges near a side, that are apart, as steps that each begin elsewhere."""
    check_length(2 * (len(ranges) + len(edges)) * _CHARACTERS_OF_STEP)
    both = np.concatenate([ranges, edges])
    order = np.argsort(both[:, 0])
    values = np.concatenate([np.full(len(ranges), INSIDE), np.full(len(edges), NEAR)])[order]
    begins, held = [0], [OUTSIDE]
    for (begin, end), value in zip(both[order].tolist(), values.tolist(), strict=True):
        # What ends where the next one begins has no step of its own between them.
        if begins[-1] == begin:
            held[-1] = value
        else:
            begins.append(begin)
            held.append(value)
        begins.append(end)
        held.append(OUTSIDE)
    return SkySteps(begins, held)


def _steps_of_levels(region: Region, check_length: Callable[[int], None]) -> SkySteps:
    assert region.levels is not None
    check_length(len(region.levels.begins) * _CHARACTERS_OF_STEP)
    begins: Indices = region.levels.begins
    return SkySteps(begins.tolist(), region.levels.levels.tolist())


def sides_of(polygon: Polygon) -> list[list[float]]:
    """Of each side five planes' normals: through R and its beginning, through R and its end, its own, behind and before.

    Turned so that a way to R crosses it where the products with these are at least 0, below 0 and below 0.
    """
    begins = polygon.meridians
    ends = np.roll(begins, -1, axis=0)
    up = polygon.upward[:, None]
    parts = (
        np.where(up, begins, ends),
        np.where(up, ends, begins),
        np.where(up, polygon.normals, -polygon.normals),
        polygon.behind,
        polygon.before,
    )
    found: list[list[float]] = np.concatenate(parts, axis=1).tolist()
    return found
