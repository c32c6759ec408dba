"""Features of alerts that are in a dataset: new rows beside those that are there, of which the newest counts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from alerts.features.table import features_table_of, fields_of, histories_of, made_of, rows_of, version
from alerts.surveys import Survey
from schemas import Column, Table
from schemas.views import json_text_sql
from warehouses.bigquery.writing import AtOnce, Connected, Rows
from warehouses.computed import Computed
from warehouses.errors import QueryError
from warehouses.units import STREAM

if TYPE_CHECKING:
    from warehouses.bigquery.warehouse import BigQueryWarehouse

_ROWS_AT_ONCE = 256
_LEFT_OUT = "false"
"""What ``runs.options`` says of the history where it was left out."""


def add_features(
    warehouse: BigQueryWarehouse,
    survey: Survey,
    nights: tuple[date, date],
    run_id: str,
    as_avro: Callable[[Table, pa.RecordBatch], bytes],
    *,
    again: bool = False,
) -> Iterator[Computed]:
    """Compute what alerts of some nights have no features of the present version of, or, ``again``, those of all of them.

    Gives the numbers of some rows at a time, which are there then. Reads what features are made of, of the nights in which there
    is something to do. Raises ``QueryError`` and ``RuntimeError``, and what Google's clients raise.
    """
    table = features_table_of(survey)
    if table is None:
        return
    between = {"first": nights[0], "last": nights[1]}
    sql = f"SELECT DISTINCT night FROM {survey.alerts_table.name} WHERE night BETWEEN {{first}} AND {{last}} ORDER BY 1"
    with contextlib.closing(Connected(warehouse.project, warehouse.dataset, run_id)) as connected:
        for night in warehouse.ask(sql, between).read().column("night").to_pylist():
            adding = _Adding(warehouse, AtOnce(connected, as_avro), survey, table, night, run_id, again)
            yield from adding.add()


@dataclass(frozen=True)
class _Adding:
    warehouse: BigQueryWarehouse
    writing: AtOnce
    survey: Survey
    table: Table
    night: date
    run_id: str
    again: bool

    def add(self) -> Iterator[Computed]:
        """Compute those of one night, as far as that is to be done."""
        states = self._ask("f.had AS had, r.history AS history, COUNT(*) AS n", "GROUP BY 1, 2").read().to_pylist()
        told = Computed()
        for row in states:
            had, left_out = bool(row["had"]), row["history"] == _LEFT_OUT
            if had or left_out:
                told += Computed(seen=row["n"], had=row["n"] * had, without_history=row["n"] * (not had))
        yield told
        if any(not row["had"] and row["history"] != _LEFT_OUT for row in states):
            columns = ", ".join(self._columns())
            condition = f"AND f.had IS NULL AND COALESCE(r.history, '') <> '{_LEFT_OUT}'"
            for rows in self._ask(f"{columns}, r.history AS history_told", condition):
                yield self._compute(rows)

    def _columns(self) -> list[str]:
        """In SQL: of records only the fields that features are made of, and that are billed."""
        table = self.survey.alerts_table
        held = self.warehouse.columns_of(table.name)
        names = [name for name in (*made_of(self.survey), "null_arrays") if name in held]
        return [_column_sql(table.by_name[name], fields_of(self.survey, name)) for name in names]

    def _ask(self, columns: str, more: str) -> Any:
        """Something of the night's alerts ``a``: ``f.had`` where they have features, and ``r.history``, which their run says.

        That is "true", "false" or, of what no row of ``runs`` tells, NULL.
        """
        history = json_text_sql("options", "history", "bigquery")
        features = f"FROM {self.table.name} WHERE night = {{night}} AND version = {{version}} AND NOT {{again}}"
        sql = (
            f"SELECT {columns} FROM {self.survey.alerts_table.name} AS a "
            f"LEFT JOIN (SELECT alert_id, packet_digest, TRUE AS had {features} GROUP BY 1, 2) AS f "
            "ON f.alert_id = a.alert_id AND f.packet_digest = a.packet_digest "
            f"LEFT JOIN (SELECT run_id, MIN(COALESCE({history}, 'true')) AS history FROM runs GROUP BY 1) AS r "
            f"ON r.run_id = a.run_id WHERE a.night = {{night}} {more}"
        )
        values = {"night": self.night, "version": version(self.survey), "again": self.again}
        return self.warehouse.ask(sql, values, rows_at_once=_ROWS_AT_ONCE)

    def _compute(self, rows: pa.RecordBatch) -> Computed:
        schema = self.survey.alerts_table.arrow_schema
        is_stored = pc.or_(pc.fill_null(pc.equal(rows.column("history_told"), "true"), False), _has_history(rows, self.survey))
        kept = rows.filter(is_stored)
        found = rows_of(_typed(kept, schema), self.survey, self.run_id) if kept.num_rows else None
        failed = 0
        if found is not None:
            failed = len(found.failures)
            [refused] = self.writing.add([Rows(self.table.name, STREAM, found.rows)])
            if refused:
                raise QueryError(f"{self.warehouse.uri} refuses rows of {self.table.name}: {refused[0].message}")
        return Computed(rows.num_rows, 0, kept.num_rows, failed, rows.num_rows - kept.num_rows)


def _column_sql(column: Column, fields: Sequence[str]) -> str:
    if not fields:
        return f"a.{column.name}"
    if column.mode != "REPEATED":
        return f"STRUCT({', '.join(f'a.{column.name}.{name} AS {name}' for name in fields)}) AS {column.name}"
    told = ", ".join(f"p.{name} AS {name}" for name in fields)
    return (
        f"ARRAY(SELECT AS STRUCT {told} FROM UNNEST(a.{column.name}) AS p WITH OFFSET AS place ORDER BY place) AS {column.name}"
    )


def _has_history(rows: pa.RecordBatch, survey: Survey) -> pa.Array:
    """Whether of each row some history is there, or it is told that the packet had none."""
    names = histories_of(survey)
    if not names:
        return pa.repeat(True, rows.num_rows)
    told = {column.field_name for column in survey.histories if column.name in names}
    null = pa.array([bool(told.intersection(some or ())) for some in rows.column("null_arrays").to_pylist()], pa.bool_())
    for name in names:
        null = pc.or_(null, pc.fill_null(pc.greater(pc.list_value_length(rows.column(name)), 0), False))
    return null


def _typed(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows without what is not of the table, what is no record in the table's type."""
    names = [name for name in rows.schema.names if name in schema.names]
    arrays = [rows.column(name) for name in names]
    plain = [
        array if pa.types.is_nested(array.type) else array.cast(schema.field(name).type)
        for name, array in zip(names, arrays, strict=True)
    ]
    return pa.RecordBatch.from_arrays(plain, names=names)
