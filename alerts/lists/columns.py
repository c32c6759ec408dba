"""The columns ``watchlists`` and ``regions`` of the row that filters see, made of an alert's place and times.

watchlists.NAME                        whether the alert is within its radius of a place of the list
regions.NAME                           whether it is inside; of a sky map, whether its level is at most the one asked for
regions.NAME_level                     the map's credible level at the place, 0 to 1
regions.NAME_days_since                observed_at - the event's time, days
regions.NAME_days_to_first_detection   the first detection that the packet tells of - the event's time, days
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from alerts.features.records import Floats
from alerts.filters.inputs import UsedField
from alerts.lists.named import BadList
from alerts.lists.own_lists import Opener, OwnLists, RegionFile, WatchlistFile, open_region, open_watchlist
from alerts.lists.regions.region import Region
from alerts.lists.regions.times import (
    age_of_first_detection_days,
    columns_for_first_detection,
    days_since,
    days_to_first_detection,
)
from alerts.surveys import Survey

_PLACE = ("healpix29", "ra_deg", "dec_deg")
_LEVEL, _SINCE, _FIRST = "_level", "_days_since", "_days_to_first_detection"


@dataclass(frozen=True)
class WithLists:
    """Alerts with what lists say of them."""

    alerts: pa.RecordBatch
    problems: Mapping[tuple[str, str], str]
    """Fields that nobody knows now, such as ``("regions", "gw_level")``, and why. They are not in ``alerts``."""


@dataclass(frozen=True)
class AskedLists:
    """Of the lists of a run those that filters of a survey's alerts ask about."""

    watchlists: tuple[WatchlistFile, ...]
    regions: tuple[tuple[RegionFile, tuple[str, ...]], ...]
    """Each with what is asked of it, by what stands behind its name."""

    @classmethod
    def of(cls, lists: OwnLists, used: Mapping[str, UsedField]) -> AskedLists:
        """``used``: the columns of the row that filters read, with the fields that they read of each."""
        watched = used["watchlists"].fields if "watchlists" in used else ()
        regions = used["regions"].fields if "regions" in used else ()
        return cls(
            tuple(file for file in lists.watchlists if file.spec.name in watched),
            tuple((file, asked) for file in lists.regions if (asked := _asked(file, regions))),
        )

    @property
    def names(self) -> list[str]:
        """As ``OwnLists.versions`` has them."""
        watched = [f"watchlist:{file.spec.name}" for file in self.watchlists]
        return watched + [f"region:{file.spec.name}" for file, _ in self.regions]

    def columns(self, survey: Survey) -> dict[str, UsedField]:
        """The alerts' own columns that it takes to say so."""
        found = UsedField()
        for name in (*_PLACE, "observed_at") if self.watchlists or self.regions else ():
            found.take([name])
        if any(_FIRST in asked for _, asked in self.regions):
            for names in columns_for_first_detection(survey):
                found.take(names)
        return found.fields


class ListColumns:
    """What lists say of a survey's alerts. Used by several threads at once."""

    def __init__(self, asked: AskedLists, survey: Survey, opener: Opener) -> None:
        self._asked, self._survey, self._opener = asked, survey, opener

    def add(self, alerts: pa.RecordBatch) -> WithLists:
        """The alerts with the columns ``watchlists`` and ``regions``, where anything of them is asked for."""
        problems = dict[tuple[str, str], str]()
        columns: dict[str, dict[str, pa.Array]] = {"watchlists": {}, "regions": {}}
        for file in self._asked.watchlists:
            name = file.spec.name
            try:
                columns["watchlists"][name] = open_watchlist(file, self._opener).contains(alerts)
            except Exception as error:  # whatever it is, it is this list's alone
                problems["watchlists", name] = _why(error)
        age = functools.cache(functools.partial(age_of_first_detection_days, alerts, self._survey))
        for region_file, asked in self._asked.regions:
            name = region_file.spec.name
            try:
                made = self._of_region(open_region(region_file, self._opener), alerts, age)
                columns["regions"] |= {f"{name}{ending}": made[ending]() for ending in asked}
            except Exception as error:
                problems |= {("regions", f"{name}{ending}"): _why(error) for ending in asked}
        for column, fields in columns.items():
            if fields:
                alerts = alerts.append_column(column, pa.StructArray.from_arrays(list(fields.values()), list(fields)))
        return WithLists(alerts, problems)

    def _of_region(
        self, region: Region, alerts: pa.RecordBatch, age: Callable[[], Floats]
    ) -> Mapping[str, Callable[[], pa.Array]]:
        """By what stands behind a region's name, how to have it; ``age``: of the first detections, told once for all regions."""
        healpix29, ra_deg, dec_deg = (pc.fill_null(alerts.column(name), 0).to_numpy(zero_copy_only=False) for name in _PLACE)
        nowhere = alerts.column("healpix29").is_null().to_numpy(zero_copy_only=False)
        event = region.event_time
        return {
            "": lambda: pa.array(region.inside(healpix29, ra_deg, dec_deg), pa.bool_(), mask=nowhere),
            _LEVEL: lambda: pa.array(region.level(healpix29), pa.float64(), mask=nowhere),
            _SINCE: lambda: days_since(alerts, event),
            _FIRST: lambda: days_to_first_detection(alerts, self._survey, event, age),
        }


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, BadList) else f"{type(error).__name__}: {error}"


def _asked(file: RegionFile, used: Mapping[str, UsedField] | tuple[()]) -> tuple[str, ...]:
    """What filters ask of a region, by what stands behind its name."""
    there = ("", *([_LEVEL] if file.is_map else []), *((_SINCE, _FIRST) if file.is_timed else ()))
    return tuple(ending for ending in there if f"{file.spec.name}{ending}" in used)
