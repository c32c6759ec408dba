"""A writer schema as a program for ``alerts.avro.machine``: what to read, and into which columns of the table.

An instruction (``machine.INSTRUCTION``) is an operation, a slot, a level and an argument. A *slot* is where values of one field
go, a *level* is a list of rows: level 0 has one row per packet, every array of records or values has a level of its own with
one row per item. What is not wanted is gone over without slots. Avro 1.11 specification, "Binary encoding".

PRESENT marks a record as not null. OPTION reads the index of a nullable union (its argument: twice the place to go on when it
is null, plus the index of null). NEXT ends an array's item. SKIP_ARRAY goes over an array (its argument: a number of its own);
the fields of an item follow, TEXT and TIME among them, with 1 plus the index of null, or 0, as argument. The instruction
after ARRAY and SKIP_ARRAY only holds where the array's instructions end. MARK keeps the address that has been come to.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, field

import numpy as np

from alerts.avro.layout import EVERYTHING, Projection
from alerts.avro.machine import (
    ARRAY,
    BOOLEAN,
    BYTES,
    DOUBLE,
    END,
    FLOAT,
    INSTRUCTION,
    LONG,
    MARK,
    NEXT,
    OPTION,
    PRESENT,
    SKIP_ARRAY,
    SKIP_BYTES,
    TEXT,
    TIME,
)
from alerts.avro.record_paths import Path
from alerts.avro.wire_schemas import WriterSchema
from alerts.surveys import Survey
from alerts.surveys.survey import is_history
from schemas import Column
from schemas.avro_files import AvroSchema, named_types, resolve

_OPERATIONS = {
    "int": LONG,
    "long": LONG,
    "timestamp": LONG,
    "float": FLOAT,
    "double": DOUBLE,
    "boolean": BOOLEAN,
    "string": BYTES,
    "bytes": BYTES,
}
_OPERATIONS_IN_SKIPPED = {**_OPERATIONS, "timestamp": TIME, "string": TEXT}
NOWHERE = -1
"""The slot of what is skipped."""


class NotSupported(ValueError):
    """The schema has something the machine does not know; its packets are read by fastavro."""


class TooManyRows(NotSupported):
    """An array has more items in these packets than are decoded at once."""


@dataclass
class Target:
    """Where the values of one field are, and the targets of its parts."""

    name: str
    kind: str
    """An Avro primitive type, ``timestamp``, ``record`` or ``array``."""
    slot: int
    """``NOWHERE`` if it is skipped."""
    rank: int
    """How many slots of its level stand before it."""
    level: int
    parts: dict[str, Target] = field(default_factory=dict)
    """Fields of a record; of an array, its items under ``[]``."""


@dataclass(frozen=True)
class Program:
    """Instructions and where they put things.

    ``slot_levels[s]`` is the level of slot s and ``slot_ranks[s]`` its rank there; ``level_slots[l]`` counts the slots of
    level l.
    """

    instructions: np.ndarray[tuple[int], np.dtype[np.void]]
    slot_levels: np.ndarray[tuple[int], np.dtype[np.int64]]
    slot_ranks: np.ndarray[tuple[int], np.dtype[np.int64]]
    level_slots: np.ndarray[tuple[int], np.dtype[np.int64]]
    skipped_arrays: int
    root: Target
    marks: tuple[tuple[Target, Target], ...]
    """Of the marked fields, in the order of the packet: where each begins and ends."""


@functools.lru_cache(maxsize=32)
def compile_schema(
    schema: WriterSchema, survey: Survey, want: Projection = EVERYTHING, marked: frozenset[str] = frozenset()
) -> Program:
    """The program for packets of ``schema``, whose every field must be a stamp or have a column in the survey's table.

    ``marked``: fields of the packet of which it is asked where they are. Raises ``NotSupported``.
    """
    stamps = [tuple(path.split(".")) for paths in survey.stamps.values() for path in paths]
    compiler = _Compiler(stamps, named_types(schema.declared), want, marked)
    root = compiler.record(schema.declared, survey.packet_columns, 0, ())
    compiler.emit(END)
    return Program(
        np.array([astuple(instruction) for instruction in compiler.instructions], INSTRUCTION),
        np.array(compiler.slot_levels, np.int64),
        np.array(compiler.slot_ranks, np.int64),
        np.array(compiler.level_slots, np.int64),
        compiler.skipped_arrays,
        root,
        tuple(compiler.marks),
    )


@dataclass
class _Instruction:
    """In the order of ``INSTRUCTION``."""

    operation: int
    slot: int
    level: int
    argument: int


class _Compiler:
    def __init__(
        self, stamps: Collection[Path], names: Mapping[str, AvroSchema], want: Projection, marked: frozenset[str]
    ) -> None:
        self.instructions: list[_Instruction] = []
        self.slot_levels: list[int] = []
        self.slot_ranks: list[int] = []
        self.level_slots = [0]
        self.skipped_arrays = 0
        self.marks: list[tuple[Target, Target]] = []
        self._marked = marked
        self._stamps = stamps
        self._names = names
        self._want = want

    def emit(self, operation: int, slot: int = 0, level: int = 0, argument: int = 0) -> _Instruction:
        instruction = _Instruction(operation, slot, level, argument)
        self.instructions.append(instruction)
        return instruction

    def target(self, name: str, kind: str, level: int, slots: int = 1) -> Target:
        """A target with slots of its own."""
        target = Target(name, kind, len(self.slot_levels), self.level_slots[level], level)
        for _ in range(slots):
            self.slot_levels.append(level)
            self.slot_ranks.append(self.level_slots[level])
            self.level_slots[level] += 1
        return target

    def record(self, schema: AvroSchema, columns: Collection[Column], level: int, path: Path) -> Target:
        schema = resolve(schema, self._names)
        names = [member["name"] for member in schema["fields"]]
        if len(set(names)) < len(names):
            raise NotSupported("a record has a field twice")
        target = self.target(path[-1] if path else "", "record", level)
        self.emit(PRESENT, target.slot, level)
        by_name = {column.field_name: column for column in columns}
        for member in schema["fields"]:
            where = (*path, member["name"])
            is_marked = not path and member["name"] in self._marked
            begin = self.mark() if is_marked else None
            target.parts[member["name"]] = self.field(member["type"], by_name.get(member["name"]), level, where)
            if begin:
                self.marks.append((begin, self.mark()))
        return target

    def mark(self) -> Target:
        """What keeps where in the packet the program is here."""
        target = self.target("", "address", 0)
        self.emit(MARK, target.slot)
        return target

    def field(self, schema: AvroSchema, column: Column | None, level: int, path: Path) -> Target:
        if column is None and not any(stamp[: len(path)] == path for stamp in self._stamps):
            raise NotSupported(f"{'.'.join(path)} has no column")
        schema = resolve(schema, self._names)
        if isinstance(schema, list):
            if len(schema) != 2 or "null" not in schema:
                raise NotSupported(f"{'.'.join(path)} is a union other than of null and one type")
            null = schema.index("null")
            option = self.emit(OPTION)
            target = self.value(resolve(schema[1 - null], self._names), column, level, path)
            option.argument = 2 * len(self.instructions) + null
            return target
        return self.value(schema, column, level, path)

    def value(self, schema: AvroSchema, column: Column | None, level: int, path: Path) -> Target:
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind == "record":
            return self.record(schema, column.fields if column else (), level, path)
        if kind == "array":
            return self.array(schema, column, level, path)
        kind = _primitive(schema, path)
        if kind == "bytes" and path in self._stamps and not self._want.stamps:
            self.emit(SKIP_BYTES)
            return Target(path[-1], kind, NOWHERE, NOWHERE, level)
        operation = _OPERATIONS[kind]
        # A string or bytes value takes two slots: where it begins, and how long it is.
        target = self.target(path[-1], kind, level, 2 if operation == BYTES else 1)
        self.emit(operation, target.slot, level)
        return target

    def array(self, schema: AvroSchema, column: Column | None, level: int, path: Path) -> Target:
        if column is None or column.mode != "REPEATED":
            raise NotSupported(f"{'.'.join(path)} is an array")
        target = self.target(path[-1], "array", level)
        if level == 0 and is_history(column) and not self._want.history:
            fields = self._flat_fields(schema["items"], path)
            if fields:
                self.skip(target, fields)
                return target
        inner = len(self.level_slots)
        self.level_slots.append(0)
        begin = len(self.instructions)
        self.emit(ARRAY, target.slot, level, inner)
        # The instruction after ARRAY only holds where the array ends.
        end = self.emit(END)
        target.parts["[]"] = self.field(schema["items"], column, inner, (*path, "[]"))
        self.emit(NEXT, target.slot, inner, begin)
        end.argument = len(self.instructions)
        return target

    def skip(self, target: Target, fields: Collection[tuple[int, int]]) -> None:
        self.emit(SKIP_ARRAY, target.slot, target.level, self.skipped_arrays)
        self.skipped_arrays += 1
        end = self.emit(END)
        for operation, option in fields:
            self.emit(operation, argument=option)
        end.argument = len(self.instructions)

    def _flat_fields(self, items: AvroSchema, path: Path) -> list[tuple[int, int]]:
        """Operation and argument of each field of an array's items; none where these are no records of plain values.

        Raises ``NotSupported`` where decoding them would.
        """
        record = resolve(items, self._names)
        if not (isinstance(record, dict) and record["type"] == "record"):
            return []
        found = []
        for member in record["fields"]:
            schema = resolve(member["type"], self._names)
            option = 0
            if isinstance(schema, list) and len(schema) == 2 and "null" in schema:
                option = 1 + schema.index("null")
                schema = resolve(schema[2 - option], self._names)
            if isinstance(schema, list) or (isinstance(schema, dict) and schema["type"] in ("record", "array")):
                return []
            found.append((_OPERATIONS_IN_SKIPPED[_primitive(schema, (*path, member["name"]))], option))
        return found


def _primitive(schema: AvroSchema, path: Path) -> str:
    """The kind of a plain value: an Avro primitive type, or ``timestamp``. Raises ``NotSupported``."""
    kind = schema if isinstance(schema, str) else schema["type"]
    logical = None if isinstance(schema, str) else schema.get("logicalType")
    if logical == "timestamp-micros" and kind == "long":
        return "timestamp"
    if logical is not None or kind not in _OPERATIONS:
        raise NotSupported(f"{'.'.join(path)} is of type {logical or kind}")
    return str(kind)
