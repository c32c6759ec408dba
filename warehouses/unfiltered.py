"""Nights of a warehouse that filters have not been asked about, and their alerts as filters see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from alerts.filters.filter_set import FilterSet
from alerts.surveys import Survey, survey
from warehouses import places
from warehouses.filter_rows import FilterRows, of_runs_sql
from warehouses.units import unit_key


@dataclass(frozen=True)
class NightToAsk:
    """Alerts of a survey's night."""

    survey: str
    night: date
    rows: int
    unit: str
    runs: tuple[str, ...] = ()
    """Only the alerts that one of these runs has written, where any are named."""


@dataclass(frozen=True)
class Unfiltered:
    """What a refilter asks of a warehouse; goes to workers."""

    uri: str
    """The warehouse's."""
    filters: FilterSet

    def wanted(self, first: date, last: date, only: Survey | None, *, again: bool) -> list[NightToAsk]:
        """The nights with alerts that not all of the filters have been asked about by a refilter, or failed on; ``again``: all.

        Raises ``QueryError``.
        """
        found = []
        with places.open(self.uri) as warehouse:
            for facts in warehouse.surveys:
                if facts.name not in self.filters.surveys or only not in (None, facts):
                    continue
                sql = (
                    f"SELECT night, COUNT(*) AS rows_, COUNT(DISTINCT alert_id) AS alerts FROM {facts.alerts_table.name} "
                    "WHERE night BETWEEN {first} AND {last} GROUP BY night ORDER BY night"
                )
                for row in warehouse.ask(sql, {"first": first, "last": last}).read().to_pylist():
                    unit = unit_of(facts.name, row["night"])
                    if again or not self._is_done(warehouse, facts.name, row["night"], unit, int(row["alerts"])):
                        found.append(NightToAsk(facts.name, row["night"], int(row["rows_"]), unit))
        return found

    def of_runs(self, runs: Mapping[tuple[str, date], Sequence[str]]) -> list[NightToAsk]:
        """The alerts that runs have written, by survey and night; none where there are none. Raises ``QueryError``."""
        found = []
        with places.open(self.uri) as warehouse:
            for (name, night), ids in sorted(runs.items()):
                if name not in self.filters.surveys or f"{name}_alerts" not in warehouse.tables:
                    continue
                sql = f"SELECT COUNT(*) AS n FROM {name}_alerts WHERE night = {{night}} AND {of_runs_sql('run_id', ids)}"
                rows = int(warehouse.ask(sql, {"night": night}).read().column("n")[0].as_py())
                if rows:
                    unit = unit_key(("behind", name, str(night), *sorted(ids)))
                    found.append(NightToAsk(name, night, rows, unit, tuple(ids)))
        return found

    def _is_done(self, warehouse: Any, name: str, night: date, unit: str, alerts: int) -> bool:
        """Whether each of the filters has a verdict of so many alerts by a refilter of this night."""
        if "filter_counts_unique" not in warehouse.tables and "filter_counts" not in warehouse.tables:
            return False
        sql = (
            "SELECT filter, filter_version, SUM(seen) AS seen, SUM(failed) AS failed FROM filter_counts_unique "
            "WHERE night = {night} AND survey = {survey} AND unit = {unit} GROUP BY filter, filter_version"
        )
        rows = warehouse.ask(sql, {"night": night, "survey": name, "unit": unit}).read().to_pylist()
        done = {(row["filter"], row["filter_version"]) for row in rows if int(row["seen"]) == alerts and not int(row["failed"])}
        return set(self.filters.of_survey(name).versions.items()) <= done

    def read(self, wanted: NightToAsk) -> Iterator[pa.RecordBatch]:
        """The rows of a night, each alert once, with all columns that the filters ask for and ``survey``."""
        compiled = self.filters.of_survey(wanted.survey)
        with places.open(self.uri) as warehouse:
            queries: Sequence[Any] = tuple(compiled.queries.values())
            rows = FilterRows(warehouse, survey(wanted.survey), queries, whole=bool(compiled.functions))
            for batch in rows.of_night(wanted.night, wanted.rows, wanted.runs):
                names = [name for name in batch.schema.names if name != "survey"]
                yield batch.select(names).append_column("survey", pa.repeat(wanted.survey, batch.num_rows))


def unit_of(survey_name: str, night: date) -> str:
    """By which counts of a refilter of a night are known."""
    return unit_key(("refilter", survey_name, str(night)))
