"""Nights of a warehouse that filters have not been asked about, and their alerts as filters see them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from alerts.features.table import features_table_of
from alerts.filters.filter_set import FilterSet
from alerts.filters.verdicts import STANDING
from alerts.lists.columns import AskedLists
from alerts.surveys import Survey, survey
from warehouses import places
from warehouses.filter_rows import FilterRows, of_runs_sql
from warehouses.units import unit_key
from warehouses.warehouse import Warehouse

LISTS_OF_RUN = "lists"
"""Among the options in ``runs``: the lists that filters could ask about, by name what stands for their contents."""
WHOLE_NIGHT = "night"
"""The unit of what was asked about all alerts of a night that were there: it stands for all that was counted before."""


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
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By survey, columns of its alerts that are read besides those that the filters ask for."""

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
                    if again or not self._is_done(warehouse, facts, row["night"], int(row["alerts"])):
                        found.append(NightToAsk(facts.name, row["night"], int(row["rows_"]), WHOLE_NIGHT))
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

    def _is_done(self, warehouse: Warehouse, facts: Survey, night: date, alerts: int) -> bool:
        """Whether each of the filters was asked about all of these alerts, by a refilter after all that it asked about."""
        if "filter_counts" not in warehouse.tables:
            return False
        of_night = {"night": night, "survey": facts.name}
        sql = (
            "SELECT filter, filter_version, SUM(seen) AS seen, SUM(failed) AS failed, MIN(run_id) AS run_id "
            f"FROM filter_counts_unique WHERE night = {{night}} AND survey = {{survey}} AND unit = '{WHOLE_NIGHT}' "
            "GROUP BY filter, filter_version"
        )
        rows = warehouse.ask(sql, of_night).read().to_pylist()
        done = {(row["filter"], row["filter_version"]): str(row["run_id"]) for row in rows if _is_whole(row, alerts)}
        asked = self.filters.of_survey(facts.name)
        if not set(asked.versions.items()) <= set(done):
            return False
        runs = sorted({done[key] for key in asked.versions.items()})
        sql = f"SELECT run_id, started_at, options FROM runs WHERE {of_runs_sql('run_id', runs)}"
        told = warehouse.ask(sql).read().to_pylist()
        if len({row["run_id"] for row in told}) < len(runs) or not all(
            self._had_these_lists(row["options"], facts) for row in told
        ):
            return False
        since = min(row["started_at"] for row in told)
        return not any(newest > since for newest in self._newest(warehouse, facts, night))

    def _had_these_lists(self, options: str, facts: Survey) -> bool:
        """Whether a run's lists were what they are now, as far as filters ask about them."""
        then, now = json.loads(options).get(LISTS_OF_RUN, {}), self.filters.lists.versions
        asked = AskedLists.of(self.filters.lists, self.filters.of_survey(facts.name).used).names
        return all(then.get(name) == now[name] for name in asked)

    def _newest(self, warehouse: Warehouse, facts: Survey, night: date) -> Iterator[datetime]:
        """When what filters see of a night's alerts was written last: rows, features, answers of catalogs."""
        features, asked = features_table_of(facts), self.filters.of_survey(facts.name)
        columns = {facts.alerts_table.name: "ingested_at", **({features.name: "computed_at"} if features else {})}
        if any("matches" in asked.asked(name) for name in asked.names):
            columns["crossmatches"] = "asked_at"
        for table, column in columns.items():
            if table in warehouse.tables:
                of_survey = f" AND survey = '{facts.name}'" if table == "crossmatches" else ""
                sql = f"SELECT MAX({column}) AS newest FROM {table} WHERE night = {{night}}{of_survey}"
                newest = warehouse.ask(sql, {"night": night}).read().column("newest")[0].as_py()
                if newest is not None:
                    yield newest

    def _standing(self, warehouse: Warehouse, wanted: NightToAsk) -> dict[tuple[int, bytes], list[str]]:
        """The filters that have passed each packet of a night, or failed on it: what is rejected now must not stand so."""
        if "verdicts" not in warehouse.tables:
            return {}
        versions = self.filters.of_survey(wanted.survey).versions
        sql = (
            "SELECT alert_id, packet_digest, filter, filter_version FROM verdicts_unique "
            "WHERE night = {night} AND survey = {survey}"
        )
        found: dict[tuple[int, bytes], list[str]] = {}
        for batch in warehouse.ask(sql, {"night": wanted.night, "survey": wanted.survey}):
            names = batch.column("filter").to_pylist()
            for key, name, version in zip(_keys(batch), names, batch.column("filter_version").to_pylist(), strict=True):
                if versions.get(name) == version:
                    found.setdefault(key, []).append(name)
        return found

    def read(self, wanted: NightToAsk) -> Iterator[pa.RecordBatch]:
        """The rows of a night, each alert once, with all columns that the filters ask for and ``survey``."""
        compiled = self.filters.of_survey(wanted.survey)
        with places.open(self.uri) as warehouse:
            standing = self._standing(warehouse, wanted)
            queries: Sequence[Any] = tuple(compiled.queries.values())
            facts = survey(wanted.survey)
            of_lists = AskedLists.of(self.filters.lists, compiled.used).columns(facts)
            rows = FilterRows(
                warehouse,
                facts,
                queries,
                also=of_lists,
                entire=self.columns.get(wanted.survey, ()),
                whole=bool(compiled.functions),
            )
            for batch in rows.of_night(wanted.night, wanted.rows, wanted.runs):
                names = [name for name in batch.schema.names if name != "survey"]
                told = [standing.get(key) for key in _keys(batch)]
                made = batch.select(names).append_column("survey", pa.repeat(wanted.survey, batch.num_rows))
                yield made.append_column(STANDING, pa.array(told, pa.list_(pa.string())))


def _keys(rows: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
    """Which packet each row is of."""
    return zip(rows.column("alert_id").to_pylist(), map(bytes, rows.column("packet_digest").to_pylist()), strict=True)


def _is_whole(row: Mapping[str, Any], alerts: int) -> bool:
    return int(row["seen"]) == alerts and not int(row["failed"])
