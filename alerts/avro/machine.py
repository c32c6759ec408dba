"""The inner loop of decoding, compiled by numba: Avro datums of one schema to columns of numbers.

It trusts nothing it reads. A datum that is cut, has bytes left over, or does anything unusual is left out and marked, for
fastavro to judge. Datums are read where they lie, by their addresses: whoever calls keeps them alive meanwhile, and every
address is compared with the datum's end before it is read. Addresses and not arrays, because numba counts the references to
an array at every call, which takes longer than reading a number.

Arrays of records that nobody wants are gone over, as strictly as if they were decoded. Entries of a history are much alike:
the same fields are null, the same numbers take as many bytes. When an item has been walked field by field, its *shape* is
kept: which bits of its bytes decide how it is to be read, and what they were. An item in which these bits are the same,
whatever its values, is read in the same way and ends after as many bytes: comparing them is all there is to do.

All that is compiled stands in this file and in ``alerts.avro.memory``: numba keeps the result until this file changes, and
would not notice a change elsewhere (see ``MEMORY``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from alerts.compiling import Elsewhere, later

Array = np.ndarray[Any, Any]
Int = Any  # numba's integers are numpy's while Python's annotations say int
Instructions = Any  # an array of INSTRUCTION, whose fields numba reads as attributes; numpy's annotations have none
Function = Any

bytes_at: Function = Elsewhere("alerts.avro.memory", "bytes_at")
copy_bytes: Function = Elsewhere("alerts.avro.memory", "copy_bytes")
longs_at: Function = Elsewhere("alerts.avro.memory", "longs_at")

MEMORY = "51080b706d559ef7"
"""The digest of ``alerts/avro/memory.py``, which a test compares: this file changes with that one, and is compiled anew."""

END, LONG, FLOAT, DOUBLE, BOOLEAN, BYTES, PRESENT, OPTION, ARRAY, NEXT, SKIP_BYTES, SKIP_ARRAY, TEXT, TIME, MARK = range(15)
"""Operations of ``alerts.avro.program``."""

INSTRUCTION = np.dtype([(name, np.int64) for name in ("operation", "slot", "level", "argument")], align=True)
"""An instruction of ``alerts.avro.program``."""

EARLIEST_MICROS, LATEST_MICROS = -62135596800_000_000, 253402300799_999_999
"""Years 1 and 9999, us from 1970: the times that Python's datetime holds."""

FULL = -1
"""Result of ``run`` when a level has more rows than there is room for."""
_BAD = -1
_NO_ROOM = -2
_SHAPES, _SHAPE_BYTES = 16, 1024
"""Shapes kept of an array's items, and how long an item may be to have one: a mask and the bits under it."""
_LATEST, _OLDEST = _SHAPES, _SHAPES + 1
"""Behind the sizes of the shapes: which was met last, and which is the next to be given up."""
_BLOCK_BYTES = 64
_SURE_TIME_BYTES = 8
"""A varint of no more bytes is a time in years that Python knows: less than 2^55 us, 1141 years, from 1970."""


@later
def run(  # noqa: PLR0917 - numba calls by position
    addresses: Array,
    lengths: Array,
    instructions: Instructions,
    skipped_arrays: Int,
    slot_levels: Array,
    bases: Array,
    room: Array,
    values: Array,
    valid: Array,
    used: Array,
    fine: Array,
) -> Int:
    """Decode the datums of so many bytes at these addresses; gives the number of good ones, or ``FULL``.

    The value of slot s in row r of its level goes to ``values[bases[s] + r]``, with ``valid`` 1 there (both come in as
    zeros): integers as they are, floats as the bits of a float64, an array by its length, a string or bytes value by its
    address, and its length in the next slot. Level l has room for ``room[l]`` rows and has used ``used[l]`` in the end.
    ``fine[i]`` becomes 1 where datum i is good; good datums fill the rows of level 0 in order.
    """
    levels = len(room)
    row, left, before = np.zeros(levels, np.int64), np.zeros(levels, np.int64), np.zeros(levels, np.int64)
    shapes = np.zeros((skipped_arrays, _OLDEST + 1), np.int64)
    bits = np.zeros((skipped_arrays, _SHAPES, 2, _SHAPE_BYTES), np.uint8)
    for lane in range(len(addresses)):
        for level in range(levels):
            before[level] = used[level]
            left[level] = 0  # a bad datum may have ended in the middle of an array
        row[0] = used[0]
        used[0] += 1
        stop = addresses[lane] + lengths[lane]
        end = _datum(addresses[lane], stop, instructions, shapes, bits, bases, room, values, valid, used, row, left)
        if end == _NO_ROOM:
            return FULL
        if end == stop:
            fine[lane] = 1
            continue
        for slot in range(len(slot_levels)):
            level = slot_levels[slot]
            for place in range(bases[slot] + before[level], bases[slot] + used[level]):
                values[place] = 0
                valid[place] = 0
        for level in range(levels):
            used[level] = before[level]
    return used[0]


@later
def _datum(  # noqa: C901, PLR0912, PLR0915, PLR0917 - one branch for each operation; a call each would double the time
    address: Int,
    stop: Int,
    instructions: Instructions,
    shapes: Array,
    bits: Array,
    bases: Array,
    room: Array,
    values: Array,
    valid: Array,
    used: Array,
    row: Array,
    left: Array,
) -> Int:
    """Decode the datum from ``address`` to ``stop``; gives the address behind its end, ``_BAD`` or ``_NO_ROOM``.

    ``row`` is the current row of each level, ``left`` counts the items left in its current block.
    """
    at = 0
    while address >= 0:
        now = instructions[at]
        operation, slot, level, argument = now.operation, now.slot, now.level, now.argument
        place = bases[slot] + row[level]
        at += 1
        if operation == OPTION:
            # The branch's index is 0 or 1, so it is one byte, 0 or 2.
            if address >= stop or (_byte_at(address) != 0 and _byte_at(address) != 2):
                return _BAD
            if _byte_at(address) >> 1 == argument & 1:
                at = argument >> 1
            address += 1
        elif operation == LONG:
            values[place], address = _long_at(address, stop)
            valid[place] = 1
        elif operation == FLOAT:
            if address + 4 > stop:
                return _BAD
            values[place] = np.float64(np.uint32(_bits_at(address, 4)).view(np.float32)).view(np.int64)
            valid[place] = 1
            address += 4
        elif operation == DOUBLE:
            if address + 8 > stop:
                return _BAD
            values[place] = np.int64(_bits_at(address, 8))
            valid[place] = 1
            address += 8
        elif operation == BYTES or operation == SKIP_BYTES:  # noqa: PLR1714, SIM109 - numba compiles comparisons, not tuples
            length, address = _long_at(address, stop)
            if address < 0 or length < 0 or length > stop - address:
                return _BAD
            if operation == BYTES:
                values[place] = address
                values[bases[slot + 1] + row[level]] = length
                valid[place] = 1
            address += length
        elif operation == PRESENT:
            valid[place] = 1
        elif operation == BOOLEAN:
            if address >= stop or _byte_at(address) > 1:
                return _BAD
            values[place] = _byte_at(address)
            valid[place] = 1
            address += 1
        elif operation == SKIP_ARRAY:
            valid[place] = 1
            address = _skip_items(address, stop, instructions, at - 1, shapes, bits)
            at = instructions[at].argument
        elif operation == ARRAY:
            valid[place] = 1
            at, address = _items(address, stop, instructions, at - 1, bases, room, values, used, row, left)
        elif operation == NEXT:
            left[level] -= 1
            at, address = _items(address, stop, instructions, argument, bases, room, values, used, row, left)
        elif operation == MARK:
            values[place] = address
        else:
            break
    return address


@later
def _items(  # noqa: PLR0917
    address: Int,
    stop: Int,
    instructions: Instructions,
    begin: Int,
    bases: Array,
    room: Array,
    values: Array,
    used: Array,
    row: Array,
    left: Array,
) -> tuple[Int, Int]:
    """Go to the next item of the array whose instruction is ``begin``, or behind the array; where to go on, and the address."""
    array = instructions[begin]
    outer, inner = array.level, array.argument
    if left[inner] == 0:
        count, address = _long_at(address, stop)
        # A block that tells its size is rare; one with more items than bytes left is a lie.
        if address < 0 or count < 0 or count > stop - address:
            left[inner] = 0
            return begin, _BAD
        if count == 0:
            return instructions[begin + 1].argument, address
        left[inner] = count
        values[bases[array.slot] + row[outer]] += count
    if used[inner] == room[inner]:
        return begin, _NO_ROOM
    row[inner] = used[inner]
    used[inner] += 1
    return begin + 2, address


@later
def _skip_items(address: Int, stop: Int, instructions: Instructions, begin: Int, shapes: Array, bits: Array) -> Int:  # noqa: PLR0917
    """The address behind the array at ``address`` whose instruction is ``begin``, or ``_BAD``.

    ``shapes`` and ``bits`` (zeros to begin with) hold what is known of the items of this and of other arrays.
    """
    fields = instructions[begin + 2 : instructions[begin + 1].argument]
    array = instructions[begin].argument
    shapes, bits = shapes[array], bits[array]
    shapes_address, bits_address = shapes.ctypes.data, bits.ctypes.data
    while True:
        count, address = _long_at(address, stop)
        # As in decoding: a block that tells its size is rare; one with more items than bytes left is a lie.
        if address < 0 or count < 0 or count > stop - address:
            return _BAD
        if count == 0:
            return address
        for _ in range(count):
            size = _known_size(address, stop, shapes_address, bits_address)
            if size == 0:
                address = _walk(address, stop, fields, shapes, bits)
                if address < 0:
                    return _BAD
            address += size


@later
def _known_size(address: Int, stop: Int, shapes_address: Int, bits_address: Int) -> Int:
    """The size of the item at ``address`` if it is of a known shape, else 0."""
    shapes = longs_at(shapes_address, _OLDEST + 1)
    for further in range(_SHAPES):
        shape = (shapes[_LATEST] + further) % _SHAPES
        size = shapes[shape]
        if 0 < size <= stop - address:
            # Whole blocks where there are so many bytes; behind the item the mask is empty.
            blocks = -(-size // _BLOCK_BYTES) * _BLOCK_BYTES
            span = blocks if blocks <= stop - address else size
            item = bytes_at(address, span)
            mask = bytes_at(bits_address + 2 * shape * _SHAPE_BYTES, span)
            wanted = bytes_at(bits_address + (2 * shape + 1) * _SHAPE_BYTES, span)
            # No way out of the loop, and eight bits throughout, so that many bytes are compared at once.
            other = np.uint8(0)
            for byte in range(span):
                other = np.uint8(other | (item[byte] & mask[byte]) ^ wanted[byte])
            if other == 0:
                shapes[_LATEST] = shape
                return size
    return 0


@later
def _walk(address: Int, stop: Int, fields: Instructions, shapes: Array, bits: Array) -> Int:
    """Go over an item field by field and keep its shape; the address behind it, or ``_BAD``."""
    shape, begin = shapes[_OLDEST], address
    mask, wanted = bits[shape, 0], bits[shape, 1]
    for byte in range(_SHAPE_BYTES):
        mask[byte] = 0
        wanted[byte] = 0
    shapes[shape] = 0
    for field in range(len(fields)):
        option = fields[field].argument
        if option > 0:
            if address >= stop or (_byte_at(address) != 0 and _byte_at(address) != 2):
                return _BAD
            _decides(mask, address - begin, address - begin + 1, 0xFF)
            address += 1
            if _byte_at(address - 1) >> 1 == option - 1:
                continue
        address = _value(address, stop, fields[field].operation, mask, begin)
        if address < 0:
            return _BAD
    size = address - begin
    if size <= _SHAPE_BYTES:
        item = bytes_at(begin, size)
        for byte in range(size):
            wanted[byte] = item[byte] & mask[byte]
        shapes[shape] = size
        shapes[_LATEST], shapes[_OLDEST] = shape, (shape + 1) % _SHAPES
    return address


@later
def _value(address: Int, stop: Int, operation: Int, mask: Array, begin: Int) -> Int:
    """Go over a value that is not null; the address behind it, or ``_BAD`` where fastavro has to judge."""
    at = address - begin
    if operation == FLOAT:
        return address + 4 if address + 4 <= stop else _BAD
    if operation == DOUBLE:
        return address + 8 if address + 8 <= stop else _BAD
    if operation == BOOLEAN:
        _decides(mask, at, at + 1, 0xFE)
        return address + 1 if address < stop and _byte_at(address) <= 1 else _BAD
    value, address = _long_at(address, stop)
    if address < 0:
        return _BAD
    behind = address - begin
    if operation == LONG:
        _decides(mask, at, behind, 0x80)
    elif operation == TIME:
        _decides(mask, at, behind, 0x80 if behind - at <= _SURE_TIME_BYTES else 0xFF)
        if not EARLIEST_MICROS <= value <= LATEST_MICROS:
            return _BAD
    else:
        if value < 0 or value > stop - address:
            return _BAD
        _decides(mask, at, behind, 0xFF)
        if operation == TEXT:
            # Other letters than ASCII may be wrongly encoded.
            _decides(mask, behind, behind + value, 0x80)
            for byte in bytes_at(address, value):
                if byte > 127:
                    return _BAD
        address += value
    return address


@later
def _decides(mask: Array, first: Int, end: Int, bits: Int) -> None:
    for byte in range(first, min(end, _SHAPE_BYTES)):
        mask[byte] = bits


@later
def gather(addresses: Array, lengths: Array, offsets: Array, target: Int) -> None:
    """Copy so many bytes from each address one behind the other to the address ``target``; set the ``offsets`` (one more)."""
    position = 0
    for row in range(len(addresses)):
        offsets[row] = position
        copy_bytes(target + position, addresses[row], lengths[row])
        position += lengths[row]
    offsets[len(addresses)] = position


@later
def _byte_at(address: Int) -> Int:
    """The byte at an address."""
    return bytes_at(address, 1)[0]


@later
def _bits_at(address: Int, width: Int) -> Int:
    """A little-endian number of ``width`` bytes."""
    data, bits = bytes_at(address, width), np.uint64(0)
    for byte in range(width):
        bits |= np.uint64(data[byte]) << np.uint64(8 * byte)
    return bits


@later
def _long_at(address: Int, stop: Int) -> tuple[Int, Int]:
    """A zigzag varint and the address behind it, which is ``_BAD`` where there is none before ``stop``."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while address < stop and shift <= np.uint64(63):
        byte = _byte_at(address)
        address += 1
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), np.int64(address)
        shift += np.uint64(7)
    return np.int64(0), np.int64(_BAD)


def compile_now() -> None:
    """Compile ``run`` and ``gather``, by calling them with nothing to do."""
    none, some = np.zeros(0, np.int64), np.zeros(1, np.int64)
    run(none, none, np.zeros(1, INSTRUCTION), 0, none, none, some, none, none.astype(np.uint8), some, none.astype(np.uint8))
    gather(none, none, np.zeros(1, np.int32), 0)
