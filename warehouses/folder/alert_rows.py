"""What is shown of a few alerts, read from their files one after the other.

An object has some rows in each of some files. Of Parquet those columns and fields can be read alone that are shown, and of a
history, which is the bulk of a file, one field of its entries, by which they are counted. DuckDB would read all fields of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alerts import brightness
from alerts.surveys import SURVEYS, Survey
from warehouses.files import is_remote, open_file
from warehouses.folder.manifest import Manifest
from warehouses.sought import Sought
from warehouses.warehouse import SHOWN

_AT_ONCE = 8
_KEYS = {"alert_id", "published_at", "schema_version", "packet_digest", "night"}
"""What tells which row of an alert is the newest, and where it is."""
_ALERTS = {facts.alerts_table.name: facts for facts in SURVEYS.values()}


class TooManyFiles(RuntimeError):
    """More files than may be read one by one."""


class AlertRows:
    """The files of alerts of one version, opened as they are needed, and no more than ``most`` of them."""

    def __init__(self, warehouse: str, manifest: Manifest, most: int) -> None:
        self._warehouse, self._manifest, self._most = warehouse, manifest, most
        self._opened: dict[str, pq.ParquetFile] = {}
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> AlertRows:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.close()

    def ids_of(self, sought: Sought, among: Manifest) -> list[int]:
        """The ids of the alerts sought, of which rows stand in these files. Raises ``TooManyFiles`` and ``OSError``."""
        ids: set[int] = set()
        for _, _, file in self._files(among):
            rows = file.read(columns=list(dict.fromkeys(["alert_id", sought.column])))
            ids.update(rows.filter(sought.meet(rows.column(sought.column))).column("alert_id").to_pylist())
        return sorted(ids)

    def rows_of(self, alert_ids: Collection[int], among: Manifest) -> dict[str, pa.Table]:
        """By table, all rows of these alerts, with the columns that are shown. Raises as ``ids_of`` does."""
        asked = pa.array(alert_ids, pa.int64())
        parts: dict[str, list[pa.Table]] = {}
        for survey, about, file in self._files(among):
            rows = file.read(columns=_leaves(survey, file.schema_arrow))
            rows = rows.filter(pc.is_in(rows.column("alert_id"), asked))
            nights = pa.repeat(pa.scalar(about["night"], pa.date32()), len(rows))
            parts.setdefault(about["table"], []).append(rows.append_column("night", nights))
        return {table: pa.concat_tables(tables, promote_options="permissive") for table, tables in parts.items()}

    def _files(self, among: Manifest) -> list[tuple[Survey, Mapping[str, Any], pq.ParquetFile]]:
        about = [file for file in among.live.select(["table", "path", "night"]).to_pylist() if file["table"] in _ALERTS]
        if len(about) > self._most:
            raise TooManyFiles
        missing = [file["path"] for file in about if file["path"] not in self._opened]
        if is_remote(self._warehouse):
            with ThreadPoolExecutor(_AT_ONCE) as threads:
                self._opened |= zip(missing, threads.map(self._open, missing), strict=True)
        else:
            self._opened |= {path: self._open(path) for path in missing}
        return [(_ALERTS[file["table"]], file, self._opened[file["path"]]) for file in about]

    def _open(self, path: str) -> pq.ParquetFile:
        return pq.ParquetFile(self._closing.enter_context(open_file(f"{self._warehouse}/{path}")))


def _leaves(survey: Survey, schema: pa.Schema) -> list[str]:
    """The columns, and of records and histories the fields, that are shown or told by; those that a file has not are left."""
    there = set(schema.names)
    histories = [f"{column}.list.element.{field}" for column, field in brightness.histories(survey, there)]
    return [*sorted({*SHOWN, *_KEYS} - {"night"}), "healpix29", *brightness.own_paths(survey).values(), *histories]
