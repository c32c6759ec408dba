"""What a run's filters have said, counted in the tables: the same questions to DuckDB and to BigQuery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from schemas.filter_tables import FAILED_ON, PASSED

if TYPE_CHECKING:
    from warehouses.warehouse import Warehouse


@dataclass(frozen=True, order=True)
class FilterOf:
    """A filter of a survey's alerts."""

    survey: str
    filter: str
    filter_version: str


@dataclass(frozen=True)
class FilterCounts:
    """Alerts by what one filter said of them, and the rows of ``verdicts`` that say so."""

    seen: int = 0
    passed: int = 0
    failed: int = 0
    rejected: int = 0
    rejected_by_null: int = 0
    verdicts: int = 0
    """Rows of ``verdicts``; BigQuery may have taken some twice."""
    packets: int = 0
    """The same, each packet once: several alerts are one packet where it was sent several times."""

    def problem(self, *, each_once: bool) -> str | None:
        """Why this cannot be all; ``each_once``: the warehouse holds each row once."""
        if self.seen != self.passed + self.failed + self.rejected:
            return f"{self.seen:,} seen are not {self.passed:,} passed, {self.failed:,} failed and {self.rejected:,} rejected"
        told = self.passed + self.failed
        if self.verdicts < told or self.packets > told or (each_once and self.verdicts != told):
            return f"{told:,} passed or failed have {self.verdicts:,} rows of verdicts, {self.packets:,} of them different"
        return None


def count_filters(warehouse: Warehouse, run_id: str, nights: Mapping[str, tuple[date, date]]) -> dict[FilterOf, FilterCounts]:
    """What a run's filters said of alerts; ``nights`` are the first and last of its alerts. Raises ``QueryError``."""
    if not nights:
        return {}
    first, last = min(span[0] for span in nights.values()), max(span[1] for span in nights.values())
    values: dict[str, Any] = {"run_id": run_id, "first": first, "last": last}
    of_run = "WHERE run_id = {run_id} AND night BETWEEN {first} AND {last}"
    sums = ", ".join(f"SUM({name}) AS {name}" for name in ("seen", "passed", "failed", "rejected", "rejected_by_null"))
    # A part that was taken twice is the same row.
    counted = (
        f"SELECT survey, filter, filter_version, {sums} FROM (SELECT DISTINCT * FROM filter_counts {of_run}) GROUP BY 1, 2, 3"
    )
    packet = f"CONCAT(CAST(alert_id AS STRING), ' ', {'hex' if warehouse.dialect == 'duckdb' else 'TO_HEX'}(packet_digest))"
    told = (
        f"SELECT survey, filter, filter_version, COUNT(*) AS verdicts, COUNT(DISTINCT {packet}) AS packets FROM verdicts "
        f"{of_run} AND status IN ('{PASSED}', '{FAILED_ON}') GROUP BY 1, 2, 3"
    )
    found: dict[FilterOf, dict[str, int]] = {}
    for sql in (counted, told):
        for row in warehouse.ask(sql, values).read().to_pylist():
            key = FilterOf(row.pop("survey"), row.pop("filter"), row.pop("filter_version"))
            found.setdefault(key, {}).update({name: int(number) for name, number in row.items()})
    return {key: FilterCounts(**found[key]) for key in sorted(found)}
