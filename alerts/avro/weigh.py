"""How many values a datum holds and where it ends, found before anything is made of it.

fastavro believes what a datum says of itself: a few bytes may claim 2^40 nulls, a recursive schema may nest records until the
stack of the process is gone. So whatever is given to fastavro has been walked over here, by the same rules, in fixed memory.
Avro 1.11 specification, "Binary encoding".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alerts.compiling import later
from alerts.errors import UndecodablePacket, UnreadableInput
from alerts.limits import MAX_ALERT_BYTES, MAX_ALERT_DEPTH, MAX_ALERT_VALUES, MAX_DECIMAL_BYTES

Array = np.ndarray[Any, Any]
Int = Any  # as in alerts.avro.machine

_NOTHING, _FIXED, _VARINT, _BYTES, _DECIMAL, _ENUM, _UNION, _RECORD, _ARRAY, _MAP = range(10)
_DAMAGED, _TOO_MANY, _TOO_DEEP, _TOO_LONG = -1, -2, -3, -4
_PLAIN = {
    "null": (_NOTHING, 0),
    "boolean": (_FIXED, 1),
    "int": (_VARINT, 0),
    "long": (_VARINT, 0),
    "float": (_FIXED, 4),
    "double": (_FIXED, 8),
    "bytes": (_BYTES, 0),
    "string": (_BYTES, 0),
}
_RECORDS = ("record", "error")
_NAMED = (*_RECORDS, "enum", "fixed")
_RESERVED = {*_NAMED, "array", "map", "union", "error_union", "request"}
"""fastavro takes a type of such a name for the kind it is named after."""
VALUES_PER_BYTE = 2
"""See ``Nodes.plain``: a record of one number of one byte is two values."""
_BEYOND = {
    _TOO_MANY: f"the alert holds more than {MAX_ALERT_VALUES:,} values, the limit",
    _TOO_DEEP: f"the alert nests records and arrays more than {MAX_ALERT_DEPTH} deep, the limit",
    _TOO_LONG: f"the alert has a decimal number of more than {MAX_DECIMAL_BYTES} bytes, the limit",
}


@dataclass(frozen=True)
class Nodes:
    """A schema as numbers: ``kinds[n]`` is the kind of node n and two arguments, ``parts`` the nodes of records and unions."""

    kinds: Array
    parts: Array
    plain: bool
    """Whether no datum of the schema holds more values than twice its bytes, nor nests too deep, nor has a decimal number."""


@dataclass(frozen=True, slots=True)
class Weight:
    """What a datum holds."""

    values: int
    stop: int | None
    """Where it ends; None where it is damaged or cut."""


def check(datum: bytes, nodes: Nodes) -> None:
    """Raise ``UndecodablePacket`` where a datum with nothing behind it is beyond the limits of ``alerts.limits``.

    It is walked over only where its schema and length leave that open: a packet as surveys send them needs no numba.
    """
    if not surely_within(len(datum), nodes):
        weigh(datum, 0, nodes)


def surely_within(size: int, nodes: Nodes) -> bool:
    """Whether no datum of so many bytes is beyond the limits, damaged or not."""
    return nodes.plain and VALUES_PER_BYTE * size + MAX_ALERT_DEPTH <= MAX_ALERT_VALUES


def weigh(data: bytes | memoryview, start: int, nodes: Nodes) -> Weight:
    """Walk over the datum that begins at ``data[start]``. Raises ``UndecodablePacket`` beyond the limits of ``alerts.limits``."""
    limits = MAX_ALERT_VALUES, MAX_ALERT_DEPTH, MAX_DECIMAL_BYTES
    stop, values = _walk(np.frombuffer(data, np.uint8), start, nodes.kinds, nodes.parts, *limits)
    if stop in _BEYOND:
        raise UndecodablePacket(_BEYOND[stop])
    return Weight(values, None if stop == _DAMAGED else stop)


def nodes_of(parsed: Any) -> Nodes:
    """The nodes of a schema as ``schemas.parse_text`` gives it. Raises ``UnreadableInput`` for what no Avro schema has."""
    made = _Made()
    made.add(parsed)
    return Nodes(np.array(made.kinds, np.int64).reshape(-1, 3), np.array(made.parts, np.int64), _is_plain(made.kinds, made.parts))


def of_fields(nodes: Nodes, first: int, count: int) -> Nodes:
    """Of a record's nodes those of some of its fields, one behind the other: by them these are walked over alone."""
    kinds = nodes.kinds.copy()
    kinds[0] = (_RECORD, nodes.kinds[0, 1] + first, count)
    return Nodes(kinds, nodes.parts, nodes.plain)


def item_nodes(nodes: Nodes, field: int, branch: int | None) -> Nodes:
    """The nodes of the items of an array, which is a field of a record, or ``branch`` of the union that the field is."""
    array = nodes.parts[nodes.kinds[0, 1] + field]
    if branch is not None:
        array = nodes.parts[nodes.kinds[array, 1] + branch]
    kinds = np.vstack([nodes.kinds, nodes.kinds[:1]])
    # The record of one item stands in place of the first node, which nothing but a recursive schema names.
    parts = np.append(nodes.parts, nodes.kinds[array, 1])
    kinds[0] = (_RECORD, len(nodes.parts), 1)
    return Nodes(kinds, parts, nodes.plain)


class _NotPlainError(Exception):
    """Of a schema of which ``Nodes.plain`` is not to be said."""


def _is_plain(kinds: list[tuple[int, int, int]], parts: list[int]) -> bool:
    """See ``Nodes.plain``."""
    known: dict[int, tuple[int, int]] = {}

    def of(node: int, deeper: int, at_least: int) -> tuple[int, int]:
        """By how many fewer values than twice its bytes a value of the node has, or 1, and how deep it nests.

        ``deeper`` is what is left of the limit: a schema that names itself uses it up. Raises ``_NotPlainError``.
        """
        if node not in known:
            known[node] = judged(*kinds[node], deeper)
        spare, depth = known[node]
        if spare < at_least or depth > deeper:
            raise _NotPlainError
        return spare, depth

    def judged(kind: int, argument: int, count: int, deeper: int) -> tuple[int, int]:
        if kind == _NOTHING:
            return -1, 0
        if kind == _FIXED:
            return min(1, VALUES_PER_BYTE * argument - 1), 0
        if kind in (_VARINT, _BYTES, _ENUM):
            return 1, 0
        if kind == _DECIMAL or (kind >= _RECORD and deeper == 0):
            raise _NotPlainError
        if kind in (_ARRAY, _MAP):
            # The end takes a byte, a key is a value in a byte or more.
            return 1, 1 + of(argument, deeper - 1, 0 if kind == _ARRAY else -1)[1]
        nested = 1 if kind == _RECORD else 0
        # The index of a union's branch takes a byte, and is no value; a record itself is a value, and takes none.
        found = [of(part, deeper - nested, nested - 1) for part in parts[argument : argument + count]]
        depth = nested + max((depth for _, depth in found), default=0)
        return (min(1, sum(spare for spare, _ in found) - 1) if kind == _RECORD else 1), depth

    try:
        of(0, MAX_ALERT_DEPTH, 0)
    except _NotPlainError:
        return False
    return True


class _Made:
    def __init__(self) -> None:
        self.kinds: list[tuple[int, int, int]] = []
        self.parts: list[int] = []
        self._named: dict[str, int] = {}

    def add(self, schema: Any) -> int:
        """The number of the schema's node."""
        if isinstance(schema, str):
            if schema in self._named and schema not in _PLAIN:
                return self._named[schema]
            schema = {"type": schema}
        number = len(self.kinds)
        self.kinds.append((_NOTHING, 0, 0))
        if isinstance(schema, list):
            self._set(number, _UNION, schema)
        elif isinstance(schema, Mapping):
            self._add_object(number, schema)
        else:
            raise UnreadableInput(f"the schema has {schema!r} where a type should be")
        return number

    def _add_object(self, number: int, schema: Mapping[str, Any]) -> None:
        kind = schema["type"]
        if kind in _NAMED:
            if schema["name"] in _RESERVED:
                raise UnreadableInput(f"the schema has a type named {schema['name']!r}, a word of Avro's own")
            self._named[schema["name"]] = number
        if kind in _RECORDS:
            self._set(number, _RECORD, [field["type"] for field in schema["fields"]])
        elif kind == "array":
            self.kinds[number] = (_ARRAY, self.add(schema["items"]), 0)
        elif kind == "map":
            self.kinds[number] = (_MAP, self.add(schema["values"]), 0)
        elif kind == "enum":
            self.kinds[number] = (_ENUM, len(schema["symbols"]), 0)
        elif kind == "fixed":
            size = schema["size"]
            if type(size) is not int or not 0 <= size <= MAX_ALERT_BYTES:
                raise UnreadableInput(f"the schema has a fixed value of {size!r} bytes; the limit is {MAX_ALERT_BYTES}")
            decimal = schema.get("logicalType") == "decimal"
            self.kinds[number] = (_DECIMAL, size, 1) if decimal else (_FIXED, size, 0)
        elif kind in _PLAIN:
            decimal = kind == "bytes" and schema.get("logicalType") == "decimal"
            self.kinds[number] = (_DECIMAL, 0, 0) if decimal else (*_PLAIN[kind], 0)
        else:
            raise UnreadableInput(f"the schema has a type {kind!r}")

    def _set(self, number: int, kind: int, schemas: list[Any]) -> None:
        parts = [self.add(schema) for schema in schemas]
        self.kinds[number] = (kind, len(self.parts), len(parts))
        self.parts += parts


@later
def _long_at(data: Array, at: Int) -> tuple[Int, Int]:
    """A zigzag varint, read as fastavro does beyond 64 bits, and the place behind it: ``_DAMAGED`` where the data end before."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < len(data):
        byte = data[at]
        at += 1
        value |= np.uint64(byte & 0x7F) << (shift & np.uint64(63))
        if byte < 0x80:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), np.int64(at)
        shift += np.uint64(7)
    return np.int64(0), np.int64(_DAMAGED)


@later
def _leaf(data: Array, at: Int, kind: Int, argument: Int, is_fixed: Int, longest_decimal: Int) -> Int:  # noqa: PLR0917
    """The place behind a value that has no parts."""
    if kind == _NOTHING:
        return at
    if kind == _FIXED or (kind == _DECIMAL and is_fixed):
        if kind == _DECIMAL and argument > longest_decimal:
            return _TOO_LONG
        return at + argument if argument <= len(data) - at else _DAMAGED
    value, at = _long_at(data, at)
    if at < 0 or kind == _VARINT:
        return at
    if kind == _ENUM:
        return at if -argument <= value < argument else _DAMAGED
    if value < 0 or value > len(data) - at:
        return _DAMAGED
    return _TOO_LONG if kind == _DECIMAL and value > longest_decimal else at + value


@later
def _walk(  # noqa: C901, PLR0912, PLR0917 - one branch for each kind; numba calls by position
    data: Array, at: Int, kinds: Array, parts: Array, most_values: Int, deepest: Int, longest_decimal: Int
) -> tuple[Int, Int]:
    """Where the datum of node 0 that begins at ``data[at]`` ends, or what is wrong with it, and how many values it holds.

    The limits are arguments, because numba would not notice that a constant of another file has changed.
    """
    nodes, left = np.zeros(deepest, np.int64), np.zeros(deepest, np.int64)
    depth, node, values = 0, 0, 0
    while True:
        while kinds[node, 0] == _UNION:
            branch, at = _long_at(data, at)
            number = kinds[node, 2]
            if at < 0 or not -number <= branch < number:
                return _DAMAGED, values
            # Counted from the end where it is negative, as fastavro does.
            node = parts[kinds[node, 1] + (branch + number if branch < 0 else branch)]
        values += 1
        if kinds[node, 0] >= _RECORD:
            if depth == deepest:
                return _TOO_DEEP, values
            nodes[depth], left[depth] = node, kinds[node, 2]
            depth += 1
        else:
            at = _leaf(data, at, kinds[node, 0], kinds[node, 1], kinds[node, 2], longest_decimal)
            if at < 0:
                return at, values
        # On to the next value: that of the innermost record, array or map that is not at its end.
        node = -1
        while node < 0:
            if values > most_values:
                return _TOO_MANY, values
            if depth == 0:
                return at, values
            outer = nodes[depth - 1]
            if kinds[outer, 0] == _RECORD:
                if left[depth - 1] == 0:
                    depth -= 1
                    continue
                node = parts[kinds[outer, 1] + kinds[outer, 2] - left[depth - 1]]
                left[depth - 1] -= 1
                continue
            if left[depth - 1] <= 0:
                count, at = _long_at(data, at)
                if at >= 0 and count < 0:
                    count = -count
                    _, at = _long_at(data, at)
                if at < 0:
                    return _DAMAGED, values
                left[depth - 1] = count
                if count == 0:
                    depth -= 1
                continue
            if kinds[outer, 0] == _MAP:
                values += 1
                at = _leaf(data, at, _BYTES, 0, 0, longest_decimal)
                if at < 0:
                    return _DAMAGED, values
            left[depth - 1] -= 1
            node = kinds[outer, 1]


def compile_now() -> None:
    """Compile it, by walking over nothing."""
    weigh(b"\0", 0, nodes_of("null"))
