"""Datums of one schema to Arrow columns, many at once: the fast way of ``alerts.avro.decode``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from alerts.avro import machine
from alerts.avro.layout import EVERYTHING, PacketLayout, Projection
from alerts.avro.machine import EARLIEST_MICROS, LATEST_MICROS
from alerts.avro.packets import Packet
from alerts.avro.program import NotSupported, Program, Target, TooManyRows, compile_schema
from alerts.avro.record_paths import Path
from alerts.limits import MAX_BATCH_ROWS
from schemas import Column

Array = np.ndarray[Any, Any]

_NUMBERS = {
    "int": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "timestamp": pa.timestamp("us", tz="UTC"),
}
"""What the machine leaves as numbers of 64 bits, and the types of their columns."""
_ITEMS_PER_PACKET = 64
"""Room for items of each array, to begin with; it grows with need."""


@dataclass(frozen=True)
class Columns:
    """What was decoded at once: ``good[i]`` tells whether packet i is in it; the rest is for the good ones, in order."""

    good: Array
    packet: pa.StructArray
    """The packet's columns of the table that are wanted, under the packet's own names."""
    stamps: list[pa.Array]
    """science, template, difference, if they are wanted."""
    null_arrays: pa.Array

    def at(self, path: Path) -> pa.Array:
        """The column at a path without arrays."""
        array = self.packet
        for name in path:
            array = array.field(name)
        return array


def is_usual(layout: PacketLayout) -> bool:
    """Whether the packets of a layout are for ``decode_columns``: all that they hold has a column, no array may hold null."""
    return not layout.unknown and not layout.arrays_with_nulls


def decode_columns(packets: Sequence[Packet], layout: PacketLayout, want: Projection = EVERYTHING) -> Columns:
    """Decode packets of one schema. Raises ``NotSupported`` where only fastavro can: the schema, or some value, is unusual."""
    if layout.unknown:
        raise NotSupported("the packets have fields without a column")
    if layout.arrays_with_nulls:
        raise NotSupported("the packets have arrays that may hold null")
    program = compile_schema(packets[0].schema, layout.survey, want)
    out = _Output(program, packets)
    columns = want.packet_columns(layout.survey)
    arrays = [out.column(program.root.parts.get(column.field_name), column, 0) for column in columns]
    return Columns(
        good=out.fine,
        packet=pa.StructArray.from_arrays(arrays, fields=[column.arrow.with_name(column.field_name) for column in columns]),
        stamps=[out.at(path) for path in layout.stamps.values()] if want.stamps else [],
        null_arrays=_null_arrays(out, layout),
    )


def places_of(packets: Sequence[Packet], layout: PacketLayout, fields: frozenset[str]) -> tuple[Array, Array]:
    """Which packets of one schema are good, and of these where fields of the packet are: n x fields x 2 addresses.

    Fields stand in the order of the packet; where each begins, and ends, while the packets are kept. Raises ``NotSupported``.
    """
    program = compile_schema(packets[0].schema, layout.survey, Projection(history=False, stamps=False), fields)
    out = _Output(program, packets)
    found = [[out.addresses(target) for target in mark] for mark in program.marks]
    return out.fine, np.array(found, np.int64).reshape(len(program.marks), 2, out.rows[0]).transpose(2, 0, 1)


def _null_arrays(out: _Output, layout: PacketLayout) -> pa.Array:
    """Per packet the paths of its null and absent arrays."""
    missing = np.ones((len(layout.arrays), out.rows[0]), np.bool_)
    for number, path in enumerate(layout.arrays):
        target, parent = out.target(path), out.target(path[:-1])
        if target is not None:
            missing[number] &= ~out.valid(target)
        if parent is not None:
            missing[number] &= out.valid(parent)
    offsets = np.zeros(out.rows[0] + 1, np.int32)
    np.cumsum(missing.sum(axis=0), out=offsets[1:])
    names = pa.array([".".join(path) for path in layout.arrays], pa.string())
    return pa.ListArray.from_arrays(offsets, names.take(pa.array(np.nonzero(missing.T)[1])))


class _Output:
    """Runs the program and turns what the machine has written into Arrow arrays."""

    def __init__(self, program: Program, packets: Sequence[Packet]) -> None:
        self._program = program
        # The machine reads the packets where they lie, and so do we until the last string is copied.
        self._packets = packets
        data, begins, ends, *_ = zip(*packets, strict=True)
        starts = np.array(begins, np.int64)
        addresses = np.array([buffer.address for buffer in map(pa.py_buffer, data)], np.int64) + starts
        lengths = np.array(ends, np.int64) - starts
        room = np.full(len(program.level_slots), len(packets) * _ITEMS_PER_PACKET, np.int64)
        room[0] = len(packets)
        done = machine.FULL
        while done == machine.FULL:
            sizes = program.level_slots * room
            starts = np.cumsum(sizes) - sizes
            values, valid = np.zeros(int(sizes.sum()), np.int64), np.zeros(int(sizes.sum()), np.uint8)
            rows, fine = np.zeros(len(room), np.int64), np.zeros(len(packets), np.uint8)
            bases = starts[program.slot_levels] + program.slot_ranks * room[program.slot_levels]
            done = machine.run(
                addresses,
                lengths,
                program.instructions,
                program.skipped_arrays,
                program.slot_levels,
                bases,
                room,
                values,
                valid,
                rows,
                fine,
            )
            if done == machine.FULL and rows[1:].max() >= MAX_BATCH_ROWS:
                raise TooManyRows(f"more than {MAX_BATCH_ROWS:,} array items at once")
            room[1:] = np.where(rows[1:] == room[1:], np.minimum(room[1:] * 4, MAX_BATCH_ROWS), room[1:])
        self.fine = fine.astype(np.bool_)
        self.rows: list[int] = rows.tolist()
        self._levels = [
            _Level(values[start:stop].reshape(slots, -1)[:, :used], valid[start:stop].reshape(slots, -1)[:, :used])
            for start, stop, slots, used in zip(starts, starts + sizes, program.level_slots, self.rows, strict=True)
        ]

    def target(self, path: Path) -> Target | None:
        """The target at a path; None where the schema lacks it."""
        found: Target | None = self._program.root
        for name in path:
            found = found.parts.get(name) if found else None
        return found

    def valid(self, target: Target) -> Array:
        """Whether each value of a target is there."""
        return np.asarray(self._levels[target.level].valid[target.rank], np.bool_)

    def addresses(self, target: Target) -> Array:
        """What the machine has marked."""
        return np.asarray(self._levels[target.level].values[target.rank])

    def at(self, path: Path | None) -> pa.Array:
        """The bytes at a path of level 0, NULL where the packet has none."""
        target = self.target(path) if path else None
        if target is None:
            return pa.nulls(self.rows[0], pa.binary())
        return self._bytes(target, pa.binary())

    def column(self, target: Target | None, column: Column, level: int) -> pa.Array:
        """The array of a column; all NULL (or empty lists) where the schema lacks the field."""
        if target is None:
            return _absent(self.rows[level], column)
        if target.kind == "array":
            return self._list(target, column)
        return self._value(target, column)

    def _list(self, target: Target, column: Column) -> pa.Array:
        lengths = self._levels[target.level].values[target.rank]
        offsets = np.zeros(len(lengths) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])
        values = self._value(target.parts["[]"], column)
        return pa.ListArray.from_buffers(column.arrow.type, len(lengths), [None, pa.py_buffer(offsets)], children=[values])

    def _value(self, target: Target, column: Column) -> pa.Array:
        """The array of a column, or of the items of a REPEATED one."""
        level, rank = self._levels[target.level], target.rank
        if target.kind in _NUMBERS:
            if target.kind == "timestamp":
                times = level.values[rank]
                if not ((times >= EARLIEST_MICROS) & (times <= LATEST_MICROS)).all():
                    raise NotSupported(f"{target.name} holds a time beyond the year 9999")
            return level.numbers(target.kind, rank)
        kind = column.arrow.type.value_type if column.mode == "REPEATED" else column.arrow.type
        if target.kind == "record":
            parts = [self.column(target.parts.get(field.name), field, target.level) for field in column.fields]
            return pa.StructArray.from_buffers(kind, level.rows, [level.bitmap(rank)], children=parts)
        if target.kind in ("string", "bytes"):
            return self._bytes(target, kind)
        bits = pa.py_buffer(np.packbits(level.values[rank].astype(np.uint8), bitorder="little"))
        return pa.Array.from_buffers(kind, level.rows, [level.bitmap(rank), bits])

    def _bytes(self, target: Target, kind: pa.DataType) -> pa.Array:
        level, rank = self._levels[target.level], target.rank
        addresses, lengths = level.values[rank], level.values[rank + 1]
        total = int(lengths.sum())
        if total > np.iinfo(np.int32).max:
            raise NotSupported(f"{target.name} holds more than 2 GB at once")
        # Arrow keeps the memory of batches that are gone; fresh memory from the system costs more than the copying.
        offsets, out = np.empty(level.rows + 1, np.int32), pa.allocate_buffer(total)
        machine.gather(addresses, lengths, offsets, out.address)
        array = pa.Array.from_buffers(kind, level.rows, [level.bitmap(rank), pa.py_buffer(offsets), out])
        if target.kind == "string" and total and np.frombuffer(out, np.uint8).max() > 127:
            try:
                array.validate(full=True)
            except pa.ArrowInvalid as error:
                raise NotSupported(f"{target.name} is not UTF-8") from error
        return array


class _Level:
    """The rows of a level, slot by slot: numbers of 64 bits, and whether they are there.

    Columns share the memory by slices of buffers. Slices of arrays would take less time, but pickle sends each with all of it.
    """

    def __init__(self, values: Array, valid: Array) -> None:
        # A copy, so that a row group kept for later does not keep all of the machine's room.
        self.values, self.valid = values.copy(), valid
        self.rows = values.shape[1]
        self._full = np.atleast_1d(valid.all(axis=1)).tolist()
        bits = np.packbits(valid, axis=1, bitorder="little")
        self._bits, self._bitmap_bytes = pa.py_buffer(bits), bits.shape[1]
        self._numbers, self._numbers_bytes = pa.py_buffer(self.values), 8 * self.rows

    def numbers(self, kind: str, rank: int) -> pa.Array:
        """The numbers of a slot."""
        values = self._numbers.slice(rank * self._numbers_bytes, self._numbers_bytes)
        return pa.Array.from_buffers(_NUMBERS[kind], self.rows, [self.bitmap(rank), values])

    def bitmap(self, rank: int) -> pa.Buffer | None:
        """Which values of a slot are there; None: all."""
        return None if self._full[rank] else self._bits.slice(rank * self._bitmap_bytes, self._bitmap_bytes)


def _absent(rows: int, column: Column) -> pa.Array:
    kind = column.arrow.type
    if column.mode == "REPEATED":
        offsets = pa.py_buffer(np.zeros(rows + 1, np.int32))
        return pa.ListArray.from_buffers(kind, rows, [None, offsets], children=[pa.array([], kind.value_type)])
    return pa.nulls(rows, kind)
