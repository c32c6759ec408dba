"""What is shown of a few alerts, read from their files one after the other.

An object has some rows in each of some files. Of Parquet those columns and fields can be read alone that are shown, and of a
history, which is the bulk of a file, one field of its entries, by which they are counted. DuckDB would read all fields of it,
and open each file three times. What comes is what ``Warehouse`` asks by SQL, row by row (``tests/warehouses/test_index.py``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alerts import brightness
from alerts.surveys import SURVEYS, Survey
from schemas.views import newest_last
from warehouses.files import is_remote, open_file
from warehouses.folder.manifest import Manifest
from warehouses.sought import Sought
from warehouses.warehouse import SHOWN

_AT_ONCE = 8
_MOST_ROWS = 2_000_000
_MORE = ("packet_digest", "healpix29")
"""Columns beside those that are shown: by which it is told what is the newest row of an alert, and where."""
_ALERTS = {facts.alerts_table.name: facts for facts in SURVEYS.values()}


class AskDatabase(RuntimeError):
    """What is better left to a database: very many files, or versions that it alone can compare."""


class AlertRows:
    """Files of alerts, each opened once, when it is first needed; no more than ``most`` of them for one question."""

    def __init__(self, warehouse: str, most: int) -> None:
        self._warehouse, self._most = warehouse, most
        self._opened: dict[str, pq.ParquetFile] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> AlertRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    def ids_of(self, sought: Sought, among: Manifest) -> list[int]:
        """The ids of the alerts sought, of which rows stand in these files. Raises ``AskDatabase`` and ``OSError``."""
        ids: set[int] = set()
        for _, _, file in self._files(among):
            if sought.column not in file.schema_arrow.names:
                continue
            rows = file.read(columns=list(dict.fromkeys(["alert_id", sought.column])))
            ids.update(rows.filter(sought.meet(rows.column(sought.column))).column("alert_id").to_pylist())
        return sorted(ids)

    def shown(self, sought: Sought, alert_ids: Collection[int], among: Manifest) -> pa.Table:
        """The alerts sought, one row per alert id, as ``Warehouse.alerts_of`` gives them. Raises as ``ids_of`` does.

        ``among`` are the files that have all rows of the alerts of these ids.
        """
        asked = pa.array(alert_ids, pa.int64())
        parts: dict[str, list[pa.Table]] = {}
        for survey, night, file in self._files(among):
            rows = file.read(columns=_leaves(survey, file.schema_arrow))
            rows = rows.filter(pc.is_in(rows.column("alert_id"), asked))
            nights = pa.repeat(pa.scalar(night, pa.date32()), len(rows))
            parts.setdefault(survey.name, []).append(rows.append_column("night", nights))
        points: dict[tuple[str, int], int | None] = {}
        found = []
        for name, tables in parts.items():
            rows = _newest(pa.concat_tables(tables, promote_options="permissive"))
            if sought.column in rows.schema.names:
                rows = rows.filter(sought.meet(rows.column(sought.column)))
            numbers = _points(SURVEYS[name], rows)
            points |= {(name, alert_id): n for alert_id, n in zip(rows.column("alert_id").to_pylist(), numbers, strict=True)}
            found.append(_shown(SURVEYS[name], rows))
        together = pa.concat_tables(found).sort_by([("observed_at", "ascending"), ("alert_id", "ascending")])
        surveys = [SURVEYS[name] for name in parts]
        return brightness.complete(
            together, surveys, lambda survey, rows: {row["alert_id"]: points[survey.name, row["alert_id"]] for row in rows}
        )

    def _files(self, among: Manifest) -> list[tuple[Survey, date | None, pq.ParquetFile]]:
        files = among.live.select(["table", "path", "night", "rows"]).to_pylist()
        about = [file for file in files if file["table"] in _ALERTS]
        if len(about) > self._most or sum(file["rows"] for file in about) > _MOST_ROWS:
            raise AskDatabase
        missing = [file["path"] for file in about if file["path"] not in self._opened]
        if is_remote(self._warehouse):
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                self._opened |= zip(missing, threads.map(self._open, missing), strict=True)
        else:
            self._opened |= {path: self._open(path) for path in missing}
        return [(_ALERTS[file["table"]], file["night"], self._opened[file["path"]]) for file in about]

    def _open(self, path: str) -> pq.ParquetFile:
        return pq.ParquetFile(self._closing.enter_context(open_file(f"{self._warehouse}/{path}")))


def _leaves(survey: Survey, schema: pa.Schema) -> list[str]:
    """The columns, and of records and histories the fields, that are shown or told by; those that a file has not are left."""
    histories = [f"{column}.list.element.{field}" for column, field in brightness.histories(survey, set(schema.names))]
    # The night is in the folder's name.
    shown = [name for name in SHOWN if name != "night"]
    return [*shown, *_MORE, *brightness.own_paths(survey).values(), *histories]


def _newest(rows: pa.Table) -> pa.Table:
    """One row per alert id: of several the one that ``{survey}_alerts_unique`` shows."""
    keys = (rows.column(name).to_pylist() for name in ("alert_id", "published_at", "schema_version", "packet_digest"))
    best: dict[int, tuple[tuple[Any, ...] | None, int]] = {}
    for number, (alert_id, *about) in enumerate(zip(*keys, strict=True)):
        order = newest_last(*about)
        if alert_id not in best:
            best[alert_id] = order, number
            continue
        other, _ = best[alert_id]
        if order is None or other is None:
            raise AskDatabase
        if order > other:
            best[alert_id] = order, number
    return rows.take(pa.array([number for _, number in best.values()], pa.int64()))


def _points(survey: Survey, rows: pa.Table) -> list[int | None]:
    """``n_points``: the alert and the entries of its histories; NULL where one is NULL."""
    number: pa.ChunkedArray = pa.chunked_array([pa.array([1] * len(rows), pa.int64())])
    for column, _ in brightness.histories(survey, rows.schema.names):
        number = pc.add(number, pc.list_value_length(rows.column(column)).cast(pa.int64()))
    found: list[int | None] = number.to_pylist()
    return found


def _shown(survey: Survey, rows: pa.Table) -> pa.Table:
    """The columns ``SHOWN``, and those of ``brightness.OWN`` as its SQL gives them."""
    schema = survey.alerts_table.arrow_schema
    columns = {name: _column(rows, name, schema.field(name).type) for name in SHOWN}
    paths = brightness.own_paths(survey)
    for name in brightness.OWN:
        kind = pa.string() if name in brightness.TEXTS else pa.float64()
        columns[name] = _column(rows, paths.get(name, ""), kind)
    return pa.table(columns)


def _column(rows: pa.Table, path: str, kind: pa.DataType) -> pa.ChunkedArray:
    """A column, or a field of one that is a record; NULL where there is none."""
    name, _, field = path.partition(".")
    if name not in rows.schema.names:
        return pa.chunked_array([pa.nulls(len(rows), kind)])
    column = rows.column(name)
    if field:
        names = [each.name for each in column.type]
        column = pc.struct_field(column, field) if field in names else pa.chunked_array([pa.nulls(len(rows), kind)])
    return column.cast(kind)
