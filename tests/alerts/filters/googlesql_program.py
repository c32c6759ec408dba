"""Google's own SQL engine: ZetaSQL's reference implementation (PyPI zetasql), which BigQuery's dialect is held against.

Runs in an environment of its own (make .venv-zetasql/installed) and imports nothing of ours:

    python googlesql_program.py FOLDER < questions > answers
    python googlesql_program.py FOLDER --compile

Both are pickles: questions are (columns with types, rows, statements), answers are the rows of each statement, or what is wrong
with it. The engine is WebAssembly; its compiled form is kept in FOLDER, as compiling takes a minute.
"""

from __future__ import annotations

import pickle
import sys
from datetime import UTC, datetime
from pathlib import Path

import wasmtime
from google.protobuf.timestamp_pb2 import Timestamp
from zetasql.core import wasm_client

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEPT = Path(sys.argv[1]) / "zetasql.cwasm"


class CompiledOnce(wasmtime.Module):
    """A module that is compiled the first time alone."""

    @classmethod
    def from_file(cls, engine, path):
        if not KEPT.exists():
            made = KEPT.with_suffix(".part")
            made.write_bytes(wasmtime.Module.from_file(engine, path).serialize())
            made.replace(KEPT)
        return wasmtime.Module.deserialize_file(engine, str(KEPT))


wasm_client.Module = CompiledOnce

from zetasql import types  # noqa: E402 - what is imported here compiles
from zetasql.api import CatalogBuilder, PreparedQuery, TableBuilder, TypeFactory  # noqa: E402

Value = types.Value
_KINDS = {
    **{name: getattr(types.TypeKind, f"TYPE_{name}") for name in ("INT64", "BOOL", "STRING", "DATE", "TIMESTAMP", "JSON")},
    "FLOAT64": types.TypeKind.TYPE_DOUBLE,
}
_FIELDS = {
    **{"INT64": "int64_value", "FLOAT64": "double_value", "BOOL": "bool_value", "STRING": "string_value"},
    **{"DATE": "date_value", "TIMESTAMP": "timestamp_value", "JSON": "json_value"},
}


def main() -> None:
    # With the first statement the engine is compiled.
    first = [([("alert_id", "INT64")], [], ["SELECT 1"])]
    questions = first if "--compile" in sys.argv else pickle.load(sys.stdin.buffer)
    language = types.LanguageOptions.maximum_features()
    language.product_mode = types.ProductMode.PRODUCT_EXTERNAL
    functions = types.ZetaSQLBuiltinFunctionOptions(language_options=language)
    options = types.AnalyzerOptions(language_options=language)
    answers = []
    for columns, rows, statements in questions:
        table = TableBuilder("alerts_table")
        for name, kind in columns:
            table = table.add_column(name, type_of(kind))
        catalog = CatalogBuilder("tests").add_table(table.build()).with_builtin_functions(functions).build()
        cells = [[value_of(row[name], kind) for name, kind in columns] for row in rows]
        held = types.TableData(row=[types.TableData.Row(cell=row) for row in cells])
        content = {"alerts_table": types.TableContent(table_data=held)}
        answers.append([answer(statement, options, catalog, content) for statement in statements])
    if "--compile" not in sys.argv:
        pickle.dump(answers, sys.stdout.buffer)


def answer(statement, options, catalog, content):
    try:
        query = PreparedQuery.builder().set_sql(statement).set_analyzer_options(options).set_catalog(catalog)
        with query.set_table_content(content).prepare() as prepared:
            found = prepared.execute()
            return [[back(cell) for cell in row.cell] for row in (found.content.table_data.row or [])]
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:600]


def type_of(kind):
    """``"INT64"``, ``("ARRAY", kind)`` or ``("STRUCT", [(name, kind), ...])``."""
    if isinstance(kind, str):
        return TypeFactory.create_simple_type(_KINDS[kind])
    if kind[0] == "ARRAY":
        return TypeFactory.create_array_type(type_of(kind[1]))
    return TypeFactory.create_struct_type([(name, type_of(inner)) for name, inner in kind[1]])


def value_of(held, kind):
    if held is None:
        return Value()
    if kind == "DATE":
        return Value(date_value=(held - EPOCH.date()).days)
    if kind == "TIMESTAMP":
        since = held - EPOCH
        seconds = 86400 * since.days + since.seconds
        return Value(timestamp_value=Timestamp(seconds=seconds, nanos=1000 * since.microseconds))
    if isinstance(kind, str):
        return Value(**{_FIELDS[kind]: held})
    if kind[0] == "ARRAY":
        return Value(array_value=Value.Array(element=[value_of(each, kind[1]) for each in held]))
    return Value(struct_value=Value.Struct(field=[value_of(held.get(name), inner) for name, inner in kind[1]]))


def back(cell):
    for name in _FIELDS.values():
        held = getattr(cell, name, None)
        if held is not None:
            return held
    if cell.array_value is not None:
        return [back(each) for each in cell.array_value.element or []]
    return [back(each) for each in cell.struct_value.field or []] if cell.struct_value is not None else None


main()
