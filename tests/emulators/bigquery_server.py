"""bqemulator 1.4.0, put right where it does otherwise than BigQuery and our tests depend on it.

Run as a program, with bqemulator's own arguments. The clients know nothing of it: they speak BigQuery's REST API.
Each part's docstring says what BigQuery does and what bqemulator does without it.
"""

from __future__ import annotations

import base64
import functools
import re
import sys
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from typing import Any

import pyarrow as pa
import sqlglot
from bqemulator import server
from bqemulator.api.routes import jobs, tabledata, tables
from bqemulator.catalog.memory_repository import MemoryCatalogRepository
from bqemulator.catalog.models import TableFieldSchema, TableMeta, TableSchema
from bqemulator.cli import main
from bqemulator.domain.errors import DomainError, ValidationError
from bqemulator.jobs import executor
from bqemulator.sql import inner_query, parameters
from bqemulator.storage.arrow_bridge import bq_rows_to_arrow
from bqemulator.storage.sql_identifiers import quoted_table_ref
from bqemulator.storage.type_map import bq_schema_to_duckdb_columns
from bqemulator.versioning.snapshots import SnapshotManager
from starlette.responses import JSONResponse

from tests.emulators import job_server, read_api_server, write_api_server

MAX_REQUEST_BYTES = 10 * 1024 * 1024
LEAST_BILLED_BYTES = 10 * 1024 * 1024
"""What BigQuery bills for each table that a query names, of fewer bytes than these: those of tests are."""

Json = dict[str, Any]


def required_columns(fields: list[Json]) -> list[tuple[str, str]]:
    """A REQUIRED column refuses NULL. bqemulator keeps the mode, and takes NULL from loads and inserts."""
    modes = {field["name"]: field.get("mode") for field in fields}
    columns = bq_schema_to_duckdb_columns(fields)
    return [(name, f"{kind} NOT NULL" if modes[name] == "REQUIRED" else kind) for name, kind in columns]


def additions_only(make: Callable[..., TableMeta]) -> Callable[..., TableMeta]:
    """A table's new schema may add NULLABLE and REPEATED fields and drop none. bqemulator takes any."""

    @functools.wraps(make)
    def made(project_id: str, dataset_id: str, body: Json, clock: Any, existing: TableMeta | None = None) -> TableMeta:
        table = make(project_id, dataset_id, body, clock, existing)
        if existing is None or not existing.schema_.fields:
            return table
        fields = _added(existing.schema_.fields, table.schema_.fields, "")
        return table.model_copy(update={"schema_": TableSchema(fields=fields)})

    return made


def _added(present: Sequence[TableFieldSchema], wanted: Sequence[TableFieldSchema], prefix: str) -> tuple[TableFieldSchema, ...]:
    """The wanted fields, those that are present first and in their order."""
    rest = {field.name: field for field in wanted}
    fields = []
    for field in present:
        if field.name not in rest:
            raise ValidationError(f"Provided Schema does not match Table. Field {prefix}{field.name} is missing in new schema")
        new = rest.pop(field.name)
        fields.append(new.model_copy(update={"fields": _added(field.fields, new.fields, f"{prefix}{field.name}.")}))
    for field in rest.values():
        if field.mode == "REQUIRED":
            raise ValidationError(f"Cannot add required fields to an existing schema. (field: {prefix}{field.name})")
    return (*fields, *rest.values())


def with_columns(update: Callable[..., TableMeta]) -> Callable[..., TableMeta]:
    """A field added to the schema is a column, NULL in the rows there are. bqemulator notes it, and every insert fails (500)."""

    @functools.wraps(update)
    def updated(catalog: MemoryCatalogRepository, table: TableMeta) -> TableMeta:
        before = catalog.get_table(table.project_id, table.dataset_id, table.table_id)
        if before is not None and before.table_type == "TABLE" and before.schema_ is not table.schema_:
            reference = quoted_table_ref(table.project_id, table.dataset_id, table.table_id)
            known = {field.name: field for field in before.schema_.fields}
            for field in table.schema_.fields:
                if field != known.get(field.name):
                    ((_, kind),) = bq_schema_to_duckdb_columns([tables._field_to_rest(field)])
                    change = f'ALTER COLUMN "{field.name}" TYPE' if field.name in known else f'ADD COLUMN "{field.name}"'
                    catalog._engine.execute(f"ALTER TABLE {reference} {change} {kind}")
        return update(catalog, table)

    return updated


def with_view(to_rest: Callable[[TableMeta], Json]) -> Callable[[TableMeta], Json]:
    """A view's description has its query. bqemulator keeps it to itself."""

    @functools.wraps(to_rest)
    def described(table: TableMeta) -> Json:
        view = {"view": {"query": table.view_query, "useLegacySql": False}} if table.view_query else {}
        return {**to_rest(table), **view}

    return described


def load_avro(path: str, target: str, context: Any) -> None:
    """Fields of a load file go to the columns of their names. bqemulator takes them in their order, whatever their names."""
    context.engine.execute(f"INSERT INTO {target} BY NAME SELECT * FROM read_avro(?)", [path])


class Checked(list[Json]):
    """Rows that a table takes."""


class RowsRefused(Exception):
    """No row of a request is inserted, because of some; holds ``insertErrors``."""


def partition_rows(rows: list[Json], schema: pa.Schema) -> tuple[Checked, list[Json]]:
    """The rows that a table takes, and ``insertErrors`` that say what is wrong with the others, and at which field.

    bqemulator takes unknown fields and rows without their REQUIRED ones, and names the first field in every error.
    """
    good, errors = Checked(), []
    for index, row in enumerate(rows):
        found = list(_wrong(row["json"], schema, "")) or list(_unconvertible(row["json"], schema))
        if found:
            details = [{"reason": "invalid", "location": at, "debugInfo": "", "message": message} for at, message in found]
            errors.append({"index": index, "errors": details})
        else:
            good.append(row)
    return good, errors


def all_rows(rows: list[Json], schema: pa.Schema) -> pa.Table:
    """Without ``skipInvalidRows``, a row that is refused stops the others. bqemulator answers 500."""
    if not isinstance(rows, Checked):
        errors = partition_rows(rows, schema)[1]
        if errors:
            refused = {error["index"] for error in errors}
            stopped = [{"reason": "stopped", "location": "", "debugInfo": "", "message": ""}]
            rest = [{"index": index, "errors": stopped} for index in range(len(rows)) if index not in refused]
            raise RowsRefused(errors + rest)
    return bq_rows_to_arrow(rows, schema)


def _wrong(record: Json, fields: Any, prefix: str) -> Iterator[tuple[str, str]]:
    kinds = {field.name.lower(): field for field in fields}
    for name in record:
        if name.lower() not in kinds:
            yield prefix + name, f"no such field: {prefix}{name}."
    given = {name.lower(): value for name, value in record.items()}
    for name, field in kinds.items():
        at, value = prefix + field.name, given.get(name)
        if value is None:
            if not field.nullable:
                yield at, f"Missing required field: {at}."
        elif pa.types.is_list(field.type):
            if isinstance(value, list):
                for item in value:
                    yield from _wrong_item(item, field.type.value_type, at)
            else:
                yield at, "Repeated value is required for a repeated field."
        else:
            yield from _wrong_item(value, field.type, at)


def _wrong_item(value: Any, kind: pa.DataType, at: str) -> Iterator[tuple[str, str]]:
    if value is None:
        yield at, "Array cannot have a null element."
    elif isinstance(value, list):
        yield at, "Array specified for non-repeated field."
    elif pa.types.is_struct(kind) != isinstance(value, dict):
        yield at, "This field is not a record." if isinstance(value, dict) else "This field is a record."
    elif isinstance(value, dict):
        yield from _wrong(value, list(kind), f"{at}.")


def _unconvertible(record: Json, schema: pa.Schema) -> Iterator[tuple[str, str]]:
    try:
        bq_rows_to_arrow([{"json": record}], schema)
    except Exception:
        for field in schema:
            try:
                bq_rows_to_arrow([{"json": record}], pa.schema([field]))
            except Exception as error:
                yield field.name, f"Cannot convert value to {field.type} (bad value): {str(error)[:200]}"


class JobRefused(DomainError):
    """An error of ``jobs.query``, which its caller does not turn into an answer without rows."""

    def __init__(self, error: DomainError) -> None:
        super().__init__(error.message, details=error.details, location=error.location)
        # Class attributes in bqemulator's own errors.
        vars(self).update(http_status=error.http_status, bq_reason=error.bq_reason, grpc_status_name=error.grpc_status_name)


def query_errors(execute: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A query that fails is an error. bqemulator's ``jobs.query`` answers it with no rows, and the client shows none."""

    @functools.wraps(execute)
    async def executed(project_id: str, job_id: str, *arguments: Any, **options: Any) -> Any:
        try:
            return await execute(project_id, job_id, *arguments, **options)
        except DomainError as error:
            # Clients give the jobs they insert an id of their own.
            if job_id.startswith("bqemu_"):
                raise JobRefused(error) from error
            raise

    return executed


def bytes_billed(handle: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A job that would be billed more than ``maximumBytesBilled`` ends as one that failed. bqemulator bills nothing."""

    @functools.wraps(handle)
    async def handled(project_id: str, job_id: str, config: Json, **others: Any) -> Any:
        refused = _too_much(config["query"])
        if refused is None:
            return await handle(project_id, job_id, config, **others)
        result = {"reason": "bytesBilledLimitExceeded", "message": refused}
        return jobs._failed_job_meta(project_id, job_id, "QUERY", config, result, others["now"])

    return handled


def bytes_billed_at_once(check: Callable[[Json], None]) -> Callable[[Json], None]:
    """The same of ``jobs.query``, which answers with the error."""

    @functools.wraps(check)
    def checked(query: Json) -> None:
        check(query)
        if refused := _too_much(query):
            error = ValidationError(refused)
            vars(error).update(bq_reason="bytesBilledLimitExceeded")
            raise error

    return checked


def _too_much(query: Json) -> str | None:
    bills, most = LEAST_BILLED_BYTES * _tables_named(query["query"]), int(query.get("maximumBytesBilled") or 0)
    return f"Query exceeded limit for bytes billed: {most}. {bills} or higher required." if 0 < most < bills else None


def _tables_named(sql: str) -> int:
    try:
        return len({str(table) for table in sqlglot.parse_one(sql, dialect="bigquery").find_all(sqlglot.exp.Table)})
    except sqlglot.errors.SqlglotError:
        # What is wrong with it is told when it is run.
        return 0


def quoted_parameters(bind: Callable[..., tuple[str, list[Any]]]) -> Callable[..., tuple[str, list[Any]]]:
    """A parameter's name may stand in quotes, and BYTES come in base64. bqemulator does not find the one nor decode the other."""

    @functools.wraps(bind)
    def bound(sql: str, query_parameters: list[Json] | None = None) -> tuple[str, list[Any]]:
        return bind(re.sub(r'([@$])"(\w+)"', r"\1\2", sql), query_parameters)

    return bound


class AsBigQuery:
    """What holds for all requests.

    One with rows of more than 10 MB is a 413; bqemulator takes any. What bqemulator stumbles over is a 400 with its
    reason: Google's clients would repeat a 500 for ten minutes.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """The ASGI application."""
        if scope["type"] == "http" and scope["path"].endswith("/insertAll"):
            sent = int(dict(scope["headers"]).get(b"content-length", 0))
            if sent > MAX_REQUEST_BYTES:
                message = f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes."
                await _error(413, message, "uploadTooLarge")(scope, receive, send)
                return
        try:
            await self._app(scope, receive, send)
        except RowsRefused as refused:
            answer = {"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": refused.args[0]}
            await JSONResponse(answer)(scope, receive, send)
        except Exception as error:
            if scope["type"] != "http":
                raise
            await _error(400, f"bqemulator: {type(error).__name__}: {error}", "invalid")(scope, receive, send)


def _error(code: int, message: str, reason: str) -> JSONResponse:
    details = [{"domain": "global", "reason": reason, "message": message}]
    return JSONResponse({"error": {"code": code, "message": message, "errors": details}}, code)


def put_right() -> None:
    """Change bqemulator in this process."""
    tables.bq_schema_to_duckdb_columns = required_columns
    tables._table_to_rest = with_view(tables._table_to_rest)
    tables._rest_to_table_meta = additions_only(tables._rest_to_table_meta)
    MemoryCatalogRepository.update_table = with_columns(MemoryCatalogRepository.update_table)
    executor._LOAD_FORMAT_HANDLERS["AVRO"] = load_avro
    tabledata._partition_rows_for_insert = partition_rows
    tabledata.bq_rows_to_arrow = all_rows
    jobs.execute_query_job = query_errors(jobs.execute_query_job)
    jobs._handle_query_job = bytes_billed(jobs._handle_query_job)
    jobs._validate_session_id = bytes_billed_at_once(jobs._validate_session_id)
    # It expands * to the columns whose types it knows, and loses the RECORD ones: without the types it leaves the * alone.
    inner_query.build_catalog_schema = lambda *_, **__: {}
    executor.bind_parameters = quoted_parameters(executor.bind_parameters)
    parameters._SCALAR_CONVERTERS["BYTES"] = base64.b64decode
    # It copies the whole table after each insert and load, for time travel; memory grows with the square of a table.
    SnapshotManager.capture = lambda *_, **__: None
    make = server.create_app

    def create_app(context: Any) -> Any:
        app = make(context)
        app.add_middleware(AsBigQuery)
        return app

    server.create_app = create_app
    job_server.put_right()
    read_api_server.put_right()
    write_api_server.put_right()


if __name__ == "__main__":
    put_right()
    sys.exit(main())
