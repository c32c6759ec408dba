"""Arrow columns to Avro datums, all rows at once: load files for BigQuery, and the way back of ``alerts.avro.decode``.

A column is written as Beam's ``WriteToBigQuery`` would write it: NULLABLE as a union of null and its type, REPEATED as an
array, INT64 and TIMESTAMP as a long, DATE as an int. Avro 1.11 specification, "Binary encoding" and "Object Container Files".

The columns become instructions, which a compiled loop follows row by row: it reads the values where Arrow keeps them. An
instruction is ``(operation, level, optional, bitmap, first bit, values, bytes, behind)``, where bitmap, values and bytes are
addresses, level 0 is the rows and every array has a level of its own (told in the place of optional), and behind is where to
go on when a value is null or an array is empty; with NEXT, where the array's next item begins.

What is compiled stands in this file alone, for the reason that ``alerts.avro.machine`` gives.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import fastavro
import numba
import numpy as np
import pyarrow as pa
from numba import carray  # type: ignore[attr-defined]
from numba.core import cgutils, types
from numba.extending import intrinsic

from schemas import Column, Table

Array = np.ndarray[Any, Any]
Int = Any  # numba's integers are numpy's while Python's annotations say int

_END, _LONG, _DOUBLE, _BOOLEAN, _BYTES, _RECORD, _ARRAY, _NEXT, _ABSENT = range(9)
_BLOCK_BYTES = 2**20
_LONG_BYTES = 10
_NUMBER_BYTES = 8
_KINDS = {"INT64": _LONG, "TIMESTAMP": _LONG, "DATE": _LONG, "FLOAT64": _DOUBLE, "BOOL": _BOOLEAN, "RECORD": _RECORD}


def container_header(avro_schema: dict[str, Any], sync: bytes) -> bytes:
    """What an Avro container file of this schema, without compression, begins with.

    ``sync``: 16 bytes that end each block, random, because who reads a file in parts looks for them: whoever knew them could
    send them in a packet.
    """
    out = io.BytesIO()
    fastavro.writer(out, avro_schema, [], codec="null", sync_marker=sync)
    return out.getvalue()


def container_blocks(rows: pa.RecordBatch, table: Table, sync: bytes) -> Iterator[memoryview | bytes]:
    """The pieces of blocks with the rows of a batch, for a container file whose header has the same ``sync``.

    The batch has columns of ``table``, by their names; columns that it lacks are NULL or empty. A block has some
    megabyte, or one row: BigQuery takes none of more than 16 MiB. Raises ``ValueError`` where a column is not of its table's
    type, or holds a NULL where the table has none.
    """
    datums, ends = encode(rows, table)
    first, begin = 0, 0
    while first < len(ends):
        behind = max(first + 1, int(np.searchsorted(ends, begin + _BLOCK_BYTES, "right")))
        end = int(ends[behind - 1])
        head = io.BytesIO()
        for count in (behind - first, end - begin):
            fastavro.schemaless_writer(head, "long", count)
        yield from (head.getvalue(), datums[begin:end], sync)
        first, begin = behind, end


def encode(rows: pa.RecordBatch, table: Table) -> tuple[memoryview, Array]:
    """The datums of all rows, one behind the other, and where each ends: behind the last there may be bytes of no meaning.

    Parameters and errors as for ``container_blocks``.
    """
    plan = _Plan()
    there = dict(zip(rows.schema.names, rows.columns, strict=True))
    for column in table.columns:
        array = there.get(column.name)
        if array is not None:
            plan.check(column, array.null_count, rows.num_rows)
            plan.add(array, column, 0)
        else:
            plan.check(column, rows.num_rows, rows.num_rows)
            plan.add_absent(rows.num_rows)
    plan.add_instruction(_END)
    out, ends = np.empty(plan.room, np.uint8), np.zeros(rows.num_rows, np.int64)
    _run(np.array(plan.instructions, np.int64), plan.levels, out.ctypes.data, ends)
    return out.data, ends


class _Plan:
    """Instructions for columns, and the most bytes that their values can take."""

    def __init__(self) -> None:
        self.instructions: list[tuple[int, ...]] = []
        self.levels, self.room = 1, 0
        self._kept: list[pa.Array] = []  # what was made on the way, and is read by its address

    def add_instruction(self, operation: int, level: int = 0, *further: int) -> None:
        self.instructions.append((operation, level, *further, *[0] * (6 - len(further))))

    @staticmethod
    def check(column: Column, nulls: int, values: int) -> None:
        """Raise ``ValueError`` where a column that is REQUIRED has NULLs."""
        if column.mode == "REQUIRED" and nulls:
            raise ValueError(f"column {column.name} is REQUIRED, and NULL in {nulls} of {values} rows")

    def add_absent(self, rows: int) -> None:
        """What stands for a column that is absent: an array without items and the index of null are the same byte."""
        self.room += rows
        self.add_instruction(_ABSENT)

    def add(self, array: pa.Array, column: Column, level: int) -> None:
        """Instructions for the values of a column."""
        if array.type != column.arrow.type:
            raise ValueError(f"column {column.name} is {column.arrow.type}, and its values are {array.type}")
        if column.mode == "REPEATED":
            self._add_array(array, column, level)
        else:
            self._add_values(array, column, level, optional=column.mode == "NULLABLE")

    def _add_array(self, array: pa.ListArray, column: Column, level: int) -> None:
        if array.flatten().null_count:
            raise ValueError(f"an array of column {column.name} holds NULL")
        inner, self.levels = self.levels, self.levels + 1
        self.room += len(array) * (_LONG_BYTES + 1)
        bitmap, offsets = array.buffers()[:2]
        at = len(self.instructions)
        begin = offsets.address + array.offset * 4 if len(array) else 0
        self.add_instruction(_ARRAY, level, inner, bitmap.address if bitmap else 0, array.offset, begin)
        self._add_values(array.values, column, inner, optional=False)
        self.add_instruction(_NEXT, inner, 0, 0, 0, 0, 0, at + 1)
        self._set_behind(at)

    def _add_values(self, array: pa.Array, column: Column, level: int, optional: bool) -> None:
        operation = _KINDS.get(column.type, _BYTES)
        array = _plain(array, operation)
        self._kept.append(array)
        buffers = array.buffers()
        bitmap = buffers[0].address if buffers[0] else 0
        values = data = 0
        if operation == _BYTES:
            offsets = np.frombuffer(buffers[1], np.int32, len(array) + 1, array.offset * 4) if len(array) else np.zeros(1)
            self.room += len(array) * (1 + _LONG_BYTES) + int(offsets[-1] - offsets[0])
            values = buffers[1].address + array.offset * 4 if len(array) else 0
            data = buffers[2].address if buffers[2] else 0
        elif operation == _RECORD:
            self.room += len(array)
        else:
            self.room += len(array) * (1 + _LONG_BYTES)
            width = 1 if operation == _BOOLEAN else _NUMBER_BYTES
            values = buffers[1].address + array.offset * width if len(array) else 0
        at = len(self.instructions)
        self.add_instruction(operation, level, int(optional), bitmap, array.offset, values, data)
        if operation == _RECORD:
            # Those of flatten are NULL where the record is, and the others are to be told from them.
            for number, (field, seen) in enumerate(zip(column.fields, array.flatten(), strict=True)):
                self.check(field, seen.null_count - array.null_count, len(array))
                self.add(array.field(number), field, level)
        self._set_behind(at)

    def _set_behind(self, at: int) -> None:
        self.instructions[at] = (*self.instructions[at][:-1], len(self.instructions))


def _plain(array: pa.Array, operation: int) -> pa.Array:
    """The values as numbers of 64 bits, a byte each for booleans; others as they are."""
    if operation == _LONG:
        # A date is a number of 32 bits, and cannot be made one of 64 at once.
        return (array.cast(pa.int32()) if pa.types.is_date32(array.type) else array).cast(pa.int64())
    return array.cast(pa.uint8()) if operation == _BOOLEAN else array


@numba.njit(cache=True, nogil=True)
def _run(instructions: Array, levels: Int, out: Int, ends: Array) -> None:
    """Write the datums of as many rows as there are ``ends`` to the address ``out``, where there is room for them.

    ``ends`` become the bytes written up to the end of each. ``row`` is the current row of each level, ``end`` the first one
    behind the current array's.
    """
    row, end = np.zeros(levels, np.int64), np.zeros(levels, np.int64)
    to = out
    for number in range(len(ends)):
        row[0] = number
        at = 0
        while instructions[at, 0] != _END:
            operation, level = instructions[at, 0], instructions[at, 1]
            values, behind = instructions[at, 5], instructions[at, 7]
            at += 1
            if operation == _NEXT:
                row[level] += 1
                if row[level] < end[level]:
                    at = behind
                else:
                    to = _put_long(to, 0)
                continue
            if operation == _ABSENT:
                to = _put_long(to, 0)
                continue
            index = row[level]
            bitmap, bit = instructions[at - 1, 3], instructions[at - 1, 4] + index
            is_null = bitmap != 0 and not (_bytes_at(bitmap + bit // 8, 1)[0] >> (bit % 8)) & 1
            if operation == _ARRAY:
                inner = instructions[at - 1, 2]
                if is_null:  # BigQuery has no NULL arrays
                    to = _put_long(to, 0)
                    at = behind
                    continue
                row[inner], end[inner] = _int_at(values + 4 * index), _int_at(values + 4 * index + 4)
                to = _put_long(to, end[inner] - row[inner])
                if row[inner] == end[inner]:
                    at = behind
                continue
            if instructions[at - 1, 2]:  # optional
                to = _put_long(to, 0 if is_null else 1)
                if is_null:
                    at = behind
                    continue
            to = _put_value(to, operation, values, instructions[at - 1, 6], index)
        ends[number] = to - out


@numba.njit(cache=True, nogil=True)
def _put_value(to: Int, operation: Int, values: Int, data: Int, index: Int) -> Int:
    """Write a value to an address, nothing of a record itself; gives the address behind it."""
    if operation == _RECORD:
        return to
    if operation == _LONG:
        return _put_long(to, _longs_at(values + 8 * index, 1)[0])
    source, size = values + 8 * index, 8
    if operation == _BOOLEAN:
        source, size = values + index, 1
    elif operation == _BYTES:
        begin = _int_at(values + 4 * index)
        source, size = data + begin, _int_at(values + 4 * index + 4) - begin
        to = _put_long(to, size)
    _copy_bytes(to, source, size)
    return to + size


@numba.njit(cache=True, nogil=True)
def _put_long(to: Int, value: Int) -> Int:
    """Write a zigzag varint to an address; gives the address behind it."""
    left = (np.uint64(value) << np.uint64(1)) ^ np.uint64(value >> 63)
    data = _bytes_at(to, 10)
    size = 0
    while left > np.uint64(0x7F):
        data[size] = (left & np.uint64(0x7F)) | np.uint64(0x80)
        left >>= np.uint64(7)
        size += 1
    data[size] = left
    return to + size + 1


@intrinsic
def _pointer(typing: Any, address: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), build


@intrinsic
def _copy(typing: Any, target: Any, source: Any, size: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, of = (builder.inttoptr(one, cgutils.voidptr_t) for one in arguments[:2])
        cgutils.raw_memcpy(builder, to, of, arguments[2], 1)  # type: ignore[no-untyped-call]

    return types.void(types.int64, types.int64, types.int64), build


@numba.njit(cache=True, nogil=True)
def _copy_bytes(target: Int, source: Int, size: Int) -> None:
    """Copy ``size`` bytes from one address to another."""
    _copy(target, source, size)  # type: ignore[call-arg]


@numba.njit(cache=True, nogil=True)
def _bytes_at(address: Int, size: Int) -> Any:
    return carray(_pointer(address), (size,), np.uint8)  # type: ignore[call-arg]


@numba.njit(cache=True, nogil=True)
def _longs_at(address: Int, size: Int) -> Any:
    return carray(_pointer(address), (size,), np.int64)  # type: ignore[call-arg]


@numba.njit(cache=True, nogil=True)
def _int_at(address: Int) -> Int:
    return np.int64(carray(_pointer(address), (1,), np.int32)[0])  # type: ignore[call-arg]
