"""A filter as a SELECT of DuckDB.

The fields that a filter names are taken out of the wide row first, arrays with those of their entries alone; subqueries are
list functions over these, as correlated UNNESTs over wide rows took minutes. Of extensions it needs json, which is in DuckDB's
wheel, and none that would have to be fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import pyarrow as pa

from alerts.filters.aggregates import LARGEST
from alerts.filters.engines.writer import NUMBER, Relation, SqlWriter, common_type, missing_of
from alerts.filters.json_numbers import LEAST_WRITTEN, MOST_WRITTEN
from alerts.filters.row import RowField
from alerts.filters.tree import Entries, Literal, Operation, Path, Query, Subquery

_SHORT = 100
"""Characters that may stand in a text twice."""
_FUNCTIONS = frozenset({"sqrt", "ln", "log10", "exp", "floor", "ceil", "sin", "cos", "tan", "pow"})
_SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
_ROWS = "rows_of_the_filter"


def duckdb_sql(query: Query, relation: Relation) -> str:
    """The SELECT of ``SqlWriter.select``, for DuckDB 1.4 or later. Raises ``FilterError``."""
    return _DuckDB(relation).select(query)


def identifier(name: str) -> str:
    """A name in quotes."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class _Projected:
    """What is taken of an array's entries: by its name, the value, or an array of theirs."""

    names: tuple[str, ...]
    kind: pa.DataType | None
    values: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, _Projected] = field(default_factory=dict)


class _DuckDB(SqlWriter):
    types: ClassVar[dict[str, str]] = {
        **{"BOOL": "BOOLEAN", "INT64": "BIGINT", "FLOAT64": "DOUBLE", "NULL": "DOUBLE", "STRING": "VARCHAR", "JSON": "VARCHAR"},
        **{"DATE": "DATE", "TIMESTAMP": "TIMESTAMPTZ"},
    }

    def __init__(self, relation: Relation) -> None:
        super().__init__(relation)
        self._projected = [_Projected((), None)]
        self._bound = 0

    def statement(self, keys: Sequence[str], verdict: str, outputs: str) -> str:
        row = self._projected[0]
        taken = [*map(identifier, keys), *(f"{value} AS {identifier(name)}" for name, value in row.values.items())]
        taken += [f"{self._entries(array, '', 1)} AS {identifier(name)}" for name, array in row.arrays.items()]
        told = [*map(identifier, keys), f"{verdict} AS verdict", f"{outputs} AS outputs"]
        inner = f"SELECT {', '.join(taken) or '1 AS nothing'} FROM {self.relation.sql}"
        return f"WITH {_ROWS} AS ({inner}) SELECT {', '.join(told)} FROM {_ROWS}"

    def record(self, fields: Sequence[tuple[str, str]]) -> str:
        return "{" + ", ".join(f"{self.string(name)}: {value}" for name, value in fields) + "}"

    def _entries(self, array: _Projected, outside: str, depth: int) -> str:
        """An array with the fields that are used of its entries."""
        entry = f"entry{depth}"
        fields = list(array.values.items())
        fields += [(name, self._entries(inner, entry, depth + 1)) for name, inner in array.arrays.items()]
        held = "CAST(NULL AS BOOLEAN[])" if array.kind is None else _dotted(outside, array.names)
        # A record of no fields there is not.
        return f"list_transform({held}, lambda {entry}: {self.record(fields or [('nothing', 'TRUE')])})"

    def path(self, node: Path) -> str:
        # A name with a dot is none of the relation's own columns, nor of a lambda's.
        name = ".".join(("alerts",)[node.scope :] + node.names)
        values = self._projected[node.scope].values
        if name not in values:
            values[name] = self._seen(node)
        return identifier(name) if node.scope == 0 else f"e{node.scope}.{identifier(name)}"

    def _seen(self, node: Path) -> str:
        names = list(node.names)
        if node.last.scale is not None:
            names[-1] = node.last.scale[0]
        if self.kind_of(node.scope, names) is None:
            return self.null(node.type)
        depth = node.scope
        return self._leaf(_dotted(f"entry{depth}" if depth else "", names), node.last)

    def _leaf(self, held: str, last: RowField) -> str:
        """A value of the table as filters see it."""
        if last.truths is not None:
            true, false = (", ".join(self.string(text) for text in sorted(texts)) for texts in last.truths)
            return f"CASE WHEN {held} IN ({true}) THEN TRUE WHEN {held} IN ({false}) THEN FALSE END"
        cast = f"CAST({held} AS {self.types[last.type]})"
        none = [self.literal(last.type, value) for value in missing_of(last)]
        conditions = [f"isnan({cast})"] * (last.type == "FLOAT64") + [f"{cast} IN ({', '.join(none)})"] * bool(none)
        seen = f"CASE WHEN {' OR '.join(conditions)} THEN NULL ELSE {cast} END" if conditions else cast
        return seen if last.scale is None else self._finite(f"({seen} * {self.float_of(last.scale[1])})")

    def enter(self, source: Entries) -> int:
        kind = self.kind_of(source.outer, source.names)
        name = ".".join(("alerts",)[source.outer :] + source.names)
        arrays = self._projected[source.outer].arrays
        self._projected.append(arrays.setdefault(name, _Projected(source.names, kind)))
        return super().enter(source)

    def leave(self, count: int) -> None:
        super().leave(count)
        del self._projected[-count:]

    def let(self, text: str, form: Callable[[str], str]) -> str:
        """A text that is wanted more than once, computed and written once."""
        if len(text) <= _SHORT and "lambda" not in text:
            return form(text)
        self._bound += 1
        name = f"v{self._bound}"
        return f"list_transform([{text}], lambda {name}: {form(name)})[1]"

    def _finite(self, text: str) -> str:
        return self.let(text, lambda held: f"CASE WHEN isfinite({held}) THEN {held} END")

    def number(self, node: Operation) -> str:
        name, given = node.name, node.arguments
        if name in _SIGNS or name in ("neg", "abs"):
            return self._arithmetic(node)
        if name in _FUNCTIONS:
            texts = ", ".join(self.typed(argument, "FLOAT64") for argument in given)
            # It raises of what there is no number of.
            return self._finite(f"TRY({name}({texts}))")
        if name == "atan2":
            texts = ", ".join(self._no_minus_zero(self.typed(argument, "FLOAT64")) for argument in given)
            return f"atan2({texts})"
        if name == "mod":
            first, second = (f"CAST({self.typed(argument, 'INT64')} AS HUGEINT)" for argument in given)
            return f"CAST({first} % {self.let(second, lambda held: f'CASE WHEN {held} != 0 THEN {held} END')} AS BIGINT)"
        return self._value(node)

    def _value(self, node: Operation) -> str:
        """Operations that pick or read a value."""
        name, given = node.name, node.arguments
        if name == "nullif":
            return self._nullif(node)
        if name in ("least", "greatest"):
            values = f"[{', '.join(self.typed(argument, node.type) for argument in given)}]"
            pick = "list_min" if name == "least" else "list_max"
            return self.let(values, lambda held: f"CASE WHEN list_count({held}) = {len(given)} THEN {pick}({held}) END")
        if name == "to_float":
            if given[0].type != "STRING":
                return self.typed(given[0], "FLOAT64")
            return self._finite(f"TRY_CAST(regexp_extract({self.text(given[0])}, {self.string(NUMBER)}) AS DOUBLE)")
        assert name in ("json_value", "json_float"), name
        return self._json(node)

    def _arithmetic(self, node: Operation) -> str:
        texts = [self.typed(argument, node.type) for argument in node.arguments]
        if node.name == "abs":
            made = f"abs({texts[0]})"
        else:
            made = f"(-{texts[0]})" if node.name == "neg" else f"({texts[0]} {_SIGNS[node.name]} {texts[1]})"
        # Whole numbers raise where 64 bits end, others are infinite.
        return f"TRY({made})" if node.type == "INT64" else self._finite(made)

    def _no_minus_zero(self, text: str) -> str:
        return self.let(text, lambda held: f"CASE WHEN {held} = 0 THEN {self.float_of(0.0)} ELSE {held} END")

    def _nullif(self, node: Operation) -> str:
        kind = common_type(node)
        other = self.typed(node.arguments[1], kind)

        def form(held: str) -> str:
            against = f"CAST({held} AS DOUBLE)" if (node.type, kind) == ("INT64", "FLOAT64") else held
            return f"CASE WHEN {against} = {other} THEN NULL ELSE {held} END"

        return self.let(self.typed(node.arguments[0], node.type), form)

    def _json(self, node: Operation) -> str:
        held, name = node.arguments
        assert isinstance(name, Literal)
        path = self.string(f'$."{name.value}"')
        if node.name == "json_float":
            text = self.let(self.text(held), lambda json: _scalar(json, path, ""))
            return self._finite(f"TRY_CAST(regexp_extract({text}, {self.string(NUMBER)}) AS DOUBLE)")
        least, most = self.float_of(LEAST_WRITTEN), self.float_of(MOST_WRITTEN)
        number = f"abs(CAST(json_extract_string({{json}}, {path}) AS DOUBLE))"
        told = f"({number} >= {least} AND {number} < {most} OR {number} = 0)"
        return self.let(self.text(held), lambda json: _scalar(json, path, told.format(json=json)))

    def subquery(self, node: Subquery) -> str:
        for source in node.sources:
            self.enter(source)
        where = None if node.where is None else self.typed(node.where, "BOOL")
        found = self._aggregate(node, where)
        self.leave(len(node.sources))
        return found

    def _aggregate(self, node: Subquery, where: str | None) -> str:
        if node.name == "first":
            return self._first(node, where)
        if node.argument is None:
            count = f"COALESCE(len({self._values(node, where, None)}), 0)"
            return f"({count} > 0)" if node.name == "exists" else count
        wants_float = node.name in ("avg", "stddev") or node.type == "FLOAT64"
        kind = "BOOL" if node.name in ("countif", "logical_or", "logical_and") else node.argument.type
        values = self._values(node, where, self.typed(node.argument, "FLOAT64" if wants_float else kind))
        if node.name == "countif":
            return f"COALESCE(len(list_filter({values}, lambda v: v)), 0)"
        if node.name == "count":
            return f"COALESCE(list_count({values}), 0)"
        simple = {"min": "list_min", "max": "list_max", "logical_or": "list_bool_or", "logical_and": "list_bool_and"}
        if node.name in simple:
            return f"{simple[node.name]}({values})"
        if not wants_float:
            fits = f"BETWEEN {self.whole(-(2**63))} AND {self.whole(2**63 - 1)}"
            return self.let(f"list_sum({values})", lambda held: f"CASE WHEN {held} {fits} THEN CAST({held} AS BIGINT) END")
        return self.let(f"list_filter({values}, lambda v: v IS NOT NULL)", lambda held: self._of_floats(node.name, held))

    def _of_floats(self, name: str, values: str) -> str:
        small = f"list_bool_and(list_transform({values}, lambda v: abs(v) <= {self.float_of(LARGEST)}))"
        if name == "sum":
            return f"CASE WHEN {small} THEN list_sum({values}) END"
        mean = f"greatest(least(list_sum({values}) / len({values}), list_max({values})), list_min({values}))"
        if name == "avg":
            return f"CASE WHEN {small} THEN {mean} END"
        squares = f"list_sum(list_transform({values}, lambda v: (v - {{mean}}) * (v - {{mean}})))"
        deviation = self.let(mean, lambda held: f"sqrt({squares.format(mean=held)} / (len({values}) - 1))")
        return f"CASE WHEN {small} AND len({values}) > 1 THEN {deviation} END"

    def _values(self, node: Subquery, where: str | None, value: str | None) -> str:
        """The list of the values of those entries that are kept; of the entries themselves where there is no value."""
        depth = node.depth + 1
        outermost = node.sources[0]
        held = self._array(outermost)
        if len(node.sources) == 1:
            return _kept(held, f"e{depth}", where, value)
        inner = _kept(self._array(node.sources[1]), f"e{depth + 1}", where, value)
        return f"flatten(list_transform({held}, lambda e{depth}: {inner}))"

    def _array(self, source: Entries) -> str:
        name = identifier(".".join(("alerts",)[source.outer :] + source.names))
        return name if source.outer == 0 else f"e{source.outer}.{name}"

    def _first(self, node: Subquery, where: str | None) -> str:
        """The first of those whose key is the least there is, or that have no key where none has one."""
        assert node.argument is not None
        assert node.order is not None
        pair = self.record([("k", self.text(node.order)), ("v", self.text(node.argument))])
        pick = "list_max" if node.is_descending else "list_min"

        def form(pairs: str) -> str:
            best = f"{pick}(list_transform({pairs}, lambda v: v.k))"
            return self.let(best, lambda key: f"list_filter({pairs}, lambda v: v.k IS NOT DISTINCT FROM {key})[1].v")

        return self.let(self._values(node, where, pair), form)

    def string(self, value: str) -> str:
        return "'" + value.replace("'", "''") + "'"

    def timestamp(self, value: str) -> str:
        return f"CAST('{value}' AS TIMESTAMPTZ)"

    def whole(self, value: int) -> str:
        return f"CAST({value} AS BIGINT)"

    def float_of(self, value: float) -> str:
        told = repr(value)
        # Without an exponent it would be a DECIMAL.
        return told if "e" in told else f"{told}e0"


def _dotted(outside: str, names: Sequence[str]) -> str:
    return ".".join([*([outside] if outside else []), *map(identifier, names)])


def _kept(array: str, entry: str, where: str | None, value: str | None) -> str:
    kept = array if where is None else f"list_filter({array}, lambda {entry}: {where})"
    return kept if value is None else f"list_transform({kept}, lambda {entry}: {value})"


def _scalar(json: str, path: str, number: str) -> str:
    """What is a text, a truth value or a number; of numbers that are no whole ones as far as a condition says."""
    kind = f"TRY(json_type({json}, {path}))"
    plain = "'VARCHAR', 'BOOLEAN', 'BIGINT', 'UBIGINT'"
    floats = f" OR {kind} = 'DOUBLE'" + (f" AND {number}" if number else "")
    return f"CASE WHEN {kind} IN ({plain}){floats} THEN TRY(json_extract_string({json}, {path})) END"
