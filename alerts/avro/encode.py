"""Arrow columns to Avro datums, all rows at once: load files for BigQuery, and the way back of ``alerts.avro.decode``.

A column is written as Beam's ``WriteToBigQuery`` would write it: NULLABLE as a union of null and its type, REPEATED as an
array, INT64 and TIMESTAMP as a long, DATE as an int. Avro 1.11 specification, "Binary encoding" and "Object Container Files".

The columns become instructions, which a compiled loop follows row by row: it reads the values where Arrow keeps them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa

from alerts.compiling import Elsewhere, later
from schemas import Column, Table

Array = np.ndarray[Any, Any]
Int = Any  # numba's integers are numpy's while Python's annotations say int
Function = Any

bytes_at: Function = Elsewhere("alerts.avro.memory", "bytes_at")
copy_bytes: Function = Elsewhere("alerts.avro.memory", "copy_bytes")
ints_at: Function = Elsewhere("alerts.avro.memory", "ints_at")
longs_at: Function = Elsewhere("alerts.avro.memory", "longs_at")

MEMORY = "51080b706d559ef7"
"""See ``alerts.avro.machine``."""

_END, _LONG, _DOUBLE, _BOOLEAN, _BYTES, _RECORD, _ARRAY, _NEXT, _ABSENT = range(9)
_INSTRUCTION = np.dtype(
    [
        (name, np.int64)
        for name in (
            "operation",
            "level",  # 0: the rows; every array has a level of its own
            "inner",  # that of an array's items
            "optional",  # whether a value may be null
            "bitmap",  # an address, as values and data are; 0: no value is null
            "first_bit",
            "values",
            "data",  # where bytes are, of which values has the offsets
            "behind",  # where to go on when a value is null or an array is empty; of NEXT, where the next item begins
        )
    ],
    align=True,
)
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
    _run(plan.program(), plan.levels, out.ctypes.data, ends)
    return out.data, ends


class _Plan:
    """Instructions for columns, and the most bytes that their values can take."""

    def __init__(self) -> None:
        self.instructions: list[dict[str, int]] = []
        self.levels, self.room = 1, 0
        self._kept: list[pa.Array] = []  # what was made on the way, and is read by its address

    def add_instruction(self, operation: int, **further: int) -> None:
        self.instructions.append({"operation": operation, **further})

    def program(self) -> Array:
        """The instructions for the loop; what was not said is 0."""
        names = _INSTRUCTION.names or ()
        return np.array([tuple(instruction.get(name, 0) for name in names) for instruction in self.instructions], _INSTRUCTION)

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
        valid = bitmap.address if bitmap else 0
        self.add_instruction(_ARRAY, level=level, inner=inner, bitmap=valid, first_bit=array.offset, values=begin)
        self._add_values(array.values, column, inner, optional=False)
        self.add_instruction(_NEXT, level=inner, behind=at + 1)
        self.instructions[at]["behind"] = len(self.instructions)

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
        places = {"bitmap": bitmap, "first_bit": array.offset, "values": values, "data": data}
        self.add_instruction(operation, level=level, optional=int(optional), **places)
        if operation == _RECORD:
            # Those of flatten are NULL where the record is, and the others are to be told from them.
            for number, (field, seen) in enumerate(zip(column.fields, array.flatten(), strict=True)):
                self.check(field, seen.null_count - array.null_count, len(array))
                self.add(array.field(number), field, level)
        self.instructions[at]["behind"] = len(self.instructions)


def _plain(array: pa.Array, operation: int) -> pa.Array:
    """The values as numbers of 64 bits, a byte each for booleans; others as they are."""
    if operation == _LONG:
        # A date is a number of 32 bits, and cannot be made one of 64 at once.
        return (array.cast(pa.int32()) if pa.types.is_date32(array.type) else array).cast(pa.int64())
    return array.cast(pa.uint8()) if operation == _BOOLEAN else array


@later
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
        while instructions[at].operation != _END:
            now = instructions[at]
            operation, level, values, behind = now.operation, now.level, now.values, now.behind
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
            bitmap, bit = now.bitmap, now.first_bit + index
            is_null = bitmap != 0 and not (bytes_at(bitmap + bit // 8, 1)[0] >> (bit % 8)) & 1
            if operation == _ARRAY:
                inner = now.inner
                if is_null:  # BigQuery has no NULL arrays
                    to = _put_long(to, 0)
                    at = behind
                    continue
                row[inner], end[inner] = _int_at(values + 4 * index), _int_at(values + 4 * index + 4)
                to = _put_long(to, end[inner] - row[inner])
                if row[inner] == end[inner]:
                    at = behind
                continue
            if now.optional:
                to = _put_long(to, 0 if is_null else 1)
                if is_null:
                    at = behind
                    continue
            to = _put_value(to, operation, values, now.data, index)
        ends[number] = to - out


@later
def _put_value(to: Int, operation: Int, values: Int, data: Int, index: Int) -> Int:
    """Write a value to an address, nothing of a record itself; gives the address behind it."""
    if operation == _RECORD:
        return to
    if operation == _LONG:
        return _put_long(to, longs_at(values + 8 * index, 1)[0])
    source, size = values + 8 * index, 8
    if operation == _BOOLEAN:
        source, size = values + index, 1
    elif operation == _BYTES:
        begin = _int_at(values + 4 * index)
        source, size = data + begin, _int_at(values + 4 * index + 4) - begin
        to = _put_long(to, size)
    copy_bytes(to, source, size)
    return to + size


@later
def _put_long(to: Int, value: Int) -> Int:
    """Write a zigzag varint to an address; gives the address behind it."""
    left = (np.uint64(value) << np.uint64(1)) ^ np.uint64(value >> 63)
    data = bytes_at(to, 10)
    size = 0
    while left > np.uint64(0x7F):
        data[size] = (left & np.uint64(0x7F)) | np.uint64(0x80)
        left >>= np.uint64(7)
        size += 1
    data[size] = left
    return to + size + 1


@later
def _int_at(address: Int) -> Int:
    return np.int64(ints_at(address, 1)[0])


def compile_now() -> None:
    """Compile it, by calling it with nothing to do."""
    _run(_Plan().program(), 1, 0, np.zeros(0, np.int64))
