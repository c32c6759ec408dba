"""Alerts of a warehouse that a catalog has not answered about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from alerts.catalogs.rows import POSITION_COLUMNS
from alerts.catalogs.spec import WATCHLIST, CatalogSpec
from alerts.surveys import SURVEYS, Survey
from schemas.tables import FAILED
from schemas.views import Dialect, newest_matches_sql, nights_sql, unique_alerts_sql
from warehouses import places
from warehouses.warehouse import Warehouse

FAILED_ONES, UNANSWERED, ALL = "failed", "unanswered", "all"
_ALERTS = next(iter(SURVEYS.values())).alerts_table.arrow_schema
POSITIONS = pa.schema([_ALERTS.field(name) for name in (*POSITION_COLUMNS, "observed_at", "healpix29")])
"""What a cross-match needs to know of an alert."""
_COLUMNS = ", ".join(POSITIONS.names)
_SPREAD = 9_973
_BETWEEN = "night BETWEEN {first} AND {last}"


@dataclass(frozen=True)
class Wanted:
    """Alerts of one night to ask one catalog about."""

    survey: str
    night: date
    catalog: str
    radius_arcsec: float
    which: str
    """``FAILED_ONES`` of this radius, ``UNANSWERED`` ones, or ``ALL``."""
    most: int | None = None
    """At most so many, .."""
    turn: int = 0
    """.. others in another turn: those of which a service can tell nothing would stand before the rest for ever."""


@dataclass(frozen=True)
class Unmatched:
    """What a rematch asks of a warehouse; goes to workers."""

    uri: str
    """The warehouse's."""

    def failed_catalogs(self, first: date, last: date, survey: Survey | None) -> list[tuple[str, float]]:
        """Catalogs, and their radii in arcsec, that have failed and not answered since."""
        # By night first: the newest row of an alert is of the same night as its others.
        values: dict[str, Any] = {"first": first, "last": last, "survey": survey.name if survey else ""}
        of_survey = " AND survey = {survey}" if survey else ""
        with places.open(self.uri) as warehouse:
            nights = _failed_nights(warehouse, f"{_BETWEEN}{of_survey}", values)
            newest = newest_matches_sql(f"(SELECT * FROM crossmatches WHERE {nights_sql(nights)}{of_survey})")
            sql = f"SELECT DISTINCT catalog, radius_arcsec FROM ({newest}) WHERE status = '{FAILED}' ORDER BY 1, 2"
            return [(str(name), float(str(radius))) for name, radius in warehouse.ask(sql, values).rows()]

    def wanted(self, specs: Sequence[CatalogSpec], first: date, last: date, which: str, survey: Survey | None) -> list[Wanted]:
        """What to ask, night by night."""
        found = []
        with places.open(self.uri) as warehouse:
            for facts in warehouse.surveys:
                if survey in (None, facts):
                    values = {"first": first, "last": last, "survey": facts.name}
                    if which == FAILED_ONES:
                        nights = sorted(_failed_nights(warehouse, f"{_BETWEEN} AND survey = {{survey}}", values))
                    else:
                        sql = f"SELECT DISTINCT night FROM {facts.alerts_table.name} WHERE {_BETWEEN} ORDER BY 1"
                        nights = warehouse.ask(sql, values).read().column("night").to_pylist()
                    found += [Wanted(facts.name, day, spec.name, spec.radius_arcsec, which) for day in nights for spec in specs]
        return found

    def options_of(self, catalog: str) -> dict[str, Any]:
        """The options of the newest run that asked this catalog; empty where the ``runs`` table has none."""
        with places.open(self.uri) as warehouse:
            for (text,) in warehouse.ask("SELECT options FROM runs ORDER BY started_at DESC").rows():
                options: dict[str, Any] = json.loads(str(text))
                catalogs = [spec.partition("?")[0] for spec in options.get("crossmatch") or []]
                catalogs += [f"{WATCHLIST}:{spec.partition('=')[0]}" for spec in options.get("watchlist") or []]
                if catalog in catalogs:
                    return options
        return {}

    def last_asked_at(self, wanted: Sequence[Wanted]) -> datetime | None:
        """When a catalog was asked last about the nights that are wanted, by the clocks of those who asked; None if none was."""
        nights = nights_sql({question.night for question in wanted})
        with places.open(self.uri) as warehouse:
            rows = warehouse.ask(f"SELECT MAX(asked_at) AS asked_at FROM crossmatches WHERE {nights}").read()
        found: datetime | None = rows[0][0].as_py()
        return found

    def read(self, wanted: Wanted) -> Iterator[pa.RecordBatch]:
        """The positions of the alerts (``POSITIONS``)."""
        with places.open(self.uri) as warehouse:
            for batch in warehouse.ask(*_sql(wanted, warehouse.dialect)):
                rows = pa.Table.from_batches([batch]).select(POSITIONS.names).cast(POSITIONS)
                yield from rows.combine_chunks().to_batches()


def _failed_nights(warehouse: Warehouse, condition: str, values: dict[str, Any]) -> set[date]:
    """The nights in which a catalog has failed, whether it has answered since or not."""
    sql = f"SELECT DISTINCT night FROM crossmatches WHERE {condition} AND status = '{FAILED}'"
    return set(warehouse.ask(sql, values).read().column("night").to_pylist())


def _sql(wanted: Wanted, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    sql, values = _all_sql(wanted, dialect)
    if wanted.most is not None:
        # By a prime: what is next to each other in the sky, or was ingested together, is spread.
        sql += f" ORDER BY MOD(MOD(alert_id, {_SPREAD}) + {wanted.turn % _SPREAD}, {_SPREAD}), alert_id LIMIT {wanted.most}"
    return sql, values


def _all_sql(wanted: Wanted, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    alerts = unique_alerts_sql(f"(SELECT * FROM {wanted.survey}_alerts WHERE night = {{night}})", dialect)
    sql = f"SELECT {_COLUMNS} FROM ({alerts}) WHERE healpix29 IS NOT NULL"
    values: dict[str, Any] = {"night": wanted.night}
    if wanted.which == ALL:
        return sql, values
    values |= {"catalog": wanted.catalog, "survey": wanted.survey, "radius_arcsec": wanted.radius_arcsec}
    own = "night = {night} AND catalog = {catalog} AND survey = {survey}"
    newest = newest_matches_sql(f"(SELECT * FROM crossmatches WHERE {own})")
    if wanted.which == FAILED_ONES:
        failed = f"SELECT alert_id FROM ({newest}) WHERE status = '{FAILED}' AND radius_arcsec = {{radius_arcsec}}"
        return f"{sql} AND alert_id IN ({failed})", values
    answered = f"SELECT alert_id FROM ({newest}) WHERE status <> '{FAILED}' AND radius_arcsec = {{radius_arcsec}}"
    return f"{sql} AND alert_id NOT IN ({answered})", values
