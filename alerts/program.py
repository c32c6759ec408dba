"""A writer schema as a program for ``alerts.machine``: what to read, and into which columns of the table.

An instruction is four numbers ``(operation, slot, level, argument)``. A *slot* is where values of one field go, a *level* is
a list of rows: level 0 has one row per packet, every array of records or values has a level of its own with one row
per item. Avro 1.11 specification, "Binary encoding".
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from alerts.layout import Path
from alerts.surveys import Survey
from alerts.wire_schemas import WriterSchema
from schemas import Column
from schemas.avro_files import AvroSchema, named_types, resolve

END, LONG, FLOAT, DOUBLE, BOOLEAN, BYTES, PRESENT, OPTION, ARRAY, NEXT = range(10)
"""Operations. PRESENT marks a record as not null; OPTION reads the index of a nullable union (its argument: twice the place
to go on when it is null, plus the index of null); NEXT ends an array's item."""

_PRIMITIVES = {
    "int": LONG,
    "long": LONG,
    "float": FLOAT,
    "double": DOUBLE,
    "boolean": BOOLEAN,
    "string": BYTES,
    "bytes": BYTES,
}
_LOGICAL_PRIMITIVES = {"timestamp-micros": "long"}


class NotSupported(ValueError):
    """The schema has something the machine does not know; its packets are read by fastavro."""


@dataclass
class Target:
    """Where the values of one field are: its slot, and the targets of its parts."""

    name: str
    kind: str
    """An Avro primitive type, ``timestamp``, ``record`` or ``array``."""
    slot: int
    level: int
    parts: dict[str, Target] = field(default_factory=dict)
    """Fields of a record; of an array, its items under ``[]``."""


@dataclass(frozen=True)
class Program:
    """Instructions and where they put things. ``slot_levels[s]`` is the level of slot s; ``levels`` counts the levels."""

    instructions: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    slot_levels: np.ndarray[tuple[int], np.dtype[np.int64]]
    levels: int
    root: Target


@functools.lru_cache(maxsize=256)
def compile_schema(schema: WriterSchema, survey: Survey) -> Program:
    """The program for packets of ``schema``, whose every field must be a stamp or have a column in the survey's table.

    Raises ``NotSupported``.
    """
    stamps = [tuple(path.split(".")) for paths in survey.stamps.values() for path in paths]
    compiler = _Compiler(stamps, named_types(schema.declared))
    root = compiler.record(schema.declared, survey.packet_columns, 0, ())
    compiler.emit(END)
    return Program(
        np.array(compiler.instructions, np.int64).reshape(-1, 4),
        np.array(compiler.slot_levels, np.int64),
        compiler.levels,
        root,
    )


class _Compiler:
    def __init__(self, stamps: Collection[Path], names: Mapping[str, AvroSchema]) -> None:
        self.instructions: list[list[int]] = []
        self.slot_levels: list[int] = []
        self.levels = 1
        self._stamps = stamps
        self._names = names

    def emit(self, operation: int, slot: int = 0, level: int = 0, argument: int = 0) -> list[int]:
        instruction = [operation, slot, level, argument]
        self.instructions.append(instruction)
        return instruction

    def slot(self, level: int, count: int = 1) -> int:
        self.slot_levels += [level] * count
        return len(self.slot_levels) - count

    def record(self, schema: AvroSchema, columns: Collection[Column], level: int, path: Path) -> Target:
        schema = resolve(schema, self._names)
        if not (isinstance(schema, dict) and schema["type"] == "record"):
            raise NotSupported(f"{'.'.join(path)} is no record")
        names = [one["name"] for one in schema["fields"]]
        if len(set(names)) < len(names):
            raise NotSupported("a record has a field twice")
        target = Target(path[-1] if path else "", "record", self.slot(level), level)
        self.emit(PRESENT, target.slot, level)
        by_name = {column.name: column for column in columns}
        for one in schema["fields"]:
            where = (*path, one["name"])
            target.parts[one["name"]] = self.field(one["type"], by_name.get(one["name"]), level, where)
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
            option[3] = 2 * len(self.instructions) + null
            return target
        return self.value(schema, column, level, path)

    def value(self, schema: AvroSchema, column: Column | None, level: int, path: Path) -> Target:
        kind = schema if isinstance(schema, str) else schema["type"]
        logical = None if isinstance(schema, str) else schema.get("logicalType")
        fields = column.fields if column else ()
        if kind == "record":
            return self.record(schema, fields, level, path)
        if kind == "array":
            return self.array(schema, column, level, path)
        if kind not in _PRIMITIVES or (logical is not None and _LOGICAL_PRIMITIVES.get(logical) != kind):
            raise NotSupported(f"{'.'.join(path)} is of type {logical or kind}")
        # A string or bytes value takes two slots: where it begins, and how long it is.
        target = Target(
            path[-1], "timestamp" if logical else kind, self.slot(level, 2 if _PRIMITIVES[kind] == BYTES else 1), level
        )
        self.emit(_PRIMITIVES[kind], target.slot, level)
        return target

    def array(self, schema: AvroSchema, column: Column | None, level: int, path: Path) -> Target:
        if column is None or column.mode != "REPEATED":
            raise NotSupported(f"{'.'.join(path)} is an array")
        target = Target(path[-1], "array", self.slot(level), level)
        inner = self.levels
        self.levels += 1
        begin = len(self.instructions)
        self.emit(ARRAY, target.slot, level, inner)
        # The instruction after ARRAY only holds where the array ends.
        end = self.emit(END)
        target.parts["[]"] = self.field(schema["items"], column, inner, (*path, "[]"))
        self.emit(NEXT, target.slot, inner, begin)
        end[3] = len(self.instructions)
        return target
