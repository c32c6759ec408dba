"""A filter as a SELECT of BigQuery, in GoogleSQL.

It reads the fields that the filter names and nothing else, which is what BigQuery bills. Operations are the ``SAFE`` ones: what
raises for one alert's sake would end the query for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from alerts.filters.aggregates import LARGEST
from alerts.filters.engines.writer import NUMBER, Relation, SqlWriter, common_type, missing_of
from alerts.filters.json_numbers import LEAST_WRITTEN, MOST_WRITTEN
from alerts.filters.row import RowField
from alerts.filters.tree import Entries, Literal, Node, Operation, Path, Query, Subquery

_ARITHMETIC = {
    **{"add": "SAFE_ADD", "sub": "SAFE_SUBTRACT", "mul": "SAFE_MULTIPLY", "div": "SAFE_DIVIDE"},
    **{"neg": "SAFE_NEGATE", "abs": "SAFE.ABS"},
}
_FUNCTIONS = {
    name: f"SAFE.{name.upper()}" for name in ("sqrt", "ln", "log10", "exp", "floor", "ceil", "sin", "cos", "tan", "pow")
}
_TAKE_INFINITY = {"exp": (True,), "pow": (True, True), "div": (False, True), "atan2": (True, True)}
"""Of the operations that give a number of an infinite argument, which arguments may be."""
_INFINITE = ("CAST('inf' AS FLOAT64)", "CAST('-inf' AS FLOAT64)")
_AGGREGATES = {"count": "COUNT", "countif": "COUNTIF", "min": "MIN", "max": "MAX", "logical_or": "LOGICAL_OR"} | {
    "logical_and": "LOGICAL_AND"
}


def bigquery_sql(query: Query, relation: Relation) -> str:
    """The SELECT of ``SqlWriter.select``, for BigQuery. Raises ``FilterError``."""
    return _BigQuery(relation).select(query)


def identifier(name: str) -> str:
    """A name in quotes."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


class _BigQuery(SqlWriter):
    types: ClassVar[dict[str, str]] = {
        **{name: name for name in ("BOOL", "INT64", "FLOAT64", "STRING", "JSON", "DATE", "TIMESTAMP")},
        "NULL": "FLOAT64",
    }

    def statement(self, keys: Sequence[str], verdict: str, outputs: str) -> str:
        told = [*(f"alerts.{identifier(name)}" for name in keys), f"{verdict} AS verdict", f"{outputs} AS outputs"]
        return f"SELECT {', '.join(told)} FROM {self.relation.sql} AS alerts"

    def record(self, fields: Sequence[tuple[str, str]]) -> str:
        return f"STRUCT({', '.join(f'{value} AS {identifier(name)}' for name, value in fields)})"

    def path(self, node: Path) -> str:
        names = list(node.names)
        if node.last.scale is not None:
            names[-1] = node.last.scale[0]
        if self.kind_of(node.scope, names) is None:
            return self.null(node.type)
        return self._leaf(_dotted(node.scope, names), node.last)

    def _leaf(self, held: str, last: RowField) -> str:
        """A value of the table as filters see it."""
        if last.truths is not None:
            true, false = (", ".join(self.string(text) for text in sorted(texts)) for texts in last.truths)
            return f"CASE WHEN {held} IN ({true}) THEN TRUE WHEN {held} IN ({false}) THEN FALSE END"
        none = [self.literal(last.type, value) for value in missing_of(last)]
        conditions = [f"IS_NAN({held})"] * (last.type == "FLOAT64") + [f"{held} IN ({', '.join(none)})"] * bool(none)
        seen = f"IF({' OR '.join(conditions)}, NULL, {held})" if conditions else held
        return seen if last.scale is None else _finite(f"SAFE_MULTIPLY({_finite(seen)}, {self.float_of(last.scale[1])})")

    def number(self, node: Operation) -> str:
        name, given = node.name, node.arguments
        if name in _ARITHMETIC and node.type == "INT64":
            return f"{_ARITHMETIC[name]}({', '.join(self.typed(argument, 'INT64') for argument in given)})"
        if name in _ARITHMETIC or name in _FUNCTIONS:
            call = _ARITHMETIC.get(name) or _FUNCTIONS[name]
            found = f"{call}({', '.join(self._arguments(node))})"
            return _finite(found) if name in ("exp", "pow") else found
        if name == "atan2":
            # A zero has no sign, but to this function.
            return f"ATAN2({', '.join(f'({text} + 0.0)' for text in self._arguments(node))})"
        if name == "mod":
            return f"MOD({self.typed(given[0], 'INT64')}, NULLIF({self.typed(given[1], 'INT64')}, 0))"
        return self._value(node)

    def _arguments(self, node: Operation) -> list[str]:
        """The arguments of an operation of floats, infinite ones as NULL where it makes no number of them."""
        take = _TAKE_INFINITY.get(node.name, (False,) * len(node.arguments))
        pairs = zip(node.arguments, take, strict=True)
        texts = ((self.typed(argument, "FLOAT64"), may or not may_be_infinite(argument)) for argument, may in pairs)
        return [text if is_taken else _finite(text) for text, is_taken in texts]

    def _value(self, node: Operation) -> str:
        """Operations that pick or read a value."""
        name, given = node.name, node.arguments
        if name in ("least", "greatest"):
            return f"{name.upper()}({', '.join(self.typed(argument, node.type) for argument in given)})"
        if name == "nullif":
            return self._nullif(node)
        if name == "to_float":
            if given[0].type != "STRING":
                return self.typed(given[0], "FLOAT64")
            return self._parsed(self.text(given[0]))
        assert name in ("json_value", "json_float"), name
        column, key = given
        assert isinstance(key, Literal)
        json, path = self.text(column), self.string(f'$."{key.value}"')
        if name == "json_float":
            return self._parsed(f"IF(JSON_TYPE(JSON_QUERY({json}, {path})) = 'boolean', NULL, JSON_VALUE({json}, {path}))")
        return self._written(f"JSON_VALUE({json}, {path})", f"JSON_QUERY({json}, {path})")

    def _parsed(self, text: str) -> str:
        return _finite(f"SAFE_CAST(REGEXP_EXTRACT({text}, {self.string(NUMBER)}) AS FLOAT64)")

    def _written(self, text: str, json: str) -> str:
        """A text as it is, and a number that all engines write alike."""
        size = f"ABS(SAFE_CAST({text} AS FLOAT64))"
        is_whole = f"NOT REGEXP_CONTAINS({text}, '[.eE]')"
        told = f"{size} = 0 OR {size} >= {self.float_of(LEAST_WRITTEN)} AND {size} < {self.float_of(MOST_WRITTEN)}"
        return f"IF(JSON_TYPE({json}) != 'number' OR {is_whole} OR {told}, {text}, NULL)"

    def _nullif(self, node: Operation) -> str:
        kind = common_type(node)
        first, second = (self.typed(argument, kind) for argument in node.arguments)
        if (node.type, kind) != ("INT64", "FLOAT64"):
            return f"NULLIF({first}, {second})"
        held = self.text(node.arguments[0])
        return f"(SELECT IF(CAST(v AS FLOAT64) = {second}, NULL, v) FROM (SELECT {held} AS v))"

    def subquery(self, node: Subquery) -> str:
        sources = []
        for source in node.sources:
            number = self.enter(source)
            sources.append(f"{self._array(source)} AS e{number} WITH OFFSET AS o{number}")
        where = "" if node.where is None else f" WHERE {self.typed(node.where, 'BOOL')}"
        found = self._aggregate(node, f"FROM {', '.join(sources)}{where}")
        self.leave(len(node.sources))
        return found

    def _array(self, source: Entries) -> str:
        if self.kind_of(source.outer, source.names) is None:
            return "UNNEST(CAST([] AS ARRAY<BOOL>))"
        return f"UNNEST({_dotted(source.outer, source.names)})"

    def _aggregate(self, node: Subquery, entries: str) -> str:
        name = node.name
        if name == "exists":
            return f"EXISTS(SELECT 1 {entries})"
        if name == "first":
            return self._first(node, entries)
        if node.argument is None:
            return f"(SELECT COUNT(*) {entries})"
        if name in _AGGREGATES:
            kind = "BOOL" if name in ("countif", "logical_or", "logical_and") else node.argument.type
            return f"(SELECT {_AGGREGATES[name]}({self.typed(node.argument, kind)}) {entries})"
        if name == "sum" and node.type == "INT64":
            return f"(SELECT SAFE_CAST(SUM(CAST({self.text(node.argument)} AS BIGNUMERIC)) AS INT64) {entries})"
        values = f"(SELECT {self.typed(node.argument, 'FLOAT64')} AS v {entries})"
        return f"(SELECT {_of_floats(name, self.float_of(LARGEST))} FROM {values})"

    def _first(self, node: Subquery, entries: str) -> str:
        assert node.argument is not None
        assert node.order is not None
        places = ", ".join(f"o{node.depth + number}" for number in range(1, len(node.sources) + 1))
        # BigQuery takes no constants there; all entries are equal by one.
        by = "" if isinstance(node.order, Literal) else f"{self.text(node.order)}{' DESC' * node.is_descending} NULLS LAST, "
        return f"(SELECT {self.text(node.argument)} {entries} ORDER BY {by}{places} LIMIT 1)"

    def string(self, value: str) -> str:
        plain = value.replace("\\", "\\\\").replace("'", "\\'")
        return "'" + "".join(each if each.isprintable() else f"\\U{ord(each):08x}" for each in plain) + "'"

    def timestamp(self, value: str) -> str:
        return f"TIMESTAMP '{value}'"

    def whole(self, value: int) -> str:
        return str(value) if value >= 0 else f"({value})"

    def float_of(self, value: float) -> str:
        told = repr(value)
        told = told if "e" in told else f"{told}e0"
        return told if value >= 0 else f"({told})"


def may_be_infinite(node: Node) -> bool:
    """Whether a value may be infinite: only such as the table has, since what is computed is a number or NULL."""
    if node.type != "FLOAT64":
        return False
    if isinstance(node, Operation):
        picks = node.name in ("coalesce", "nullif", "least", "greatest", "case", "to_float")
        return picks and any(may_be_infinite(argument) for argument in node.arguments)
    if isinstance(node, Subquery):
        return node.name in ("min", "max", "first") and node.argument is not None and may_be_infinite(node.argument)
    return isinstance(node, Path)


def _finite(text: str) -> str:
    for none in _INFINITE:
        text = f"NULLIF({text}, {none})"
    return text


def _dotted(scope: int, names: Sequence[str]) -> str:
    return ".".join([f"e{scope}" if scope else "alerts", *map(identifier, names)])


def _of_floats(name: str, largest: str) -> str:
    small = f"IF(ABS(v) <= {largest}, v, NULL)"
    if name == "sum":
        value = f"SUM({small})"
    elif name == "avg":
        value = f"GREATEST(LEAST(AVG({small}), MAX(v)), MIN(v))"
    else:
        value = f"IF(MIN(v) = MAX(v), IF(COUNT(v) > 1, 0.0, NULL), STDDEV({small}))"
    return f"IF(LOGICAL_AND(ABS(v) <= {largest}), {value}, NULL)"
