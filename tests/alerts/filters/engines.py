"""What the engines say of a filter over rows: each alert's verdict and outputs, in the order of the rows."""

from __future__ import annotations

import math
import pickle
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from alerts.filters.engines.bigquery_sql import bigquery_sql
from alerts.filters.engines.duckdb_sql import duckdb_sql
from alerts.filters.engines.writer import Relation
from alerts.filters.judge import judge
from alerts.filters.steps import Steps
from alerts.filters.tree import Node, Query, Subquery, walk
from alerts.filters.tree import Path as FieldPath
from tests.alerts.filters import by_row

ROOT = Path(__file__).parents[3]
ZETASQL = ROOT / ".venv-zetasql"
MISSING = "Google's reference engine is not installed: make .venv-zetasql/installed"
Said = list[tuple[bool | None, tuple[Any, ...] | None]]
"""Of each row the verdict and the columns; None where an engine tells them of those alone that have passed."""
Kind = Any
"""A type of GoogleSQL: ``"INT64"``, ``("ARRAY", kind)`` or ``("STRUCT", [(name, kind), ...])``."""


def numbered(batches: Iterable[pa.RecordBatch]) -> pa.RecordBatch:
    """Batches as one, whose alerts are known by their ``alert_id``."""
    tables = [pa.Table.from_batches([batch]) for batch in batches]
    table = pa.concat_tables(tables, promote_options="default")
    ids = pa.array(range(10**15, 10**15 + table.num_rows), pa.int64())
    table = table.set_column(table.schema.get_field_index("alert_id"), "alert_id", ids).combine_chunks()
    (made,) = table.to_batches()
    return made


def by_python(queries: Sequence[Query], rows: pa.RecordBatch) -> list[Said]:
    """As the pipeline says, of the whole batch at once."""
    found = judge(rows, Steps({str(number): query for number, query in enumerate(queries)}))
    return [_judged(found[str(number)], rows.num_rows) for number in range(len(queries))]


def _judged(judged: Any, length: int) -> Said:
    assert not judged.failures, judged.failures
    columns = iter(zip(*(column.to_pylist() for column in judged.columns), strict=True))
    passed, by_null = judged.passed.tolist(), judged.by_null.tolist()
    return [(True, next(columns)) if passed[row] else (None if by_null[row] else False, None) for row in range(length)]


def by_rows(query: Query, dicts: Sequence[dict[str, Any]]) -> Said:
    """As the oracle says, of one row after the other."""
    return [
        (by_row.value(query.where, [row]), tuple(by_row.value(column.node, [row]) for column in query.columns)) for row in dicts
    ]


def by_duckdb(queries: Sequence[Query], rows: pa.RecordBatch) -> list[Said]:
    """As DuckDB says, of a table of its own, whose statistics its optimizer knows; the same where the verdict is a condition."""
    relation, found = Relation("rows", rows.schema), []
    with duckdb.connect() as connection:
        connection.register("arrow_rows", pa.Table.from_batches([rows]))
        connection.execute("CREATE TABLE rows AS SELECT * FROM arrow_rows")
        for query in queries:
            sql = duckdb_sql(query, relation)
            found.append(_of_table(connection.execute(sql).to_arrow_table(), rows))
            for condition, verdict in (("verdict", True), ("NOT verdict", False), ("verdict IS NULL", None)):
                count = connection.execute(f"SELECT count(*) FROM ({sql}) WHERE {condition}").fetchall()
                assert count == [(sum(said is verdict for said, _ in found[-1]),)], (condition, sql)
    return found


def _of_table(table: pa.Table, rows: pa.RecordBatch) -> Said:
    said = {row["alert_id"]: (row["verdict"], tuple(row["outputs"].values())) for row in table.to_pylist()}
    assert len(said) == table.num_rows == rows.num_rows
    return [said[number] for number in rows.column("alert_id").to_pylist()]


def by_google(queries: Sequence[Query], rows: pa.RecordBatch) -> list[Said]:
    """As Google's reference engine says; each filter gets the columns that it names. Needs ``.venv-zetasql``."""
    dicts, questions = rows.to_pylist(), []
    for query in queries:
        names = {"alert_id", *(name for node in _nodes(query) for name in _names(node))}
        kinds = [(field.name, kind_of(field.type, names, field.name)) for field in rows.schema if field.name in names]
        told = [{name: _pruned(row[name], kind) for name, kind in kinds} for row in dicts]
        schema = pa.schema([rows.schema.field(name) for name, _ in kinds])
        questions.append((kinds, told, [_with_micros(query, bigquery_sql(query, Relation("alerts_table", schema)))]))
    program = Path(__file__).with_name("googlesql_program.py")
    command = [str(ZETASQL / "bin" / "python"), str(program), str(ZETASQL)]
    ran = subprocess.run(command, input=pickle.dumps(questions), capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    ids = rows.column("alert_id").to_pylist()
    return [_of_google(query, answer, ids) for query, [answer] in zip(queries, pickle.loads(ran.stdout), strict=True)]


def _with_micros(query: Query, statement: str) -> str:
    """The statement with its times as numbers: the engine's client loses them."""
    columns = ((f"outputs.`{column.name}`", column.node.type) for column in query.columns)
    told = ", ".join(f"UNIX_MICROS({name})" if kind == "TIMESTAMP" else name for name, kind in columns)
    return f"SELECT alert_id, verdict, STRUCT({told}) FROM ({statement})"


def _of_google(query: Query, answer: list[Any] | str, ids: list[int]) -> Said:
    assert not isinstance(answer, str), answer
    kinds = [column.node.type for column in query.columns]
    said = {row[0]: (row[1], tuple(map(_read, row[2], kinds))) for row in answer}
    assert len(said) == len(answer) == len(ids)
    return [said[number] for number in ids]


def _read(held: Any, kind: str) -> Any:
    if kind == "DATE" and held is not None:
        return date(1970, 1, 1) + timedelta(days=held)
    if kind == "TIMESTAMP" and held is not None:
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=held)
    return held


def _nodes(query: Query) -> Iterator[Node]:
    for part in (query.where, *(column.node for column in query.columns)):
        yield from walk(part)


def _names(node: Node) -> Iterator[str]:
    if isinstance(node, FieldPath):
        yield from node.names
        if node.last.scale is not None:
            yield node.last.scale[0]
    if isinstance(node, Subquery):
        for source in node.sources:
            yield from source.names


_KINDS = {"int64": "INT64", "int32": "INT64", "double": "FLOAT64", "float": "FLOAT64", "bool": "BOOL", "string": "STRING"}
_KINDS |= {"date32[day]": "DATE", "timestamp[us, tz=UTC]": "TIMESTAMP"}


def kind_of(arrow: pa.DataType, names: set[str], name: str) -> Kind:
    """The type in GoogleSQL, of records the fields of those names alone, or the first if there is none."""
    if pa.types.is_list(arrow):
        return ("ARRAY", kind_of(arrow.value_type, names, name))
    if pa.types.is_struct(arrow):
        wanted = [field for field in arrow if field.name in names] or [arrow.field(0)]
        return ("STRUCT", [(field.name, kind_of(field.type, names, field.name)) for field in wanted])
    # A table of BigQuery has a source's columns as JSON.
    return "JSON" if name == "columns" else _KINDS[str(arrow)]


def _pruned(held: Any, kind: Kind) -> Any:
    if held is None or isinstance(kind, str):
        return held
    if kind[0] == "ARRAY":
        return [_pruned(each, kind[1]) for each in held]
    return {name: _pruned(held.get(name), inner) for name, inner in kind[1]}


def differences(first: Said, second: Said) -> list[tuple[int, Any, Any]]:
    """The rows of which two engines say other things, and what each says."""
    return [(row, *pair) for row, pair in enumerate(zip(first, second, strict=True)) if not _same(*pair)]


def _same(first: tuple[bool | None, Any], second: tuple[bool | None, Any]) -> bool:
    if first[0] is not second[0]:
        return False
    if first[1] is None or second[1] is None:
        return True
    return all(map(same_value, first[1], second[1]))


def same_value(first: Any, second: Any) -> bool:
    """Whether values are the same, floats to what rounding leaves."""
    if isinstance(first, float) and isinstance(second, float):
        return first == second or math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(first, datetime) and isinstance(second, datetime):
        return first.astimezone(UTC) == second.astimezone(UTC)
    return first == second and type(first) is type(second)
