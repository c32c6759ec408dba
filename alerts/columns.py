"""Datums of one schema to Arrow columns, many at once: the fast way of ``alerts.decode``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from alerts import machine
from alerts.layout import Layout, Path
from alerts.packets import Packet
from alerts.program import NotSupported, Program, Target, compile_schema
from schemas import Column

Array = np.ndarray[Any, Any]

_ITEMS_PER_PACKET = 64
"""Room for items of each array, to begin with; it grows with need."""
_EARLIEST_MICROS, _LATEST_MICROS = -62135596800_000_000, 253402300799_999_999  # years 1 and 9999: Python's datetime


@dataclass(frozen=True)
class Columns:
    """What was decoded at once: ``good[i]`` tells whether packet i is in it; the rest is for the good ones, in order."""

    good: Array
    packet: pa.StructArray
    """The packet's columns of the table."""
    stamps: list[pa.Array]
    """science, template, difference."""
    null_arrays: list[list[str]]


def decode_columns(packets: Sequence[Packet], layout: Layout) -> Columns:
    """Decode packets of one schema. Raises ``NotSupported`` where only fastavro can: the schema, or some value, is unusual."""
    if layout.unknown:
        raise NotSupported("the packets have fields without a column")
    program = compile_schema(packets[0].schema, layout.survey)
    data = np.frombuffer(b"".join(packet.datum for packet in packets), np.uint8)
    lengths = np.array([packet.stop - packet.start for packet in packets], np.int64)
    stops = np.cumsum(lengths)
    out = _Output(program, data, stops - lengths, stops)
    return Columns(
        good=out.fine.astype(bool),
        packet=out.record(program.root, layout.survey.packet_columns),
        stamps=[out.at(path) for path in layout.stamps.values()],
        null_arrays=_null_arrays(out, layout),
    )


def _null_arrays(out: _Output, layout: Layout) -> list[list[str]]:
    """Per packet the paths of its null and absent arrays."""
    found: list[list[str]] = [[] for _ in range(out.rows(0))]
    for path in layout.arrays:
        target = out.target(path)
        present = out.valid(target).tolist() if target else [0] * len(found)
        parent = out.target(path[:-1])
        inside = out.valid(parent).tolist() if parent else [1] * len(found)
        name = ".".join(path)
        for names, is_present, is_inside in zip(found, present, inside, strict=True):
            if is_inside and not is_present:
                names.append(name)
    return found


class _Output:
    """Runs the program and turns what the machine has written into Arrow arrays."""

    def __init__(self, program: Program, data: Array, starts: Array, stops: Array) -> None:
        self._program, self._data = program, data
        room = np.full(program.levels, len(starts) * _ITEMS_PER_PACKET, np.int64)
        room[0] = len(starts)
        while True:
            sizes = room[program.slot_levels]
            self._bases = np.cumsum(sizes) - sizes
            self._values = np.zeros(int(sizes.sum()), np.int64)
            self._valid = np.zeros(int(sizes.sum()), np.uint8)
            self._rows = np.zeros(program.levels, np.int64)
            self.fine = np.zeros(len(starts), np.uint8)
            done = machine.run(
                data,
                starts,
                stops,
                program.instructions,
                program.slot_levels,
                self._bases,
                room,
                self._values,
                self._valid,
                self._rows,
                self.fine,
            )
            if done != machine.FULL:
                return
            room[1:] = np.where(self._rows[1:] == room[1:], room[1:] * 4, room[1:])

    def rows(self, level: int) -> int:
        return int(self._rows[level])

    def target(self, path: Path) -> Target | None:
        """The target at a path; None where the schema lacks it."""
        found: Target | None = self._program.root
        for name in path:
            found = found.parts.get(name) if found else None
        return found

    def at(self, path: Path | None) -> pa.Array:
        """The bytes at a path of level 0, NULL where the packet has none."""
        target = self.target(path) if path else None
        if target is None:
            return pa.nulls(self.rows(0), pa.binary())
        if target.kind not in ("bytes", "string"):
            raise NotSupported(f"{target.name} is a stamp of type {target.kind}")
        return self._bytes(target, pa.binary())

    def values(self, target: Target, further: int = 0) -> Array:
        base = self._bases[target.slot + further]
        return np.asarray(self._values[base : base + self._rows[target.level]])

    def valid(self, target: Target) -> Array:
        base = self._bases[target.slot]
        return np.asarray(self._valid[base : base + self._rows[target.level]])

    def _bitmap(self, target: Target) -> pa.Buffer | None:
        valid = self.valid(target)
        return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))

    def record(self, target: Target, columns: Sequence[Column]) -> pa.StructArray:
        children = [self.column(target.parts.get(column.name), column, target.level) for column in columns]
        fields = [column.arrow for column in columns]
        rows = self.rows(target.level)
        return pa.StructArray.from_buffers(pa.struct(fields), rows, [self._bitmap(target)], children=children)

    def column(self, target: Target | None, column: Column, level: int) -> pa.Array:
        """The array of a column; all NULL (or empty lists) where the schema lacks the field."""
        kind = column.arrow.type
        if target is None:
            return _absent(self.rows(level), kind, column)
        if target.kind == "array":
            return self._list(target, column, kind)
        return self._value(target, column, kind)

    def _list(self, target: Target, column: Column, kind: pa.DataType) -> pa.Array:
        offsets = np.zeros(self.rows(target.level) + 1, np.int32)
        np.cumsum(self.values(target), out=offsets[1:])
        items = target.parts["[]"]
        values = self._value(items, column, kind.value_type)
        return pa.ListArray.from_buffers(kind, len(offsets) - 1, [None, pa.py_buffer(offsets)], children=[values])

    def _value(self, target: Target, column: Column, kind: pa.DataType) -> pa.Array:
        rows = self.rows(target.level)
        if target.kind == "record":
            return self.record(target, column.fields)
        if target.kind in ("string", "bytes"):
            return self._bytes(target, kind)
        values = self.values(target)
        if target.kind == "float":
            values = values.astype(np.uint32).view(np.float32).astype(np.float64)
        elif target.kind == "boolean":
            values = np.packbits(values.astype(np.uint8), bitorder="little")
        else:
            if target.kind == "timestamp" and not ((values >= _EARLIEST_MICROS) & (values <= _LATEST_MICROS)).all():
                raise NotSupported(f"{target.name} holds a time beyond the year 9999")
            # A copy, so that a row group kept for later does not keep all of the machine's room.
            values = values.copy()
        return pa.Array.from_buffers(kind, rows, [self._bitmap(target), pa.py_buffer(values)])

    def _bytes(self, target: Target, kind: pa.DataType) -> pa.Array:
        rows = self.rows(target.level)
        lengths = self.values(target, 1)
        total = int(lengths.sum())
        if total > np.iinfo(np.int32).max:
            raise NotSupported(f"{target.name} holds more than 2 GB at once")
        offsets, out = np.empty(rows + 1, np.int32), np.empty(total, np.uint8)
        machine.gather(self._data, self.values(target), lengths, offsets, out)
        array = pa.Array.from_buffers(kind, rows, [self._bitmap(target), pa.py_buffer(offsets), pa.py_buffer(out)])
        if kind == pa.string() and total and out.max() > 127:
            try:
                array.validate(full=True)
            except pa.ArrowInvalid as error:
                raise NotSupported(f"{target.name} is not UTF-8") from error
        return array


def _absent(rows: int, kind: pa.DataType, column: Column) -> pa.Array:
    if column.mode == "REPEATED":
        offsets = pa.py_buffer(np.zeros(rows + 1, np.int32))
        return pa.ListArray.from_buffers(kind, rows, [None, offsets], children=[pa.array([], kind.value_type)])
    return pa.nulls(rows, kind)
