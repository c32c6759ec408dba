"""The rows that filters see (``alerts.filters.row``), read from a warehouse batch by batch: only what the filters ask for.

Each alert of a night comes once, as ``{survey}_alerts_unique`` shows it of that night. Which row that is, is decided by a few
narrow columns, and the wide ones flow past them, so that memory does not grow with the night; a folder's very large nights are
read in parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from alerts.features.table import features_table_of, version
from alerts.filters.inputs import BESIDE, UsedField, used_fields
from alerts.filters.tree import Query
from alerts.surveys import Survey
from schemas.views import Dialect, newest_features_sql, newest_matches_sql, unique_alerts_sql
from warehouses.errors import QueryError
from warehouses.sought import of_ids
from warehouses.warehouse import Warehouse

ROWS_AT_ONCE = 1024
_MOST_ALERTS = 500_000
"""Of a folder's night read at once: DuckDB holds keys, features and matches of so many in memory."""
_ALWAYS = ("alert_id", "object_id", "night", "packet_digest")
_OURS = ("copies_of_row", "has_features")
"""Columns that are taken off again."""
_MATCH = ("catalog", "status", "radius_arcsec", "asked_at")


_RUN_ID = re.compile(r"[A-Za-z0-9_-]+")


class FilterRows:
    """What some filters see of a survey's alerts in a warehouse."""

    def __init__(
        self,
        warehouse: Warehouse,
        survey: Survey,
        queries: Iterable[Query],
        *,
        also: Mapping[str, UsedField] | None = None,
        entire: Iterable[str] = (),
        whole: bool = False,
    ) -> None:
        """``also``: columns that are read besides; ``entire``: columns with all that they hold; ``whole``: all so, and features.

        Raises ``QueryError`` where the warehouse has no alerts of the survey.
        """
        if survey not in warehouse.surveys:
            held = ", ".join(each.name for each in warehouse.surveys) or "none"
            raise QueryError(f"{warehouse.uri} holds no alerts of {survey.name}; it holds those of {held}")
        self._warehouse, self._survey = warehouse, survey
        self._used = used_fields(queries)
        for name, used in (also or {}).items():
            self._used.setdefault(name, UsedField()).join(used)
        self._used |= {name: UsedField() for name in entire}
        if whole:
            names = (*survey.alerts_table.by_name, *(["features"] if features_table_of(survey) else []))
            self._used |= {name: UsedField() for name in names}
        self.without_features = 0
        """Alerts so far of which no features of the present version are stored, though filters ask for some."""
        self.without_matches = 0
        """Alerts so far about which no catalog was asked, though filters ask for matches."""

    def nights(self, between: tuple[date, date]) -> dict[date, int]:
        """The nights from one to another that have alerts, and how many rows of these. Raises ``QueryError`` where none has."""
        table = self._survey.alerts_table.name
        where = f"night BETWEEN DATE '{between[0]}' AND DATE '{between[1]}'"
        sql = f"SELECT night, COUNT(*) AS alerts FROM {table} WHERE {where} GROUP BY night ORDER BY night"
        found = {row["night"]: row["alerts"] for row in self._warehouse.read(sql).read().to_pylist()}
        if not found:
            first, last = self._warehouse.read(f"SELECT MIN(night), MAX(night) FROM {table}").read().to_pylist()[0].values()
            of = f"night {between[0]}" if between[0] == between[1] else f"nights {between[0]} to {between[1]}"
            raise QueryError(f"{self._warehouse.uri} holds no {self._survey.name} alerts of {of}; it has {first} to {last}")
        return found

    def newest_night(self) -> date:
        """The last night that has alerts."""
        table = self._survey.alerts_table.name
        found = self._warehouse.read(f"SELECT MAX(night) AS night FROM {table}").read().column("night")[0].as_py()
        if found is None:
            raise QueryError(f"{self._warehouse.uri} holds no alerts of {self._survey.name}")
        return date.fromisoformat(str(found))

    def of_night(self, night: date, rows: int, runs: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        """The alerts of a night of so many rows; of those the ones that these runs have written, where any are named.

        Raises ``QueryError``, also where features are asked for and none are there.
        """
        where = f"night = DATE '{night}'"
        self._check_features(self._warehouse, where, f"night {night}")
        # BigQuery joins by itself, and bills each part as the whole.
        parts = 1 if self._warehouse.dialect == "bigquery" else -(-rows // _MOST_ALERTS)
        for part in range(parts):
            some = f"{where} AND MOD(MOD(alert_id, {parts}) + {parts}, {parts}) = {part}" if parts > 1 else where
            yield from self._read(self._warehouse, some, runs)

    def of_alert(self, alert_id: int) -> pa.RecordBatch | None:
        """The one alert; None where there is no such alert of the survey. Raises ``QueryError``."""
        with self._warehouse.holding(of_ids([alert_id])) as some:
            if self._survey not in some.surveys:
                return None
            where = some.rows_of_alert(self._survey, alert_id)
            found = [*self._read(some, where)]
            if found:
                self._check_features(some, where, f"alert {alert_id}")
            return found[0] if found else None

    def _check_features(self, warehouse: Warehouse, where: str, whose: str) -> None:
        table = features_table_of(self._survey)
        if "features" not in self._used or table is None:
            return
        sql = f"SELECT alert_id FROM {table.name} WHERE {where} AND version = '{version(self._survey)}' LIMIT 1"
        if table.name not in warehouse.tables or not warehouse.read(sql).read().num_rows:
            raise QueryError(
                f"the filter asks for features, and {warehouse.uri} has none of {whose} that the present version has computed; "
                f"broker features --warehouse {warehouse.uri} computes them where histories are stored"
            )

    def _read(self, warehouse: Warehouse, where: str, runs: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
        seen = set[int]()
        sql = self._sql(warehouse, where) + (f" WHERE {of_runs_sql('a.run_id', runs)}" if runs else "")
        answer = warehouse.read(sql, ROWS_AT_ONCE)
        for batch in answer:
            rows = _once(batch, seen)
            if "has_features" in rows.schema.names:
                self.without_features += rows.num_rows - int(pc.sum(rows.column("has_features")).as_py() or 0)
            if "matches" in self._used:
                self.without_matches += _without_any(rows, "matches")
            if rows.num_rows:
                yield rows.drop_columns([name for name in _OURS if name in rows.schema.names])

    def _sql(self, warehouse: Warehouse, where: str) -> str:
        table = self._survey.alerts_table.name
        kept = (
            "SELECT alert_id, published_at, schema_version, packet_digest, "
            f"COUNT(*) OVER (PARTITION BY alert_id, packet_digest) AS copies_of_row FROM {table} WHERE {where}"
        )
        columns = [f"a.{column}" for column in _ALWAYS] + ["k.copies_of_row"]
        joins = [
            f"(SELECT * FROM {table} WHERE {where}) AS a",
            f"JOIN ({unique_alerts_sql(f'({kept})', warehouse.dialect)}) AS k "
            "ON k.alert_id = a.alert_id AND k.packet_digest = a.packet_digest",
        ]
        kinds = self._kinds(warehouse, table)
        own = {name: used for name, used in self._used.items() if name not in (*BESIDE, *_ALWAYS)}
        columns += [f"{part} AS {_named(name, warehouse.dialect)}" for name, part in _parts(own, kinds, "a", warehouse.dialect)]
        if "features" in self._used and features_table_of(self._survey) is not None:
            columns += ["f.features", "f.alert_id IS NOT NULL AS has_features"]
            features = self._features_sql(warehouse, where)
            joins.append(f"LEFT JOIN ({features}) AS f ON f.alert_id = a.alert_id AND f.packet_digest = a.packet_digest")
        if "matches" in self._used and "crossmatches" in warehouse.tables:
            columns.append("m.matches")
            joins.append(f"LEFT JOIN ({self._matches_sql(where, warehouse.dialect)}) AS m ON m.alert_id = a.alert_id")
        return f"SELECT {', '.join(columns)} FROM {' '.join(joins)}"

    def _features_sql(self, warehouse: Warehouse, where: str) -> str:
        table = features_table_of(self._survey)
        assert table is not None
        [(_, part)] = _parts({"features": self._used["features"]}, self._kinds(warehouse, table.name), "s", warehouse.dialect)
        only = f"SELECT alert_id, packet_digest, run_id, computed_at, {part} AS features FROM {table.name} AS s"
        return newest_features_sql(f"({only} WHERE {where} AND version = '{version(self._survey)}')")

    def _matches_sql(self, where: str, dialect: Dialect) -> str:
        newest = newest_matches_sql(f"(SELECT * FROM crossmatches WHERE survey = '{self._survey.name}' AND {where})")
        entry = _struct([*((name, name) for name in _MATCH), ("sources", "matches")], dialect)
        return f"SELECT alert_id, ARRAY_AGG({entry} ORDER BY catalog) AS matches FROM ({newest}) AS n GROUP BY alert_id"

    def _kinds(self, warehouse: Warehouse, table: str) -> Mapping[str, pa.DataType]:
        """The types of the columns that a table has: one that an earlier version made may lack some, and fields of records."""
        if warehouse.dialect == "duckdb":
            found = warehouse.ask(f"SELECT * FROM {table} LIMIT 0").schema
            return dict(zip(found.names, found.types, strict=True))
        tables = (self._survey.alerts_table, features_table_of(self._survey))
        schema = next(each for each in tables if each is not None and each.name == table).arrow_schema
        held = warehouse.columns_of(table)
        return {name: kind for name, kind in zip(schema.names, schema.types, strict=True) if name in held}


def _without_any(rows: pa.RecordBatch, name: str) -> int:
    """How many rows have no entry in an array; BigQuery knows no array that is NULL."""
    if name not in rows.schema.names:
        return int(rows.num_rows)
    return rows.num_rows - int(pc.sum(pc.greater(pc.fill_null(pc.list_value_length(rows.column(name)), 0), 0)).as_py() or 0)


def of_runs_sql(column: str, runs: Sequence[str]) -> str:
    """The condition that a run's id is one of these, in both dialects. Raises ``ValueError`` for what is no id of a run."""
    for run_id in runs:
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"{run_id!r} is no id of a run")
    return f"{column} IN ({', '.join(repr(run_id) for run_id in runs)})"


def _once(batch: pa.RecordBatch, seen: set[int]) -> pa.RecordBatch:
    """A batch without the copies of rows that have come already; of such rows the ids are kept in ``seen``."""
    copies = batch.column("copies_of_row").to_pylist()
    if not any(number > 1 for number in copies):
        return batch
    ids, keep = batch.column("alert_id").to_pylist(), list[bool]()
    for alert_id, number in zip(ids, copies, strict=True):
        keep.append(number == 1 or alert_id not in seen)
        if number > 1:
            seen.add(alert_id)
    return batch.filter(pa.array(keep, pa.bool_()))


def _parts(
    used: Mapping[str, UsedField], kinds: Mapping[str, pa.DataType], of: str, dialect: Dialect
) -> Iterator[tuple[str, str]]:
    """Names and SQL of what is used of a table's columns, as far as it has them."""
    for name, field in used.items():
        if name in kinds:
            yield name, _part(f"{of}.{_named(name, dialect)}", field, kinds[name], dialect)


def _part(sql: str, used: UsedField, kind: pa.DataType, dialect: Dialect) -> str:
    """SQL of what is used of a value: of a record only some fields, which alone are read, and billed."""
    is_list = pa.types.is_list(kind)
    record = kind.value_type if is_list else kind
    if not used.fields or not pa.types.is_struct(record):
        return sql
    own = {record.field(number).name: record.field(number).type for number in range(record.num_fields)}
    place = "e" if is_list else sql
    parts = [(name, f"{place}.{_named(name, dialect)}", field) for name, field in used.fields.items() if name in own]
    # Of a list DuckDB reads all fields in any case.
    if not parts or (is_list and dialect == "duckdb"):
        return sql
    struct = [(name, _part(inner, field, own[name], dialect)) for name, inner, field in parts]
    if not is_list:
        return _struct(struct, dialect)
    told = ", ".join(f"{inner} AS {_named(name, dialect)}" for name, inner in struct)
    return f"ARRAY(SELECT AS STRUCT {told} FROM UNNEST({sql}) AS e WITH OFFSET AS place ORDER BY place)"


def _struct(parts: Iterable[tuple[str, str]], dialect: Dialect) -> str:
    if dialect == "bigquery":
        return f"STRUCT({', '.join(f'{sql} AS {_named(name, dialect)}' for name, sql in parts)})"
    return f"struct_pack({', '.join(f'{_named(name, dialect)} := {sql}' for name, sql in parts)})"


def _named(name: str, dialect: Dialect) -> str:
    return f"`{name}`" if dialect == "bigquery" else f'"{name}"'
