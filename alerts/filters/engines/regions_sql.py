"""The column ``regions`` in DuckDB's SQL and in BigQuery's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alerts.filters.engines import bigquery_sql, duckdb_sql
from alerts.filters.engines.regions import DAY_US, RegionColumns, SkySteps, sides_of
from alerts.filters.engines.writer import Relation
from alerts.filters.tree import Query
from alerts.lists.regions.polygon import ON_A_SIDE_RAD, Polygon
from alerts.lists.regions.region import Region
from alerts.surveys import Survey

_PARTS = ("begin", "end", "own", "behind", "before")
"""Of what ``sides_of`` gives."""
_RADIANS = repr(0.017453292519943295)
_ON_A_SIDE = 1_000_000
"""More than a polygon has sides."""


def duckdb_with_regions(relation: Relation, query: Query, regions: Mapping[str, Region], survey: Survey) -> Relation:
    """A relation of alerts with the regions that a filter asks about (``RegionColumns.added``), for DuckDB."""
    return _InDuckDB(relation, survey).added(query, regions)


def bigquery_with_regions(relation: Relation, query: Query, regions: Mapping[str, Region], survey: Survey) -> Relation:
    """The same for BigQuery."""
    return _InBigQuery(relation, survey).added(query, regions)


def float_of(value: float) -> str:
    """A constant FLOAT64 of both: without an exponent DuckDB would take it for a DECIMAL."""
    told = repr(value)
    return f"({told})" if "e" in told else f"({told}e0)"


@dataclass
class _InDuckDB(RegionColumns):
    """SkySteps are joined: thousands of CASEs within each other take seconds to plan, and lists are not searched by halves."""

    _joins: list[str] = field(default_factory=list, init=False)

    def select(self, fields: Sequence[tuple[str, str]]) -> str:
        record = ", ".join(f"'{name}': {text}" for name, text in fields)
        return f"(SELECT alerts.*, {{{record}}} AS regions FROM {self.relation.sql} AS alerts{''.join(self._joins)})"

    def look_up(self, steps: SkySteps) -> str:
        name = f"steps{len(self._joins) + 1}"
        rows = ", ".join(f"({begin}, {_value(value)})" for begin, value in zip(steps.begins, steps.values, strict=True))
        self._joins.append(
            f" ASOF LEFT JOIN (VALUES {rows}) AS {name}(begins, held) ON CAST(alerts.healpix29 AS BIGINT) >= {name}.begins"
        )
        return f"{name}.held"

    def contains(self, polygon: Polygon) -> str:
        sides = ", ".join(f"[{', '.join(map(float_of, side))}]" for side in sides_of(polygon))
        begin, end, own, behind, before = (
            f"({' + '.join(f's[{3 * part + axis}] * p[{axis}]' for axis in (1, 2, 3))})" for part in range(len(_PARTS))
        )
        least = float_of(-ON_A_SIDE_RAD)
        is_on = f"abs({own}) <= {float_of(ON_A_SIDE_RAD)} AND {behind} >= {least} AND {before} >= {least}"
        told = f"CASE WHEN {is_on} THEN {_ON_A_SIDE} WHEN {begin} >= 0 AND {end} < 0 AND {own} < 0 THEN 1 ELSE 0 END"
        dec, ra = f"(alerts.dec_deg * {_RADIANS}e0)", f"(alerts.ra_deg * {_RADIANS}e0)"
        place = f"[cos({dec}) * cos({ra}), cos({dec}) * sin({ra}), sin({dec})]"
        is_odd = int(not polygon.is_reference_inside)
        sums = f"list_transform([{place}], lambda p: list_sum(list_transform([{sides}], lambda s: {told})))"
        return f"list_transform({sums}, lambda n: n >= {_ON_A_SIDE} OR n % 2 = {is_odd})[1]"

    def days_since(self, time_us: int) -> str:
        return f"(CAST(epoch_us(alerts.observed_at) - {time_us} AS DOUBLE) / {DAY_US}e0)"

    def feature(self, name: str) -> str:
        return f"alerts.features.{duckdb_sql.identifier(name)}"

    def float_of(self, value: float) -> str:
        return float_of(value)


@dataclass
class _InBigQuery(RegionColumns):
    """SkySteps are arrays, in which RANGE_BUCKET searches by halves."""

    def select(self, fields: Sequence[tuple[str, str]]) -> str:
        record = ", ".join(f"{text} AS {bigquery_sql.identifier(name)}" for name, text in fields)
        return f"(SELECT *, STRUCT({record}) AS regions FROM {self.relation.sql} AS alerts)"

    def look_up(self, steps: SkySteps) -> str:
        values, begins = ", ".join(map(_value, steps.values)), ", ".join(map(str, steps.begins))
        return f"[{values}][SAFE_OFFSET(RANGE_BUCKET(alerts.healpix29, [{begins}]) - 1)]"

    def contains(self, polygon: Polygon) -> str:
        names = [f"{part}_{axis}" for part in _PARTS for axis in "xyz"]
        first, *others = sides_of(polygon)
        named = ", ".join(f"{float_of(value)} AS {name}" for name, value in zip(names, first, strict=True))
        sides = ", ".join([f"STRUCT({named})", *(f"({', '.join(map(float_of, side))})" for side in others)])
        begin, end, own, behind, before = (f"({' + '.join(f's.{part}_{axis} * p.{axis}' for axis in 'xyz')})" for part in _PARTS)
        least = float_of(-ON_A_SIDE_RAD)
        is_on = f"ABS({own}) <= {float_of(ON_A_SIDE_RAD)} AND {behind} >= {least} AND {before} >= {least}"
        crossed = f"{begin} >= 0 AND {end} < 0 AND {own} < 0"
        dec, ra = f"(alerts.dec_deg * {_RADIANS})", f"(alerts.ra_deg * {_RADIANS})"
        place = f"STRUCT(COS({dec}) * COS({ra}) AS x, COS({dec}) * SIN({ra}) AS y, SIN({dec}) AS z)"
        is_odd = int(not polygon.is_reference_inside)
        told = f"LOGICAL_OR({is_on}) OR MOD(COUNTIF({crossed}), 2) = {is_odd}"
        return f"(SELECT {told} FROM UNNEST([{place}]) AS p, UNNEST([{sides}]) AS s)"

    def days_since(self, time_us: int) -> str:
        return f"((UNIX_MICROS(alerts.observed_at) - {time_us}) / {DAY_US}e0)"

    def feature(self, name: str) -> str:
        return f"alerts.features.{bigquery_sql.identifier(name)}"

    def float_of(self, value: float) -> str:
        return float_of(value)


def _value(value: float) -> str:
    return str(value) if isinstance(value, int) else float_of(value)
