"""A filter's tree as SQL: what DuckDB's and BigQuery's have in common.

Each expression is written with its type, so that no engine has to guess one, and each of its parts once: a text that repeated
its parts would double with every level. What could raise for one alert's sake is written so that it is NULL.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, ClassVar

import pyarrow as pa

from alerts.filters.errors import FilterError
from alerts.filters.row import RowField, Type
from alerts.filters.tree import Entries, Literal, Node, Operation, Path, Query, Subquery

INFIX = {
    **{"eq": "=", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "AND", "or": "OR", "like": "LIKE"},
}
_BEHIND = {"is_null": "IS NULL", "is_true": "IS TRUE", "is_false": "IS FALSE"}
NUMBER = r"\A[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\z"
"""A text that is a number, to RE2."""


@dataclass(frozen=True)
class Relation:
    """What a SELECT reads: the columns of ``{survey}_alerts`` and, where it has them, ``features``, ``matches`` and others.

    What a filter asks for and is not there is NULL, as it is in ``alerts.filters.batches``.
    """

    sql: str
    """Its name, or a query in parentheses. Nobody's text: it goes into the statement as it is."""
    schema: pa.Schema


class SqlWriter(ABC):
    """Writes the expressions of one filter over one relation."""

    types: ClassVar[dict[str, str]]
    """What the engine calls a type."""

    def __init__(self, relation: Relation) -> None:
        self.relation = relation
        self._scopes: list[pa.DataType | None] = [pa.struct(list(relation.schema))]

    def select(self, query: Query) -> str:
        """One statement: ``alert_id``, ``packet_digest`` if there is one, ``verdict``, and ``outputs``, a record of the columns.

        ``verdict`` is TRUE, FALSE or NULL. The columns are told of all alerts, whatever their verdict. Raises ``FilterError``.
        """
        try:
            verdict = self.typed(query.where, "BOOL")
            outputs = [(column.name, self.typed(column.node, column.node.type)) for column in query.columns]
        except RecursionError:
            raise FilterError("the filter is nested too deeply") from None
        keys = [name for name in ("alert_id", "packet_digest") if name in self.relation.schema.names]
        return self.statement(keys, verdict, self.record(outputs))

    def typed(self, node: Node, kind: Type) -> str:
        """An expression as one of a type: a whole number among floats is a float, NULL is a NULL of the type."""
        if node.type == "NULL":
            return self.null(kind)
        if isinstance(node, Literal) and kind == "FLOAT64" and node.type == "INT64":
            return self.literal("FLOAT64", float(str(node.value)))
        text = self.text(node)
        return f"CAST({text} AS {self.types['FLOAT64']})" if (node.type, kind) == ("INT64", "FLOAT64") else text

    def text(self, node: Node) -> str:
        """An expression, of its own type."""
        if node.type == "NULL":
            return self.null("NULL")
        if isinstance(node, Literal):
            return self.literal(node.type, node.value)
        if isinstance(node, Path):
            return self.path(node)
        if isinstance(node, Subquery):
            return self.subquery(node)
        assert isinstance(node, Operation)
        return self._operation(node)

    def null(self, kind: Type) -> str:
        """NULL of a type."""
        return f"CAST(NULL AS {self.types[kind]})"

    def literal(self, kind: Type, value: Any) -> str:
        """A constant."""
        if value is None:
            return self.null(kind)
        if isinstance(value, bool):
            return "TRUE" if value else "FALSE"
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, datetime):
            return self.timestamp(value.isoformat(sep=" "))
        if isinstance(value, date):
            return f"DATE '{value.isoformat()}'"
        return self.whole(value) if isinstance(value, int) else self.float_of(value)

    def kind_of(self, scope: int, names: Sequence[str]) -> pa.DataType | None:
        """The type that the relation has for a field; None where it has no such field."""
        kind = self._scopes[scope]
        for name in names:
            place = -1 if kind is None or not pa.types.is_struct(kind) else kind.get_field_index(name)
            if kind is None or place < 0:
                return None
            kind = kind.field(place).type
        return kind

    def enter(self, source: Entries) -> int:
        """Begin with the entries of an array; gives the number of their scope."""
        kind = self.kind_of(source.outer, source.names)
        self._scopes.append(None if kind is None else kind.value_type)
        return len(self._scopes) - 1

    def leave(self, count: int) -> None:
        """End with the entries of the innermost arrays."""
        del self._scopes[-count:]

    def _operation(self, node: Operation) -> str:
        if node.name in INFIX:
            return f"({f' {INFIX[node.name]} '.join(self._alike(node))})"
        if node.name in _BEHIND:
            return f"({self.typed(node.arguments[0], 'BOOL')} {_BEHIND[node.name]})"
        if node.name == "not":
            return f"(NOT {self.typed(node.arguments[0], 'BOOL')})"
        if node.name == "in":
            held, *constants = self._alike(node)
            return f"({held} IN ({', '.join(constants)}))"
        if node.name == "case":
            return self._case(node)
        if node.name == "coalesce":
            return f"COALESCE({', '.join(self.typed(argument, node.type) for argument in node.arguments)})"
        if node.name == "starts_with":
            return f"STARTS_WITH({', '.join(self.typed(argument, 'STRING') for argument in node.arguments)})"
        if node.name in ("lower", "upper"):
            letters = ("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
            begin, end = letters if node.name == "lower" else letters[::-1]
            return f"TRANSLATE({self.typed(node.arguments[0], 'STRING')}, '{begin}', '{end}')"
        return self.number(node)

    def _alike(self, node: Operation) -> list[str]:
        """The arguments, as values of one type."""
        kind = common_type(node)
        return [self.typed(argument, kind) for argument in node.arguments]

    def _case(self, node: Operation) -> str:
        given, kind = node.arguments, node.type
        pairs = zip(given[:-1:2], given[1:-1:2], strict=True)
        branches = " ".join(f"WHEN {self.typed(when, 'BOOL')} THEN {self.typed(then, kind)}" for when, then in pairs)
        return f"CASE {branches} ELSE {self.typed(given[-1], kind)} END"

    @abstractmethod
    def statement(self, keys: Sequence[str], verdict: str, outputs: str) -> str:
        """The whole SELECT."""

    @abstractmethod
    def record(self, fields: Sequence[tuple[str, str]]) -> str:
        """A record of names and expressions."""

    @abstractmethod
    def path(self, node: Path) -> str:
        """A field as filters see it."""

    @abstractmethod
    def subquery(self, node: Subquery) -> str:
        """A value of the entries of an array."""

    @abstractmethod
    def number(self, node: Operation) -> str:
        """An operation that engines do each in their own way: NULL where there is no such number."""

    @abstractmethod
    def string(self, value: str) -> str:
        """A constant text, which says nothing else to the engine, whatever is in it."""

    @abstractmethod
    def timestamp(self, value: str) -> str:
        """A constant time, of a text with its offset."""

    @abstractmethod
    def whole(self, value: int) -> str:
        """A constant of 64 bits."""

    @abstractmethod
    def float_of(self, value: float) -> str:
        """A constant FLOAT64, to its last bit."""


def common_type(node: Operation) -> Type:
    """The type in which the arguments of an operation are held against each other."""
    kinds = [argument.type for argument in node.arguments if argument.type != "NULL"]
    return "FLOAT64" if "FLOAT64" in kinds else kinds[0] if kinds else "NULL"


def missing_of(field: RowField) -> list[float | str]:
    """The values that stand for "none" in a field, in a fixed order and as values of its type."""
    if field.type in ("STRING", "JSON"):
        return sorted(value for value in field.missing if isinstance(value, str))
    numbers = sorted(value for value in field.missing if not isinstance(value, str))
    return [int(value) for value in numbers] if field.type == "INT64" else [float(value) for value in numbers]
