"""What a run has written, counted in the tables: the same questions to DuckDB and to BigQuery."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from alerts.dead_letters import REPLAYED
from schemas.views import Dialect, json_text_sql
from warehouses.letters import failed_since
from warehouses.standing import began, of_run_sql
from warehouses.units import Unit

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse

_AGE_SECS = {
    "duckdb": "epoch(ingested_at) - epoch(observed_at)",
    "bigquery": "TIMESTAMP_DIFF(ingested_at, observed_at, MILLISECOND) / 1000",
}
_QUANTILE = {
    "duckdb": "quantile_cont({}, {}/100)",
    "bigquery": "APPROX_QUANTILES({}, 100)[OFFSET({})]",
}


@dataclass(frozen=True)
class SurveyCounts:
    """Rows of one survey in one run; latency from observation to ingestion in seconds."""

    alerts: int
    copies: int
    conflicts: int
    latency_median_secs: float
    latency_p95_secs: float
    again: int = 0
    """Of the alerts, rows that BigQuery took twice: an insert whose answer was lost is sent again."""


@dataclass(frozen=True)
class Wrote:
    """Where a run's rows are, as the run itself has told: nothing else is read to count them."""

    nights: Mapping[str, tuple[date, date]]
    """By survey, the first and the last night of its alerts; it has written none of another survey."""
    since: datetime
    """When it began."""


@dataclass(frozen=True)
class RunCounts:
    """What the tables hold of one run."""

    surveys: dict[str, SurveyCounts]
    dead_letters: dict[str, int]
    """By stage."""
    letters_again: int = 0
    """Of the dead letters, rows that BigQuery took twice."""
    others: tuple[str, ...] = ()
    """Ids of other runs that have written rows of the same units meanwhile."""
    earlier: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By ids of runs that had written some of the units before, the tables where their rows are counted: they stand there."""


def count(warehouse: Warehouse, run_id: str, units: Iterable[Unit], wrote: Wrote | None = None) -> RunCounts:
    """The rows of a run in a warehouse, in all of it where nobody tells what the run ``wrote``. Raises ``QueryError``."""
    if not warehouse.holds_tables():
        return RunCounts({}, {})
    units = tuple(units)
    standing = warehouse.standing(run_id, units)
    surveys = {}
    for survey in warehouse.surveys:
        if wrote is not None and survey.name not in wrote.nights:
            continue
        values: dict[str, Any] = {"run_id": run_id}
        table = f"{survey.name}_alerts"
        sql = f"{_survey_sql(table, warehouse.dialect)} WHERE {of_run_sql('run_id', table, standing, values)}"
        if wrote is not None:
            values["first"], values["last"] = wrote.nights[survey.name]
            sql += " AND night BETWEEN {first} AND {last}"
        counted = next(warehouse.ask(sql, values).rows())
        alerts, records, contents, ids = (int(str(number)) for number in counted[:4])
        if alerts:
            # A folder holds each row once.
            again = 0 if warehouse.replaces else alerts - records
            median, p95 = (float(str(secs)) for secs in counted[4:])
            surveys[survey.name] = SurveyCounts(alerts, alerts - again - contents, contents - ids, median, p95, again)
    letters, letters_again = {}, 0
    if "dead_letters" in warehouse.tables:
        run, letter = (json_text_sql("attributes", key, warehouse.dialect) for key in ("run_id", "letter"))
        days, values = "", {"run_id": run_id}
        if wrote is not None:
            days, values["since"] = "failed_at >= {since} AND ", failed_since(began(run_id, standing, wrote.since))
        of_run = of_run_sql(run, "dead_letters", standing, values)
        sql = (
            f"SELECT stage, COUNT(*) AS number, COUNT(DISTINCT {letter}) AS letters FROM dead_letters "
            f"WHERE {days}stage <> '{REPLAYED}' AND {of_run} GROUP BY 1 ORDER BY 1"
        )
        for row in warehouse.ask(sql, values).read().to_pylist():
            letters[str(row["stage"])] = int(row["number"])
            letters_again += 0 if warehouse.replaces else int(row["number"]) - int(row["letters"])
    others = warehouse.other_runs_of(run_id, {unit.key for unit in units})
    runs = sorted({other.run_id for other in standing})
    earlier = {run: tuple(sorted(other.table for other in standing if other.run_id == run)) for run in runs}
    return RunCounts(surveys, letters, letters_again, tuple(others), earlier)


def _survey_sql(table: str, dialect: Dialect) -> str:
    """Rows; contents by source, contents, and ids, each once; the median and 95th percentile of the latency."""
    # The same bytes written with another schema mean something else: the version counts.
    contents = "CONCAT(CAST(alert_id AS STRING), ' ', TO_HEX(packet_digest), ' ', COALESCE(schema_version, ''))"
    if dialect == "duckdb":
        contents = contents.replace("TO_HEX", "hex")
    distinct = {"records": f"CONCAT({contents}, ' ', source)", "contents": contents, "ids": "alert_id"}
    each_once = ", ".join(f"COUNT(DISTINCT {of}) AS {name}" for name, of in distinct.items())
    quantiles = ", ".join(f"{_QUANTILE[dialect].format(_AGE_SECS[dialect], percent)} AS p{percent}" for percent in (50, 95))
    return f"SELECT COUNT(*) AS alerts, {each_once}, {quantiles} FROM {table}"
