"""The inner loop of decoding, compiled by numba: Avro datums of one schema to columns of numbers.

It trusts nothing it reads. A datum that is cut, has bytes left over, or does anything unusual is left out and marked, for
fastavro to judge.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from alerts.program import ARRAY, BOOLEAN, BYTES, DOUBLE, FLOAT, LONG, NEXT, OPTION, PRESENT

Array = np.ndarray[Any, Any]
Int = Any  # numba's integers are numpy's while Python's annotations say int

FULL = -1
"""Result of ``run`` when a level has more rows than there is room for."""
_BAD = -1
_NO_ROOM = -2


@numba.njit(cache=True, nogil=True)
def run(  # noqa: PLR0917 - numba calls by position
    data: Array,
    starts: Array,
    stops: Array,
    instructions: Array,
    slot_levels: Array,
    bases: Array,
    room: Array,
    values: Array,
    valid: Array,
    used: Array,
    fine: Array,
) -> Int:
    """Decode the datums ``data[starts[i]:stops[i]]``; gives the number of good ones, or ``FULL``.

    The value of slot s in row r of its level goes to ``values[bases[s] + r]``, with ``valid`` 1 there (both come in as
    zeros): integers as they are, floats by their bits, an array by its length, a string or bytes value by its start in
    ``data``, and its length in the next slot. Level l has room for ``room[l]`` rows and has used ``used[l]`` in the end.
    ``fine[i]`` becomes 1 where datum i is good; good datums fill the rows of level 0 in order.
    """
    row, left, before = np.zeros_like(room), np.zeros_like(room), np.zeros_like(room)
    for lane in range(len(starts)):
        before[:] = used
        left[:] = 0  # a bad datum may have ended in the middle of an array
        row[0] = used[0]
        used[0] += 1
        end = _datum(data, starts[lane], stops[lane], instructions, bases, room, values, valid, used, row, left)
        if end == _NO_ROOM:
            return FULL
        if end == stops[lane]:
            fine[lane] = 1
            continue
        for slot in range(len(slot_levels)):
            level = slot_levels[slot]
            values[bases[slot] + before[level] : bases[slot] + used[level]] = 0
            valid[bases[slot] + before[level] : bases[slot] + used[level]] = 0
        used[:] = before
    return used[0]


@numba.njit(cache=True, nogil=True)
def _datum(  # noqa: C901, PLR0912, PLR0917 - one branch for each operation; a call each would double the time
    data: Array,
    position: Int,
    stop: Int,
    instructions: Array,
    bases: Array,
    room: Array,
    values: Array,
    valid: Array,
    used: Array,
    row: Array,
    left: Array,
) -> Int:
    """Decode one datum; gives the position behind it, ``_BAD`` or ``_NO_ROOM``. ``row`` is the current row of each level."""
    at = 0
    while position >= 0:
        operation, slot = instructions[at, 0], instructions[at, 1]
        level, argument = instructions[at, 2], instructions[at, 3]
        place = bases[slot] + row[level]
        at += 1
        if operation == OPTION:
            # The branch's index is 0 or 1, so it is one byte, 0 or 2.
            if position >= stop or (data[position] != 0 and data[position] != 2):
                return _BAD
            if data[position] >> 1 == argument & 1:
                at = argument >> 1
            position += 1
        elif operation == LONG:
            values[place], position = _long(data, position, stop)
            valid[place] = 1
        elif operation == FLOAT or operation == DOUBLE:  # noqa: PLR1714, SIM109 - numba compiles comparisons, not tuples
            width = 4 if operation == FLOAT else 8
            if position + width > stop:
                return _BAD
            values[place] = _bits(data, position, width)
            valid[place] = 1
            position += width
        elif operation == BYTES:
            length, position = _long(data, position, stop)
            if position < 0 or length < 0 or length > stop - position:
                return _BAD
            values[place] = position
            values[bases[slot + 1] + row[level]] = length
            valid[place] = 1
            position += length
        elif operation == PRESENT:
            valid[place] = 1
        elif operation == BOOLEAN:
            if position >= stop or data[position] > 1:
                return _BAD
            values[place] = data[position]
            valid[place] = 1
            position += 1
        elif operation == ARRAY:
            valid[place] = 1
            at, position = _items(data, position, stop, instructions, at - 1, bases, room, values, used, row, left)
        elif operation == NEXT:
            left[level] -= 1
            at, position = _items(data, position, stop, instructions, argument, bases, room, values, used, row, left)
        else:
            break
    return position


@numba.njit(cache=True, nogil=True)
def _items(  # noqa: PLR0917
    data: Array,
    position: Int,
    stop: Int,
    instructions: Array,
    begin: Int,
    bases: Array,
    room: Array,
    values: Array,
    used: Array,
    row: Array,
    left: Array,
) -> tuple[Int, Int]:
    """Go to the next item of the array whose instruction is ``begin``, or behind the array; where to go on, and position."""
    outer, inner = instructions[begin, 2], instructions[begin, 3]
    if left[inner] == 0:
        count, position = _long(data, position, stop)
        # A block that tells its size is rare; one with more items than bytes left is a lie.
        if position < 0 or count < 0 or count > stop - position:
            left[inner] = 0
            return begin, _BAD
        if count == 0:
            return instructions[begin + 1, 3], position
        left[inner] = count
        values[bases[instructions[begin, 1]] + row[outer]] += count
    if used[inner] == room[inner]:
        return begin, _NO_ROOM
    row[inner] = used[inner]
    used[inner] += 1
    return begin + 2, position


@numba.njit(cache=True, nogil=True)
def _long(data: Array, position: Int, stop: Int) -> tuple[Int, Int]:
    """A zigzag varint and the position behind it, which is ``_BAD`` where there is none."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while position < stop and shift <= np.uint64(63):
        byte = data[position]
        position += 1
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), np.int64(position)
        shift += np.uint64(7)
    return np.int64(0), np.int64(_BAD)


@numba.njit(cache=True, nogil=True)
def _bits(data: Array, position: Int, width: Int) -> Int:
    """A little-endian number of ``width`` bytes."""
    bits = np.uint64(0)
    for byte in range(width):
        bits |= np.uint64(data[position + byte]) << np.uint64(8 * byte)
    return np.int64(bits)


@numba.njit(cache=True, nogil=True)
def gather(data: Array, starts: Array, lengths: Array, offsets: Array, out: Array) -> None:
    """Copy ``data[starts[i]:starts[i] + lengths[i]]`` one behind the other to ``out``, and set the ``offsets`` (one more)."""
    position = 0
    for row in range(len(starts)):
        offsets[row] = position
        start, length = starts[row], lengths[row]
        out[position : position + length] = data[start : start + length]
        position += length
    offsets[len(starts)] = position
